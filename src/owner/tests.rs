//! Owners in another process, and owners whose lock is lost.

use std::io;

use crate::Error;
use crate::fs::RealFiles;
use crate::fs::{FileLock, RootedFiles};
use crate::owner::*;
use std::path::PathBuf;
use std::process;
use std::sync::Arc;

#[derive(Debug)]
struct LostLock;

impl FileLock for LostLock {
    fn check(&self) -> io::Result<()> {
        Err(io::Error::other("the lock is lost"))
    }
}

fn owner(process_id: u32) -> Owner {
    let files = Arc::new(RootedFiles::new(Arc::new(RealFiles), PathBuf::from("/db")));
    let mut owner = Owner::new(PathBuf::from("/db"), files, Box::new(LostLock));
    owner.process_id = process_id;
    owner
}

#[test]
fn another_process_is_refused_before_the_lock_is_checked() {
    let forked = owner(process::id() + 1);
    assert!(!forked.is_this_process());
    for checked in [
        forked.check(),
        forked.check_process(),
        forked.check_process_once_per_ms(0),
    ] {
        let error = checked.unwrap_err();
        assert!(
            matches!(&error, Error::Forked { opened_by, .. } if *opened_by == process::id() + 1),
            "{error}"
        );
    }
}

#[test]
fn the_process_is_compared_once_for_each_millisecond() {
    let mut owner = owner(process::id());
    owner.check_process_once_per_ms(7).unwrap();
    owner.process_id += 1;
    owner.check_process_once_per_ms(7).unwrap();
    assert!(owner.check_process_once_per_ms(8).is_err());
    assert!(
        owner.check_process_once_per_ms(8).is_err(),
        "a failed comparison does not count"
    );
}

#[test]
fn a_lost_lock_is_an_error_until_it_is_released() {
    let owner = owner(process::id());
    assert!(matches!(owner.check(), Err(Error::DirectoryLost { .. })));
    owner.check_process().unwrap();
    owner.release();
    owner.check().unwrap();
}
