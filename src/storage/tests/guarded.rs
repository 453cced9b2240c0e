//! Flushes and closes of the guarded storage, and the calls of them that reach the engine.

use std::sync::{Arc, Mutex, Weak};

use crate::storage::MemoryStore;
use crate::storage::guarded::GuardedStorage;
use crate::testing::faults::{ForwardingStorage, StorageOperation};

type Notes = Arc<Mutex<Vec<&'static str>>>;

/// A guarded storage and the notes of its engine's calls. The engine flushes the storage during a put, as another
/// thread may.
fn noted() -> (Arc<GuardedStorage>, Notes) {
    let notes = Notes::default();
    let noting = Arc::clone(&notes);
    let storage = Arc::new_cyclic(|storage: &Weak<GuardedStorage>| {
        let storage = storage.clone();
        let engine = ForwardingStorage::new(Arc::new(MemoryStore::new()), move |call| {
            if let StorageOperation::Put { .. } = call.operation {
                storage.upgrade().unwrap().flush()?;
            }
            let answer = call.forward();
            noting.lock().unwrap().push(call.operation.name());
            answer
        });
        GuardedStorage::new(Arc::new(engine), Arc::default())
    });
    (storage, notes)
}

#[test]
fn a_flush_that_begins_before_a_write_has_returned_does_not_cover_it() {
    let (storage, notes) = noted();
    storage
        .write("put", |engine| engine.put(b"key", b"value"))
        .unwrap();
    storage.flush().unwrap();
    storage.flush().unwrap();
    assert_eq!(*notes.lock().unwrap(), ["put", "flush"]);
}

#[test]
fn a_close_reaches_the_engine_even_if_all_is_flushed_and_a_flush_after_it_does_not() {
    let (storage, notes) = noted();
    storage
        .write("put", |engine| engine.put(b"key", b"value"))
        .unwrap();
    storage.flush().unwrap();
    storage
        .write("put", |engine| engine.put(b"key", b"other"))
        .unwrap();
    storage.close().unwrap();
    storage.flush().unwrap();
    assert_eq!(*notes.lock().unwrap(), ["put", "flush", "put", "close"]);
}
