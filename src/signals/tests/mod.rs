mod hot;
mod precision;
mod warm;
