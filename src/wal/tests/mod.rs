mod frame;
mod group_commit;
mod history;
mod payload;
mod segment;
