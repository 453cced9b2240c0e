//! Two threads: writes during the steps of a compaction, during a sync, and after a failure.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;
use std::{io, thread};

use super::super::format::RECORD_HEADER_LEN;
use super::compaction::{LARGER_SEGMENT_BYTES, sharing_limits};
use super::{
    DIR, FileStore, FileStoreOptions, SEED, StorePairs, access, content_of, disk_of, disk_of_image,
    first_cause, images, limits, new_disk, open, options, pairs,
};
use crate::Error;
use crate::storage::StorageEngine;
use crate::testing::faults::{FileAnswer, FileOperation, FileRole, ForwardingFiles};
use crate::testing::lock::lock;
use crate::testing::sim_disk::{Image, SimDisk};
use crate::testing::workload::Random;

#[test]
fn a_key_that_another_thread_writes_while_a_compaction_copies_it_has_its_new_value() {
    let disk = new_disk();
    let store_of_hook: Arc<OnceLock<Weak<FileStore>>> = Arc::default();
    let overwritten: Arc<Mutex<Vec<u8>>> = Arc::default();
    // The other thread writes during at most one copy of each call, so that the files stay within their limit: over the
    // limit it would wait.
    let is_armed = Arc::new(AtomicBool::new(false));
    let (hooked, noted, armed) = (
        Arc::clone(&store_of_hook),
        Arc::clone(&overwritten),
        Arc::clone(&is_armed),
    );
    let files = ForwardingFiles::new(access(&disk), move |call| {
        let is_new = call.role() == FileRole::NewStoreFile;
        match &call.operation {
            // The step has selected its entries, and holds no lock that a write takes. The first entry begins with its
            // two lengths in 6 bytes; its key has one byte.
            FileOperation::Write { bytes, offset }
                if is_new && *offset > 0 && armed.swap(false, Ordering::SeqCst) =>
            {
                let key = bytes[6];
                let store = hooked.get().unwrap().upgrade().unwrap();
                let overwrite = move || match key % 5 {
                    0 => store.delete(&[key]).unwrap(),
                    _ => store.put(&[key], &NEW_VALUE).unwrap(),
                };
                thread::scope(|scope| scope.spawn(overwrite).join().unwrap());
                lock(&noted).push(key);
            }
            _ => {}
        }
        call.forward()
    });
    let options = FileStoreOptions {
        segment_bytes_max: LARGER_SEGMENT_BYTES,
        ..options()
    };
    let store = FileStore::open_within(Arc::new(files), DIR, &options, sharing_limits()).unwrap();
    let store = Arc::new(store);
    store_of_hook.set(Arc::downgrade(&store)).unwrap();
    let mut random = Random::new(SEED);
    let (mut model, mut overwritten_len) = (StorePairs::new(), 0);
    for round in 0..3000_u32 {
        let key = random.below(60) as u8;
        let value = [round.to_le_bytes(); 25].concat();
        is_armed.store(round % 3 == 0, Ordering::SeqCst);
        store.put(&[key], &value).unwrap();
        model.insert(vec![key], value);
        for key in lock(&overwritten).drain(..) {
            overwritten_len += 1;
            match key % 5 {
                0 => drop(model.remove(&vec![key])),
                _ => drop(model.insert(vec![key], NEW_VALUE.to_vec())),
            }
        }
        if round % 50 == 0 {
            assert!(pairs(&store) == model, "round {round}");
            let reopened = open(&disk_of(&content_of(&disk))).unwrap();
            assert!(pairs(&reopened) == model, "round {round}, reopened");
        }
    }
    assert!(overwritten_len > 50, "{overwritten_len}");
}

/// The value that the second thread puts.
const NEW_VALUE: [u8; 100] = [0xff; 100];

/// The test fails if no sync begins within this time.
const SYNC_WAIT_MAX: Duration = Duration::from_secs(60);

/// A store with one pair. While `is_armed` is true, each of its syncs waits for a message with its result.
struct HeldSyncs {
    store: FileStore,
    is_armed: Arc<AtomicBool>,
    begun: Receiver<()>,
    outcomes: Sender<io::Result<()>>,
}

