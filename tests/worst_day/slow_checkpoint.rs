//! A checkpoint that is slower than the events that come: the log's growth shows, and is bounded.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tidaldb::storage::MemoryStore;
use tidaldb::testing::faults::{ForwardingStorage, StorageOperation};
use tidaldb::{Background, Durability, TidalDb};

use crate::setup::{options, record};
use crate::temp_dir::TempDir;

/// A gate that holds up every batch with a checkpoint in it while it is told to.
#[derive(Clone, Default)]
struct BatchGate(Arc<(Mutex<HeldBatches>, Condvar)>);

#[derive(Default)]
struct HeldBatches {
    holds: bool,
    /// How many batches came while it held.
    held: u64,
}

impl BatchGate {
    fn hold(&self, holds: bool) {
        self.0.0.lock().unwrap().holds = holds;
        self.0.1.notify_all();
    }

    fn held(&self) -> u64 {
        self.0.0.lock().unwrap().held
    }

    fn pass(&self) {
        let mut batches = self.0.0.lock().unwrap();
        batches.held += u64::from(batches.holds);
        drop(self.0.1.wait_while(batches, |batches| batches.holds).unwrap());
    }
}

/// Lets everything through when dropped, so that a test that fails ends.
struct OpensGate(BatchGate);

impl Drop for OpensGate {
    fn drop(&mut self) {
        self.0.hold(false);
    }
}

#[test]
fn while_a_checkpoint_hangs_the_log_grows_visibly_to_four_times_its_due_size_and_no_further() {
    const DUE: u64 = 4096;
    /// What each of two writers may add once it has looked: a frame, and the header of a segment.
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
    // Dropped before the database, whose own thread would not end else.
    let _opened = OpensGate(gate.clone());
    gate.hold(true);
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
    let (mut events, mut seen_growing) = (0, 0);
    // Until both writers wait. How long silence is taken for waiting only matters to an engine that does not wait.
    let silence = loop {
        match recorded.recv_timeout(Duration::from_millis(300)) {
            Ok(grown) => {
                events += 1;
                seen_growing += u64::from((DUE..4 * DUE).contains(&grown));
                largest = largest.max(grown);
            }
            Err(why) => break why,
        }
    };
    assert_eq!(
        silence,
        RecvTimeoutError::Timeout,
        "800 events fit under the bound"
    );
    assert_eq!(gate.held(), 1, "one checkpoint is made at a time");
    let grown = db.statistics().unwrap().log_bytes_since_checkpoint;
    assert!(
        (4 * DUE..4 * DUE + SLACK).contains(&grown),
        "the writers wait at {grown} bytes"
    );
    assert!(largest <= grown);
    assert!(
        seen_growing > 20,
        "the growth was seen only {seen_growing} times in {events} events"
    );
    // Reads do not wait.
    assert!(!db.export().unwrap().signals.is_empty());
    assert_eq!(db.statistics().unwrap().checkpoint_sequence, 0);
    gate.hold(false);
    for grown in recorded {
        assert!(
            grown < 4 * DUE + SLACK,
            "{grown} bytes after the checkpoint went on"
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
