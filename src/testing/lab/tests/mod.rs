mod command_line;
mod programs;