/// Makes the store; `is_armed` is true.
fn hold_syncs(disk: &SimDisk) -> HeldSyncs {
    let is_armed = Arc::new(AtomicBool::new(false));
    let (begin, begun) = channel();
    let (outcomes, outcome) = channel::<io::Result<()>>();
    let (armed, outcome) = (Arc::clone(&is_armed), Mutex::new(outcome));
    let files = ForwardingFiles::new(access(disk), move |call| {
        let is_sync = matches!(call.operation, FileOperation::Sync) && call.role() == FileRole::StoreFile;
        if is_sync && armed.load(Ordering::SeqCst) {
            begin.send(()).unwrap();
            lock(&outcome).recv().unwrap()?;
            return Ok(FileAnswer::Done);
        }
        call.forward()
    });
    let store = FileStore::open_within(Arc::new(files), DIR, &options(), limits()).unwrap();
    store.put(b"before", b"value").unwrap();
    is_armed.store(true, Ordering::SeqCst);
    HeldSyncs {
        store,
        is_armed,
        begun,
        outcomes,
    }
}

#[test]
fn other_threads_can_put_and_get_while_a_flush_syncs() {
    let disk = new_disk();
    let held = hold_syncs(&disk);
    let store = &held.store;
    thread::scope(|scope| {
        let flush = scope.spawn(|| store.flush());
        held.begun.recv_timeout(SYNC_WAIT_MAX).expect("a sync begins");
        for key in 0..4_u8 {
            store.put(&[key], &[key; 9]).unwrap();
            assert_eq!(store.get(&[key]).unwrap(), Some(vec![key; 9]));
        }
        assert_eq!(store.get(b"before").unwrap().as_deref(), Some(&b"value"[..]));
        assert_eq!(store.stats().unwrap().keys_len, 5);
        held.outcomes.send(Ok(())).unwrap();
        flush.join().unwrap().unwrap();
    });
    held.is_armed.store(false, Ordering::SeqCst);
    // The flush covers only the records before it: the next flush syncs the records after it.
    let before = disk.operations_len();
    store.flush().unwrap();
    assert_eq!(disk.operations_len(), before + 1);
}

#[test]
fn after_a_failed_sync_every_thread_gets_the_error_and_no_other_sync_begins() {
    let disk = new_disk();
    let held = hold_syncs(&disk);
    let store = &held.store;
    thread::scope(|scope| {
        let first = scope.spawn(|| store.flush());
        held.begun.recv_timeout(SYNC_WAIT_MAX).expect("a sync begins");
        let others: Vec<_> = (0..3).map(|_| scope.spawn(|| store.flush())).collect();
        store.put(b"key", b"later").unwrap();
        held.outcomes.send(Err(io::ErrorKind::Other.into())).unwrap();
        // If another sync began, it would succeed.
        for _ in 0..3 {
            held.outcomes.send(Ok(())).unwrap();
        }
        for flush in others.into_iter().chain([first]) {
            let error = flush.join().unwrap().unwrap_err();
            assert!(
                matches!(
                    first_cause(&error),
                    Error::Io {
                        operation: "sync",
                        ..
                    }
                ),
                "{error}"
            );
        }
    });
    assert!(held.begun.try_recv().is_err(), "a second sync began");
    assert!(matches!(store.put(b"key", b""), Err(Error::Poisoned { .. })));
}

