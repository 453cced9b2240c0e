//! A checkpoint that is slower than the events that come: the log's growth shows, and is bounded.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tidaldb::storage::{MemoryStore, Scan, StorageEngine, WriteBatch};
use tidaldb::{Background, Durability, Error, TidalDb};

use crate::setup::{options, record};
use crate::temp_dir::TempDir;

/// A storage engine that holds up every batch with a checkpoint in it while it is told to.
#[derive(Clone, Default)]
struct Slow {
    store: MemoryStore,
    gate: Arc<(Mutex<Gate>, Condvar)>,
}

#[derive(Default)]
struct Gate {
    holds: bool,
    /// How many batches came while it held.
    held: u64,
}

impl Slow {
    fn hold(&self, holds: bool) {
        self.gate.0.lock().unwrap().holds = holds;
        self.gate.1.notify_all();
    }

    fn held(&self) -> u64 {
        self.gate.0.lock().unwrap().held
    }
}

/// Lets everything through when dropped, so that a test that fails ends.
struct Opened(Slow);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.hold(false);
    }
}

impl StorageEngine for Slow {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.store.get(key)
    }
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.store.put(key, value)
    }
    fn delete(&self, key: &[u8]) -> Result<(), Error> {
        self.store.delete(key)
    }
    fn scan_prefix(&self, prefix: &[u8]) -> Result<Scan<'_>, Error> {
        self.store.scan_prefix(prefix)
    }
    fn write_batch(&self, batch: WriteBatch) -> Result<(), Error> {
        let mut gate = self.gate.0.lock().unwrap();
        gate.held += u64::from(gate.holds);
        drop(self.gate.1.wait_while(gate, |gate| gate.holds).unwrap());
        self.store.write_batch(batch)
    }
    fn flush(&self) -> Result<(), Error> {
        self.store.flush()
    }
    fn close(&self) -> Result<(), Error> {
        self.store.close()
    }
}

#[test]
fn while_a_checkpoint_hangs_the_log_grows_visibly_to_four_times_its_due_size_and_no_further() {
    const DUE: u64 = 4096;
    /// What each of two writers may add once it has looked: a frame, and the header of a segment.
    const SLACK: u64 = 2 * (160 + 64);
    let dir = TempDir::new("slow");
    let slow = Slow::default();
    let options = options()
        .durability(Durability::OperatingSystem)
        .background(Background::OwnThreads)
        .checkpoint_log_bytes(DUE);
    let db = TidalDb::open_with_storage(dir.path(), options.clone(), Arc::new(slow.clone())).unwrap();
    let db = Arc::new(db);
    // Dropped before the database, whose own thread would not end else.
    let _opened = Opened(slow.clone());
    slow.hold(true);
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
    assert_eq!(slow.held(), 1, "one checkpoint is made at a time");
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
    slow.hold(false);
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
