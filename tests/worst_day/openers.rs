//! A second open of an open database: in the same process, in another process, and directly after a kill.

use tidaldb::{Error, TidalDb};

use crate::child::{DatabaseChild, run_if_child};
use crate::setup::{assert_recovers, causes, options, record};
use crate::temp_dir::TempDir;

#[test]
fn a_second_open_is_refused_until_the_first_handle_ends_and_succeeds_directly_after_a_kill() {
    run_if_child();
    let dir = TempDir::new("openers");
    let lock = dir.path().join("LOCK");
    let refused = format!("{} is locked by another handle", lock.display());
    let mut events = 0;
    for _ in 0..5 {
        let mut child = DatabaseChild::start();
        child.open(dir.path()).unwrap();
        // The child has the database open: each open here is refused, and the child continues.
        for _ in 0..3 {
            let error = TidalDb::open(dir.path(), options()).unwrap_err();
            assert!(
                matches!(&error, Error::Locked { path } if *path == lock),
                "{error:?}"
            );
            child.record(events).unwrap();
            events += 1;
        }
        child.kill();
        // The end of the process released the lock.
        let db = TidalDb::open(dir.path(), options()).unwrap_or_else(|error| panic!("{}", causes(&error)));
        assert!(matches!(
            TidalDb::open(dir.path(), options()),
            Err(Error::Locked { .. })
        ));
        let mut other = DatabaseChild::start();
        assert_eq!(other.open(dir.path()), Err(refused.clone()));
        record(&db, events).unwrap();
        events += 1;
        drop(db);
        other.open(dir.path()).expect("the first handle was dropped");
        other.call("close").unwrap();
        // A closed handle that is not yet dropped holds no lock.
        drop(TidalDb::open(dir.path(), options()).unwrap());
        other.kill();
        assert_eq!(assert_recovers(dir.path(), events, "in turns"), events);
    }
}