/// Runs `call` on a store whose tail is not full, and puts another key during its first sync of the tail. Returns the
/// disk, and the images that a power loss could leave before each later sync of a file or directory.
fn with_a_put_during_the_first_sync(call: fn(&FileStore) -> Result<(), Error>) -> (SimDisk, Vec<Image>) {
    let disk = new_disk();
    let store_of_hook: Arc<OnceLock<Weak<FileStore>>> = Arc::default();
    let later_images: Arc<Mutex<Vec<Image>>> = Arc::default();
    let (is_armed, is_later) = (Arc::new(AtomicBool::new(false)), AtomicBool::new(false));
    let (hooked, taken, armed) = (
        Arc::clone(&store_of_hook),
        Arc::clone(&later_images),
        Arc::clone(&is_armed),
    );
    let device = disk.clone();
    let files = ForwardingFiles::new(access(&disk), move |call| {
        let makes_durable = matches!(call.operation, FileOperation::Sync | FileOperation::SyncDir);
        if !makes_durable {
            return call.forward();
        }
        if is_later.load(Ordering::SeqCst) {
            lock(&taken).extend(images(&device));
        }
        let answer = call.forward();
        if call.role() == FileRole::StoreFile && armed.swap(false, Ordering::SeqCst) {
            let store = hooked.get().unwrap().upgrade().unwrap();
            thread::scope(|scope| {
                let put = scope.spawn(|| store.put(b"beside", b"value"));
                put.join().unwrap().unwrap();
            });
            is_later.store(true, Ordering::SeqCst);
        }
        answer
    });
    let store = Arc::new(FileStore::open_within(Arc::new(files), DIR, &options(), limits()).unwrap());
    store_of_hook.set(Arc::downgrade(&store)).unwrap();
    store.put(b"before", b"value").unwrap();
    is_armed.store(true, Ordering::SeqCst);
    call(&store).unwrap();
    assert!(!is_armed.load(Ordering::SeqCst), "the call did not sync");
    drop(store);
    let later_images = std::mem::take(&mut *lock(&later_images));
    assert!(!later_images.is_empty());
    (disk, later_images)
}

#[test]
fn a_record_written_during_the_sync_of_a_rotation_or_a_close_is_not_corruption_after_a_power_loss() {
    let rotate: fn(&FileStore) -> Result<(), Error> = |store| store.rotate_if(|_| true);
    for call in [rotate, |store: &FileStore| store.close()] {
        let (disk, later_images) = with_a_put_during_the_first_sync(call);
        for image in later_images {
            let store = open(&disk_of_image(&image)).unwrap();
            assert_eq!(store.get(b"before").unwrap().as_deref(), Some(&b"value"[..]));
        }
        for image in images(&disk) {
            let store = open(&disk_of_image(&image)).unwrap();
            assert_eq!(store.get(b"beside").unwrap().as_deref(), Some(&b"value"[..]));
        }
    }
}

#[test]
fn after_a_write_of_a_close_has_failed_no_other_thread_writes() {
    for _ in 0..400 {
        let disk = new_disk();
        let (is_armed, has_failed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let later_len = Arc::new(AtomicU64::new(0));
        let (armed, failed, later) = (
            Arc::clone(&is_armed),
            Arc::clone(&has_failed),
            Arc::clone(&later_len),
        );
        let files = ForwardingFiles::new(access(&disk), move |call| {
            let FileOperation::Write { bytes, .. } = &call.operation else {
                return call.forward();
            };
            if failed.load(Ordering::SeqCst) {
                later.fetch_add(1, Ordering::SeqCst);
            } else if armed.load(Ordering::SeqCst) && bytes.len() == RECORD_HEADER_LEN {
                // A promise record.
                failed.store(true, Ordering::SeqCst);
                return Err(io::ErrorKind::Other.into());
            }
            call.forward()
        });
        let options = FileStoreOptions {
            segment_bytes_max: 1 << 20,
            ..options()
        };
        let store = FileStore::open_within(Arc::new(files), DIR, &options, limits()).unwrap();
        store.put(b"key", b"value").unwrap();
        is_armed.store(true, Ordering::SeqCst);
        thread::scope(|scope| {
            let writers = [0, 1].map(|number| {
                let store = &store;
                scope.spawn(move || while store.put(b"key", &[number; 20]).is_ok() {})
            });
            while store.close().is_ok() {}
            for writer in writers {
                writer.join().unwrap();
            }
        });
        assert_eq!(later_len.load(Ordering::SeqCst), 0, "writes after the failure");
    }
}
