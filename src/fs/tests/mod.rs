pub(crate) mod by_name;
mod names;
mod rooted;
