mod cells;
mod decay;
mod lock;
mod owner;
mod poison;
