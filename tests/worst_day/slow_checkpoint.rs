//! A checkpoint that takes longer than the writers need to fill the log: statistics show the growth of the log, and the
//! growth is bounded.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tidaldb::storage::MemoryStore;
use tidaldb::testing::faults::{ForwardingStorage, StorageOperation};
use tidaldb::{Background, Durability, TidalDb};

use crate::setup::{options, record};
use crate::temp_dir::TempDir;

/// A gate in front of the storage engine. While it is closed, every batch waits; checkpoints are written in batches.
#[derive(Clone, Default)]
struct BatchGate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Default)]
struct GateState {
    is_closed: bool,
    /// The number of batches that came while the gate was closed.
    waited: u64,
}

impl BatchGate {
    fn set_closed(&self, is_closed: bool) {
        self.0.0.lock().unwrap().is_closed = is_closed;
        self.0.1.notify_all();
    }

    fn waited(&self) -> u64 {
        self.0.0.lock().unwrap().waited
    }

    /// Waits until the gate is open.
    fn pass(&self) {
        let mut state = self.0.0.lock().unwrap();
        state.waited += u64::from(state.is_closed);
        drop(self.0.1.wait_while(state, |state| state.is_closed).unwrap());
    }
}

/// Opens the gate when dropped, so that a failed test ends.
struct OpensGate(BatchGate);

impl Drop for OpensGate {
    fn drop(&mut self) {
        self.0.set_closed(false);
    }
}

#[test]
fn while_a_checkpoint_hangs_the_log_grows_to_four_times_the_due_size_and_statistics_show_it() {
    const DUE: u64 = 4096;
    /// Each of two writers may add a frame and the header of a segment after it has checked the bound.
    const SLACK: u64 = 2 * (160 + 64);
    let dir = TempDir::new("slow");
    let gate = BatchGate::default();
    let slow = {
        let gate = gate.clone();
        ForwardingStorage::new(Arc::new(MemoryStore::new()), move |call| {
            if matches!(call.operation, StorageOperation::WriteBatch(_)) {
                gate.pass();
            }
            call.forward()
        })
    };
    let options = options()
        .durability(Durability::OperatingSystem)
        .background(Background::OwnThreads)
        .checkpoint_log_bytes(DUE);
    let db = TidalDb::open_with_storage(dir.path(), options.clone(), Arc::new(slow.clone())).unwrap();
    let db = Arc::new(db);
    // Dropped before the database: otherwise the background thread of the database would never end.
    let _opens_gate = OpensGate(gate.clone());
    gate.set_closed(true);
    let (send, recorded) = channel();
    let writers: Vec<_> = (0..2)
        .map(|writer| {
            let (db, send) = (Arc::clone(&db), send.clone());
            std::thread::spawn(move || {
                for i in 0..400 {
                    record(&db, writer * 1000 + i).unwrap();
                    let grown = db.statistics().unwrap().log_bytes_since_checkpoint;
                    send.send(grown).unwrap();
                }
            })
        })
        .collect();
    drop(send);
    let mut largest = 0;
    let (mut events, mut shown_growing) = (0, 0);
    // Until both writers wait. The timeout is only relevant for an engine whose writers do not wait: it could end the
    // loop early.
    let ended = loop {
        match recorded.recv_timeout(Duration::from_millis(300)) {
            Ok(grown) => {
                events += 1;
                shown_growing += u64::from((DUE..4 * DUE).contains(&grown));
                largest = largest.max(grown);
            }
            Err(error) => break error,
        }
    };
    assert_eq!(
        ended,
        RecvTimeoutError::Timeout,
        "the writers recorded all 800 events without waiting"
    );
    assert_eq!(gate.waited(), 1, "one checkpoint is made at a time");
    let grown = db.statistics().unwrap().log_bytes_since_checkpoint;
    assert!(
        (4 * DUE..4 * DUE + SLACK).contains(&grown),
        "the writers wait at {grown} bytes"
    );
    assert!(largest <= grown);
    assert!(
        shown_growing > 20,
        "statistics showed the growth only {shown_growing} times in {events} events"
    );
    // Reads do not wait.
    assert!(!db.export().unwrap().signals.is_empty());
    assert_eq!(db.statistics().unwrap().checkpoint_sequence, 0);
    gate.set_closed(false);
    for grown in recorded {
        assert!(
            grown < 4 * DUE + SLACK,
            "{grown} bytes after the checkpoint continued"
        );
    }
    for writer in writers {
        writer.join().unwrap();
    }
    db.checkpoint().unwrap();
    let statistics = db.statistics().unwrap();
    assert!(statistics.checkpoint_sequence >= 800);
    assert!(
        statistics.log_bytes < DUE,
        "{} bytes are left",
        statistics.log_bytes
    );
    let before = db.export().unwrap();
    drop(db);
    let db = TidalDb::open_with_storage(dir.path(), options, Arc::new(slow)).unwrap();
    assert_eq!(db.export().unwrap(), before);
}
