//! Wrappers that forward change nothing, a changed call takes effect, and the roles are those of the engine's names.

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
fn a_role_is_the_same_for_the_names_that_the_engine_makes() {
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
    let made: Vec<_> = disk
        .recording()
        .operations()
        .map(|operation| FileRole::of(&operation.path))
        .collect();
    assert!(made.contains(&FileRole::NewSegment) && made.contains(&FileRole::NewStoreFile));
    assert_eq!(FileRole::of(db), FileRole::Other);
}

#[test]
fn a_call_shows_the_name_that_its_file_has_now() {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = Arc::clone(&seen);
    let files = ForwardingFiles::new(Arc::new(SimDisk::new()), move |call| {
        let name = call.operation.name();
        let note = format!("{name} {} {:?}", call.path.display(), call.handle());
        noted.lock().unwrap().push(note);
        call.forward()
    });
    let file = files.open(Path::new("/a"), OpenMode::Create).unwrap();
    files.rename(Path::new("/a"), Path::new("/b")).unwrap();
    file.sync().unwrap();
    drop(file);
    assert_eq!(
        *seen.lock().unwrap(),
        [
            "open /a None",
            "rename /a Some(0)",
            "sync /b Some(0)",
            "close /b Some(0)"
        ]
    );
}

#[test]
fn a_call_can_be_changed_failed_skipped_and_made_twice() {
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
fn an_answer_of_another_operation_panics() {
    let files = ForwardingFiles::new(Arc::new(SimDisk::new()), |_| Ok(FileAnswer::Done));
    drop(files.list(Path::new("/")));
}

#[test]
fn an_engine_and_files_behind_forwarding_wrappers_conform() {
    let calls = [FaultCount::default(), FaultCount::default()];
    let [of_files, of_storage] = calls.clone();
    let conformance = Conformance::over_file_access("forwarded", move |files, dir| {
        let (of_files, of_storage) = (of_files.clone(), of_storage.clone());
        let files = ForwardingFiles::new(files, move |call| {
            of_files.count();
            call.forward()
        });
        let options = crate::storage::FileStoreOptions {
            segment_bytes_max: 1024,
            store_id: Some(0xfeed),
        };
        let engine = crate::storage::FileStore::open(Arc::new(files), dir, &options)?;
        Ok(ForwardingStorage::new(Arc::new(engine), move |call| {
            of_storage.count();
            call.forward()
        }))
    });
    let wanted = [
        "basic-operations",
        "batch-order",
        "scan-bounds",
        "reopening",
        "random-model",
        "power-loss",
    ];
    let report = conformance.check_those(|check| wanted.contains(&check));
    report.assert_conforms();
    assert!(calls.iter().all(|calls| !calls.is_empty()), "{calls:?}");
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
