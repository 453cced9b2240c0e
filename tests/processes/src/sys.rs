//! The calls of the operating system that the standard library lacks, each in a safe function. This module has the only
//! unsafe code of the package.
//!
//! Invariant: a case calls `fork` on the main thread of its own process, and the child ends with `_exit`. So the child
//! never returns into code of its parent.
#![expect(unsafe_code, reason = "the standard library lacks these calls")]

use std::fs::read_dir;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::park_timeout;
use std::time::{Duration, Instant};

unsafe extern "C" {
    #[link_name = "fork"]
    fn c_fork() -> i32;
    fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
    fn _exit(code: i32) -> !;
    #[link_name = "kill"]
    fn c_kill(pid: i32, signal: i32) -> i32;
    fn prctl(option: i32, value: u64, zero: u64, zero: u64, zero: u64) -> i32;
    fn geteuid() -> u32;
    fn setgroups(len: usize, groups: *const u32) -> i32;
    fn setgid(group: u32) -> i32;
    fn setuid(user: u32) -> i32;
}

const WNOHANG: i32 = 1;
const SIGKILL: i32 = 9;
const PR_SET_CHILD_SUBREAPER: i32 = 36;

/// The time between two checks for the end of a child.
const PAUSE: Duration = Duration::from_millis(1);

/// Forks this process. Returns the id of the child in the parent and `None` in the child.
pub(crate) fn fork() -> Option<i32> {
    // SAFETY: the child runs only the body of a case, on the thread that forked, and ends with `exit_at_once` or
    // `drop_copy_and_exit`. The child does not have the other threads of the parent, which are the background threads
    // of a database and threads that call a database:
    // - `malloc` works in the child: glibc makes its own locks usable after a fork.
    // - A Rust lock that another thread held at the fork stays locked in the child. So the child never reads data that
    //   is partly changed. A child that waits for such a lock hangs, and the time limit of a child reports this. The
    //   background threads hold no lock while they wait, and no other thread prints.
    let pid = unsafe { c_fork() };
    assert!(pid >= 0, "fork: {}", io::Error::last_os_error());
    (pid > 0).then_some(pid)
}

/// Ends this process without running a destructor or flushing a buffer.
pub(crate) fn exit_at_once(code: i32) -> ! {
    // SAFETY: the call takes no pointer and does not return.
    unsafe { _exit(code) }
}

/// Drops a copy of `value` and ends this process: with code 0, or 101 after a panic. A forked child calls it if other
/// threads of its parent borrow the value. Expects that this process has one thread.
pub(crate) fn drop_copy_and_exit<T>(value: &T) -> ! {
    let dropped = catch_unwind(AssertUnwindSafe(|| {
        let threads = read_dir("/proc/self/task").expect("the threads of this process");
        assert_eq!(threads.count(), 1, "other threads may use the value");
        // SAFETY: the value is valid, and no code uses it again. This process has no other thread, and this function
        // ends the process and does not return to a caller that borrows or owns the value.
        drop(unsafe { std::ptr::read(value) });
    }));
    exit_at_once(if dropped.is_ok() { 0 } else { 101 });
}

/// Waits until the child `pid` has ended. Returns its status in the form of `waitpid(2)`: 0 after an exit with code 0.
/// Returns `None` after `limit`.
pub(crate) fn wait(pid: i32, limit: Duration) -> Option<i32> {
    let begun = Instant::now();
    loop {
        let mut status = 0;
        // SAFETY: the pointer refers to a local variable.
        let ended = unsafe { waitpid(pid, &raw mut status, WNOHANG) };
        assert!(ended >= 0, "waitpid {pid}: {}", io::Error::last_os_error());
        if ended == pid {
            return Some(status);
        }
        if begun.elapsed() > limit {
            return None;
        }
        park_timeout(PAUSE);
    }
}

/// Returns true if this process has a child. A child counts until `wait` has returned its status.
pub(crate) fn has_children() -> bool {
    let mut status = 0;
    // SAFETY: the pointer refers to a local variable.
    unsafe { waitpid(-1, &raw mut status, WNOHANG) >= 0 }
}

/// Sends SIGKILL to the process `pid`. A `pid` of 0 means all processes of this process group, a negative one all
/// processes of the group `-pid`.
pub(crate) fn kill(pid: i32) {
    // SAFETY: the call takes no pointer.
    let sent = unsafe { c_kill(pid, SIGKILL) };
    assert!(sent == 0, "kill {pid}: {}", io::Error::last_os_error());
}

/// Makes this process the parent of its orphaned descendants: when a child ends, its children become children of this
/// process.
pub(crate) fn adopt_orphans() {
    // SAFETY: this option takes no pointer.
    let done = unsafe { prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    assert!(done == 0, "prctl: {}", io::Error::last_os_error());
}

/// The effective user id of this process.
pub(crate) fn user() -> u32 {
    // SAFETY: the call takes no argument and cannot fail.
    unsafe { geteuid() }
}

/// Changes the user of this process to `user`, and its group to the group with the same number. The change is final,
/// and only root may make it.
pub(crate) fn become_user(user: u32) -> io::Result<()> {
    // SAFETY: with a length of 0 the call does not read the pointer.
    let done = unsafe { setgroups(0, std::ptr::null()) == 0 && setgid(user) == 0 && setuid(user) == 0 };
    if done {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
