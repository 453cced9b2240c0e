//! The directory of a store on a real disk is removed. No database uses the store.

use std::sync::Arc;

use super::*;
use crate::fs::RealFiles;
use crate::testing::lab::TempDir;

/// Opens a store, puts a pair and removes the directory. Returns the failure of `call` and the directory.
fn failure_after_removal(call: impl FnOnce(&FileStore) -> Result<(), Error>) -> (Error, PathBuf) {
    let temp = TempDir::new("store-removed");
    let dir = temp.path().to_owned();
    let store = FileStore::open(Arc::new(RealFiles), &dir, &options()).unwrap();
    store.put(b"key", b"value").unwrap();
    temp.remove();
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
