//! A process that opens a database and then becomes a daemon: it forks, the parent exits, the child continues.

use std::os::unix::process::parent_id;
use std::path::Path;
use std::process;
use std::thread::park_timeout;
use std::time::{Duration, Instant};

use tidaldb::{Background, Durability, TidalDb};

use crate::fork::{expect_refusal, wait_for_next_ms};
use crate::processes::ForkedChild;
use crate::runner::cases;
use crate::setup::{Acknowledged, event, open, options, per_background};
use crate::sys;

cases!("daemon":
    a_daemon_is_refused_from_the_next_millisecond_on_and_opens_the_database_again,
    a_daemon_that_writes_at_once_is_refused_soon_and_loses_no_acknowledged_event,
);

const POLICY: Durability = Durability::SyncedEvery { interval_ms: 10 };

/// The time limit of a wait. Timed syncs come every 10 ms and writes are refused from the next millisecond on, so a
/// daemon that waits longer waits forever.
const LIMIT: Duration = Duration::from_secs(10);

/// Runs `body` in a daemon whose parent opened the database, recorded events 0 to 4 and exited.
fn in_a_daemon(root: &Path, body: impl Fn(TidalDb, &Path, u32, Background)) {
    for (background, path) in per_background(root) {
        let mut daemon = ForkedChild::start(|parent| {
            let db = open(&path, options().durability(POLICY).background(background));
            for entity in 0..5 {
                db.record(&event(entity)).unwrap();
            }
            let opened_by = process::id();
            if sys::fork().is_some() {
                sys::exit_at_once(0);
            }
            parent.send_line(&process::id().to_string());
            body(db, &path, opened_by, background);
        });
        let pid = daemon.read_line().parse().unwrap();
        daemon.follow(pid);
        daemon.end();
    }
}

/// Waits until the process `opened_by` has ended, and opens the database again in the daemon. The database must contain
/// `acknowledged`, and timed syncs must come.
fn assert_opens_again(path: &Path, opened_by: u32, background: Background, acknowledged: &mut Acknowledged) {
    while parent_id() == opened_by {
        park_timeout(Duration::from_micros(100));
    }
    let db = open(path, options().durability(POLICY).background(background));
    acknowledged.assert_in(&db);
    let begun = Instant::now();
    let mut entity = 1000;
    acknowledged.record(&db, entity).unwrap();
    let sequence = db.last_sequence();
    while db.durable_sequence() < sequence {
        assert!(
            begun.elapsed() < LIMIT,
            "{background:?}: the timed sync does not come"
        );
        park_timeout(Duration::from_millis(1));
        // A database without background threads makes the timed sync in a call.
        entity += 1;
        acknowledged.record(&db, entity).unwrap();
    }
    acknowledged.assert_closed(db, path);
}

fn a_daemon_is_refused_from_the_next_millisecond_on_and_opens_the_database_again(root: &Path) {
    in_a_daemon(root, |db, path, opened_by, background| {
        wait_for_next_ms();
        let refused = expect_refusal(db.record(&event(100)), path, opened_by);
        assert_eq!(refused, Ok(()), "{background:?}");
        drop(db);
        let mut acknowledged = Acknowledged::of_events(0..5);
        assert_opens_again(path, opened_by, background, &mut acknowledged);
    });
}

fn a_daemon_that_writes_at_once_is_refused_soon_and_loses_no_acknowledged_event(root: &Path) {
    in_a_daemon(root, |db, path, opened_by, background| {
        let mut acknowledged = Acknowledged::of_events(0..5);
        let begun = Instant::now();
        let refused = (100..).find_map(|entity| {
            assert!(begun.elapsed() < LIMIT, "{background:?}: no write is refused");
            acknowledged.record(&db, entity).err()
        });
        let refused = expect_refusal(Err::<(), _>(refused.unwrap()), path, opened_by);
        assert_eq!(refused, Ok(()), "{background:?}");
        drop(db);
        assert_opens_again(path, opened_by, background, &mut acknowledged);
    });
}
