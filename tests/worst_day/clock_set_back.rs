//! A clock that is set back: recorded events stay, and each new event is compared with the clock at its call.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tidaldb::{Background, Clock, Durability, EntityId, Error, SignalEvent, SignalId, TidalDb};

use crate::setup::{NOW_MS, open_and_record, options, state_after};
use crate::temp_dir::TempDir;

#[derive(Debug)]
struct SteppedClock(AtomicI64);

impl Clock for SteppedClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

const DECADE_MS: i64 = 10 * 365 * 86_400_000;

#[test]
fn after_the_clock_is_set_back_recorded_events_are_replayed_and_new_calls_use_the_new_time() {
    for background in [Background::Caller, Background::OwnThreads] {
        let dir = TempDir::new("clock");
        let clock = Arc::new(SteppedClock(AtomicI64::new(NOW_MS)));
        let handle: Arc<dyn Clock> = Arc::<SteppedClock>::clone(&clock);
        let options = options()
            .clock(handle)
            .background(background)
            .durability(Durability::SyncedEvery { interval_ms: 1 });
        let db = open_and_record(dir.path(), options.clone(), 0..20);
        // The clock is set back while the database is open.
        clock.0.store(NOW_MS - DECADE_MS, Ordering::Relaxed);
        let late = SignalEvent::new(SignalId(0), EntityId(1), NOW_MS);
        let error = db.record(&late).unwrap_err();
        assert!(
            matches!(&error, Error::InvalidInput { field: "at_ms", value, .. } if *value == NOW_MS.to_string()),
            "{error}"
        );
        assert_eq!(db.export().unwrap(), state_after(20));
        db.sync().unwrap();
        drop(db);
        // All recorded events are in the future now.
        let db = TidalDb::open(dir.path(), options.clone()).unwrap();
        assert_eq!(db.recovery_report().events_replayed, 20);
        assert_eq!(db.export().unwrap(), state_after(20));
        // An event at the new time is older than every window. It counts only in the scores.
        let now = SignalEvent::new(SignalId(0), EntityId(1), NOW_MS - DECADE_MS);
        let late_drops = db.statistics().unwrap().late_drops;
        db.record(&now).unwrap();
        assert_eq!(db.statistics().unwrap().late_drops, late_drops + 2);
        db.checkpoint().unwrap();
        let before = db.export().unwrap();
        db.close().unwrap();
        drop(db);
        clock.0.store(i64::MIN, Ordering::Relaxed);
        let db = TidalDb::open(dir.path(), options).unwrap();
        assert_eq!(db.export().unwrap(), before);
    }
}
