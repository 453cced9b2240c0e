//! Wrappers that only forward change nothing. A changed call takes effect. The roles match the engine's file names.

use std::path::Path;
use std::sync::Mutex;

use super::*;
use crate::fs::{File, FileAccess, OpenMode, read_whole};
use crate::storage::{MemoryStore, StorageEngine, WriteBatch};
use crate::testing::SimDisk;
use crate::testing::conformance::Conformance;

fn content(file: &dyn File) -> Vec<u8> {
    read_whole(file).unwrap()
}

#[test]
fn the_roles_match_the_names_of_the_files_that_the_engine_creates() {
    let disk = SimDisk::new();
    let options = || {
        let schema = crate::testing::workload::standard_schema();
        crate::testing::workload::tiny_options(schema).files(Arc::new(disk.clone()))
    };
    let db = Path::new("/db");
    drop(crate::TidalDb::open(db, options()).unwrap());
    let roles = |dir: &Path| -> Vec<FileRole> {
        let names = disk.list(dir).unwrap();
        names.iter().map(|name| FileRole::of(&dir.join(name))).collect()
    };
    let mut top = roles(db);
    top.sort_unstable();
    assert_eq!(top, [FileRole::Lock, FileRole::LogDir, FileRole::StoreDir]);
    assert_eq!(roles(&log_dir(db)), [FileRole::Segment]);
    assert_eq!(roles(&store_dir(db)), [FileRole::StoreFile]);
    assert_eq!(FileRole::of(&lock_file(db)), FileRole::Lock);
    let roles_on_disk: Vec<_> = disk
        .recording()
        .operations()
        .map(|operation| FileRole::of(&operation.path))
        .collect();
    for role in [FileRole::NewSegment, FileRole::NewStoreFile] {
        assert!(roles_on_disk.contains(&role), "{role:?}");
    }
    assert_eq!(FileRole::of(db), FileRole::Other);
}

#[test]
fn a_call_has_the_current_name_of_its_file() {
    let calls: Arc<Mutex<Vec<String>>> = Arc::default();
    let recorded = Arc::clone(&calls);
    let files = ForwardingFiles::new(Arc::new(SimDisk::new()), move |call| {
        let name = call.operation.name();
        let line = format!("{name} {} {:?}", call.path.display(), call.handle());
        recorded.lock().unwrap().push(line);
        call.forward()
    });
    let file = files.open(Path::new("/a"), OpenMode::Create).unwrap();
    files.rename(Path::new("/a"), Path::new("/b")).unwrap();
    file.sync().unwrap();
    drop(file);
    assert_eq!(
        *calls.lock().unwrap(),
        [
            "open /a None",
            "rename /a Some(0)",
            "sync /b Some(0)",
            "close /b Some(0)"
        ]
    );
}

#[test]
fn the_closure_can_change_fail_skip_and_repeat_a_call() {
    let disk = SimDisk::new();
    let files = ForwardingFiles::new(Arc::new(disk.clone()), |call| match &mut call.operation {
        FileOperation::Write { bytes, offset: 0 } => {
            bytes.to_mut()[0] = b'x';
            call.forward()
        }
        FileOperation::Write { offset: 3, .. } => call.skip(),
        FileOperation::Write { .. } => {
            call.forward()?;
            if let FileOperation::Write { offset, .. } = &mut call.operation {
                *offset += 1;
            }
            call.forward()
        }
        FileOperation::Sync => Err(std::io::Error::other("planned")),
        _ => call.forward(),
    });
    let file = files.open(Path::new("/a"), OpenMode::Create).unwrap();
    assert_eq!(file.write_at(b"abc", 0).unwrap(), 3);
    assert_eq!(file.write_at(b"def", 3).unwrap(), 3);
    assert_eq!(content(file.as_ref()), b"xbc");
    assert_eq!(file.write_at(b"g", 4).unwrap(), 1);
    assert_eq!(content(file.as_ref()), b"xbc\0gg");
    assert_eq!(file.sync().unwrap_err().to_string(), "planned");
    assert!(!disk.undurable().is_empty(), "no sync reached the disk");
}

#[test]
#[should_panic(expected = "answered a list with Done")]
fn an_answer_that_does_not_match_the_operation_panics() {
    let files = ForwardingFiles::new(Arc::new(SimDisk::new()), |_| Ok(FileAnswer::Done));
    drop(files.list(Path::new("/")));
}

#[test]
fn an_engine_conforms_with_forwarding_wrappers_around_it_and_its_files() {
    let counts = [FaultCount::default(), FaultCount::default()];
    let [file_calls, storage_calls] = counts.clone();
    let conformance = Conformance::over_file_access("forwarded", move |files, dir| {
        let (file_calls, storage_calls) = (file_calls.clone(), storage_calls.clone());
        let files = ForwardingFiles::new(files, move |call| {
            file_calls.count();
            call.forward()
        });
        let options = crate::storage::FileStoreOptions {
            segment_bytes_max: 1024,
            store_id: Some(0xfeed),
        };
        let engine = crate::storage::FileStore::open(Arc::new(files), dir, &options)?;
        Ok(ForwardingStorage::new(Arc::new(engine), move |call| {
            storage_calls.count();
            call.forward()
        }))
    });
    let selected = [
        "basic-operations",
        "batch-order",
        "scan-bounds",
        "reopening",
        "random-model",
        "power-loss",
    ];
    let report = conformance.check_only(|check| selected.contains(&check));
    report.assert_conforms();
    assert!(counts.iter().all(|count| !count.is_empty()), "{counts:?}");
}

#[test]
fn a_changed_key_a_skipped_batch_and_a_skipped_scan_take_effect() {
    let engine: Arc<dyn StorageEngine> = Arc::new(MemoryStore::new());
    let storage = ForwardingStorage::new(Arc::clone(&engine), |call| match &mut call.operation {
        StorageOperation::Put { key, .. } => {
            key.truncate(1);
            call.forward()
        }
        StorageOperation::WriteBatch(_) | StorageOperation::ScanPrefix { .. } => call.skip(),
        _ => call.forward(),
    });
    storage.put(b"key", b"value").unwrap();
    let mut batch = WriteBatch::new();
    batch.delete(b"k".to_vec());
    storage.write_batch(batch).unwrap();
    assert_eq!(engine.get(b"k").unwrap(), Some(b"value".to_vec()));
    assert_eq!(storage.get(b"k").unwrap(), Some(b"value".to_vec()));
    assert_eq!(storage.scan_prefix(b"").unwrap().count(), 0);
    assert_eq!(engine.scan_prefix(b"").unwrap().count(), 1);
}
