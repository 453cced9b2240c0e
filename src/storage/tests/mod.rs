mod guarded;
mod keys;
mod memory;
