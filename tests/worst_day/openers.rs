//! Second openers: in the same process, in another one, and right after a kill.

use tidaldb::{Error, TidalDb};

use crate::child::{DatabaseChild, serve_if_asked};
use crate::setup::{assert_holds, causes, options, record};
use crate::temp_dir::TempDir;

#[test]
fn a_second_opener_is_refused_as_long_as_the_first_lives_and_let_in_right_after_a_kill() {
    serve_if_asked();
    let dir = TempDir::new("openers");
    let lock = dir.path().join("LOCK");
    let refused = format!("{} is locked by another handle", lock.display());
    let mut events = 0;
    for _ in 0..5 {
        let mut child = DatabaseChild::start();
        child.open(dir.path()).unwrap();
        // Another process has it: refused here, again and again, and the child goes on.
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
        // At once: the lock went with the process.
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
        other.open(dir.path()).expect("the first one is gone");
        other.call("close").unwrap();
        // Closed, not yet dropped: the lock is free.
        drop(TidalDb::open(dir.path(), options()).unwrap());
        other.kill();
        assert_eq!(assert_holds(dir.path(), events, "in turns"), events);
    }
}
