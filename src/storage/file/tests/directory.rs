//! The directory of a store on a real disk is removed. The store is opened on its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::fs::RealFiles;

/// Opens a store, puts a pair and removes the directory. Returns the failure of `call` and the directory.
fn failure_after_removal(call: impl FnOnce(&FileStore) -> Result<(), Error>) -> (Error, PathBuf) {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let unique = LAST.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("tidaldb-store-removed-{}-{unique}", std::process::id()));
    let store = FileStore::open(Arc::new(RealFiles), &dir, &options()).unwrap();
    store.put(b"key", b"value").unwrap();
    #[expect(
        clippy::disallowed_methods,
        reason = "the engine's file access removes no directories"
    )]
    std::fs::remove_dir_all(&dir).unwrap();
    (call(&store).unwrap_err(), dir)
}

#[test]
fn a_store_whose_directory_was_removed_fails_to_flush_and_to_close() {
    for call in [StorageEngine::flush, StorageEngine::close] {
        let (error, dir) = failure_after_removal(call);
        assert!(
            matches!(first_cause(&error), Error::DirectoryLost { path, .. } if *path == dir),
            "{error}"
        );
    }
}
