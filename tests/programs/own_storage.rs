//! An application's own storage engine, which keeps all pairs in one file. The conformance checks of the test kit test the
//! promises of `StorageEngine`.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tidaldb::fs::{FileAccess, OpenMode};
use tidaldb::storage::{BatchOperation, KeyValue, MemoryStore, Scan, StorageEngine, WriteBatch};
use tidaldb::testing::SimDisk;
use tidaldb::testing::workload::{standard_schema, tiny_options};
use tidaldb::{EntityId, Error, SignalEvent, TidalDb};

/// Each write makes a new file of all pairs, syncs it and renames it over the old one. So every write is atomic and durable.
/// The file has no checksum: `open` refuses a truncated file, but does not notice a flipped bit in a value.
struct WholeFileStore {
    pairs: MemoryStore,
    files: Arc<dyn FileAccess>,
    dir: PathBuf,
    /// A writer holds it while it copies the pairs and replaces the file: without it, two writers at the same time
    /// could overwrite each other's write. Readers need only the lock inside `pairs`.
    writer: Mutex<()>,
}

impl WholeFileStore {
    fn open(files: Arc<dyn FileAccess>, dir: &Path) -> Result<Self, Error> {
        let store = Self {
            pairs: MemoryStore::new(),
            files,
            dir: dir.to_path_buf(),
            writer: Mutex::new(()),
        };
        let bytes = read(store.files.as_ref(), dir).map_err(|error| Error::storage("open", error))?;
        let pairs = bytes.as_deref().map_or(Some(Vec::new()), decode);
        let refusal = || io::Error::new(ErrorKind::InvalidData, "the file of the pairs is damaged");
        for (key, value) in pairs.ok_or_else(|| Error::storage("open", refusal()))? {
            store.pairs.put(key, value)?;
        }
        Ok(store)
    }
}

/// The content of the file, `None` if it does not exist. Syncs the directory first: after a kill between the rename
/// and that sync of a write, the name of the file may not be durable yet.
fn read(files: &dyn FileAccess, dir: &Path) -> io::Result<Option<Vec<u8>>> {
    if !files.list(dir)?.contains(&"pairs".to_owned()) {
        return Ok(None);
    }
    files.sync_dir(dir)?;
    let file = files.open(&dir.join("pairs"), OpenMode::Read)?;
    let (mut bytes, mut filled) = (vec![0; file.len()? as usize], 0);
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], filled as u64)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            len => filled += len,
        }
    }
    Ok(Some(bytes))
}

fn replace(files: &dyn FileAccess, dir: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = files.open(&dir.join("new"), OpenMode::Create)?;
    let mut written = 0;
    while written < bytes.len() {
        match file.write_at(&bytes[written..], written as u64)? {
            0 => return Err(ErrorKind::WriteZero.into()),
            len => written += len,
        }
    }
    file.sync()?;
    files.rename(&dir.join("new"), &dir.join("pairs"))?;
    files.sync_dir(dir)
}

/// The content of the file: the number of pairs, then each key and each value after its length.
fn encode(pairs: &[KeyValue]) -> Vec<u8> {
    let mut bytes = (pairs.len() as u64).to_le_bytes().to_vec();
    for part in pairs.iter().flat_map(|(key, value)| [key, value]) {
        bytes.extend((part.len() as u64).to_le_bytes());
        bytes.extend(part);
    }
    bytes
}

/// The pairs of a file. `None` if bytes are missing or left over.
fn decode(bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let (pairs_len, mut parts) = bytes.split_first_chunk()?;
    let pairs = (0..u64::from_le_bytes(*pairs_len))
        .map(|_| Some((next_part(&mut parts)?, next_part(&mut parts)?)))
        .collect::<Option<_>>()?;
    parts.is_empty().then_some(pairs)
}

/// Takes a part, which follows its length, from the beginning of `parts`.
fn next_part<'a>(parts: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, rest) = parts.split_first_chunk()?;
    let part = rest.get(..usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
    *parts = &rest[part.len()..];
    Some(part)
}

impl StorageEngine for WholeFileStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.pairs.get(key)
    }
    fn scan_prefix(&self, prefix: &[u8]) -> Result<Scan<'_>, Error> {
        self.pairs.scan_prefix(prefix)
    }
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let (key, value) = (key.to_vec(), value.to_vec());
        self.write_batch(vec![BatchOperation::Put { key, value }].into())
    }
    fn delete(&self, key: &[u8]) -> Result<(), Error> {
        let key = key.to_vec();
        self.write_batch(vec![BatchOperation::Delete { key }].into())
    }
    /// Writes the file first: if this fails, readers do not see the batch.
    fn write_batch(&self, batch: WriteBatch) -> Result<(), Error> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = MemoryStore::new();
        for pair in self.pairs.scan_prefix(b"")? {
            let (key, value) = pair?;
            changed.put(&key, &value)?;
        }
        changed.write_batch(batch.clone())?;
        let pairs: Vec<_> = changed.scan_prefix(b"")?.collect::<Result<_, _>>()?;
        replace(self.files.as_ref(), &self.dir, &encode(&pairs))
            .map_err(|error| Error::storage("write", error))?;
        self.pairs.write_batch(batch)
    }
    /// Does nothing: a write is durable when it returns.
    fn flush(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// Records an event in a database over the engine, and returns the number of events after a reopening.
fn events_after_reopening() -> Result<u64, Error> {
    let files: Arc<dyn FileAccess> = Arc::new(SimDisk::new());
    let open = || {
        let storage = Arc::new(WholeFileStore::open(Arc::clone(&files), Path::new("/"))?);
        let options = tiny_options(standard_schema()).files(Arc::clone(&files));
        TidalDb::open_with_storage("/db", options, storage)
    };
    let db = open()?;
    let event = SignalEvent::new(db.signal("view")?, EntityId(1), 0);
    db.record(&event)?;
    db.close()?;
    open()?.windowed_count(event.entity, event.signal, 0, 24, event.at_ms)
}

fn main() -> Result<(), Error> {
    events_after_reopening().map(|len| println!("events after a reopening: {len}"))
}

#[test]
fn the_engine_conforms_and_a_database_reopens_over_it() {
    use tidaldb::testing::conformance::{CheckOutcome, Conformance};
    let report = Conformance::over_file_access("whole file", WholeFileStore::open).check();
    for check in &report.checks {
        // This engine opens so fast that a kill during an open can come too late. Then that check tested nothing. Every
        // other failure counts.
        if let CheckOutcome::Failed { reason } = &check.outcome {
            let tested_nothing = reason.starts_with("the check tested nothing");
            assert!(check.name == "killed-while-opening" && tested_nothing, "{report}");
        }
    }
    assert_eq!(events_after_reopening().unwrap(), 1);
}

#[test]
fn a_truncated_file_or_one_with_more_bytes_is_refused() {
    let pairs = [(b"one".to_vec(), b"1".to_vec()), (b"two".to_vec(), Vec::new())];
    let bytes = encode(&pairs);
    assert_eq!(decode(&bytes).unwrap(), [(&b"one"[..], &b"1"[..]), (b"two", b"")]);
    for len in 0..bytes.len() {
        assert_eq!(decode(&bytes[..len]), None, "{len} bytes");
    }
    assert_eq!(decode(&[&bytes[..], b"0"].concat()), None);
}
