//! Crash points and the kit that proves recovery by enumerating crashes. Test builds only.

pub mod crash_injector;
pub mod sim_disk;
pub mod workload;

pub use crash_injector::{CrashPoint, check_crash_point};
pub use sim_disk::SimDisk;
