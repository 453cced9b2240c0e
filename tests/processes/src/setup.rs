//! The common parts of the cases: a small database, its acknowledged calls, and the content of a directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tidaldb::{
    Background, Durability, EntityId, Error, Options, Schema, Signal, SignalEvent, SignalId, TidalDb,
};

use crate::processes::record_in_another_process;
pub(crate) use crate::text::error_chain;

pub(crate) const POLICIES: [Durability; 3] = [
    Durability::EverySynced,
    Durability::SyncedEvery { interval_ms: 10 },
    Durability::OperatingSystem,
];

pub(crate) const VIEW: SignalId = SignalId(0);

/// The collection of [`Acknowledged`].
pub(crate) const SAVED: &str = "saved";

/// Options with small files, background work by the caller, no automatic checkpoint, and no preallocation.
pub(crate) fn options() -> Options {
    Options::new(Schema::new().signal(Signal::new("view").half_life_ms(1000)))
        .background(Background::Caller)
        .segment_bytes_max(512)
        .store_segment_bytes_max(4096)
        .preallocate_bytes(0)
        .checkpoint_log_bytes(1 << 30)
}

/// Opens a database. Panics with the causes of a failure.
pub(crate) fn open(path: &Path, options: Options) -> TidalDb {
    TidalDb::open(path, options)
        .unwrap_or_else(|error| panic!("open {}: {}", path.display(), error_chain(&error)))
}

/// The value of a call that must succeed. Panics with the causes of an error.
pub(crate) fn must<T>(result: Result<T, Error>) -> T {
    result.unwrap_or_else(|error| panic!("{}", error_chain(&error)))
}

/// Closes a handle, which must succeed, and drops it.
pub(crate) fn close(db: TidalDb) {
    must(db.close());
    drop(db);
}

/// A new database whose handle did the [work](Acknowledged::work) of these entities.
pub(crate) fn open_and_work(path: &Path, options: Options, entities: Range<u64>) -> (TidalDb, Acknowledged) {
    let (db, mut acknowledged) = (open(path, options), Acknowledged::default());
    acknowledged.must_work(&db, entities);
    (db, acknowledged)
}

/// Each kind of background work, with the path of a separate database.
pub(crate) fn per_background(root: &Path) -> [(Background, PathBuf); 2] {
    [Background::Caller, Background::OwnThreads].map(|it| (it, root.join(format!("{it:?}"))))
}

/// One event of the entity. All events have the same size. A single event of an entity gives a score of 1 at time 0.
pub(crate) fn event(entity: u64) -> SignalEvent<'static> {
    SignalEvent::new(VIEW, EntityId(entity), 0)
}

/// The acknowledged calls of one database: one event for each of these entities, and members of one collection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Acknowledged {
    pub(crate) events: BTreeSet<u64>,
    pub(crate) members: BTreeSet<u64>,
    /// Entities of failed calls that may have been applied.
    unknown: BTreeSet<u64>,
}

impl Acknowledged {
    /// Records an event of the entity.
    pub(crate) fn record(&mut self, db: &TidalDb, entity: u64) -> Result<(), Error> {
        let recorded = db.record(&event(entity)).map(drop);
        Self::count(&mut self.events, &mut self.unknown, &recorded, entity);
        recorded
    }

    /// Adds the entity to the collection. Creates the collection if it does not exist.
    pub(crate) fn add(&mut self, db: &TidalDb, entity: u64) -> Result<(), Error> {
        match db.create_collection(SAVED) {
            Ok(()) | Err(Error::CollectionExists { .. }) => {}
            Err(error) => return Err(error),
        }
        let added = db.add_to_collection(SAVED, EntityId(entity)).map(drop);
        Self::count(&mut self.members, &mut self.unknown, &added, entity);
        added
    }

    fn count(done: &mut BTreeSet<u64>, unknown: &mut BTreeSet<u64>, called: &Result<(), Error>, entity: u64) {
        match called {
            Ok(()) => done.insert(entity),
            Err(error) => error.outcome_is_unknown() && unknown.insert(entity),
        };
    }

    /// Records an event of each entity, adds the first one to the collection and makes a checkpoint.
    pub(crate) fn work(&mut self, db: &TidalDb, entities: Range<u64>) -> Result<(), Error> {
        self.add(db, entities.start)?;
        for entity in entities {
            self.record(db, entity)?;
        }
        db.checkpoint().map(drop)
    }

    /// Like [`work`](Self::work), and each call must succeed.
    pub(crate) fn must_work(&mut self, db: &TidalDb, entities: Range<u64>) {
        must(self.work(db, entities));
    }

    /// Fails unless the handle has each acknowledged event exactly once, each acknowledged member, and nothing else.
    pub(crate) fn assert_in(&self, db: &TidalDb) {
        let (mut events, mut members) = content_of(db);
        for unknown in self.unknown.difference(&self.events) {
            events.remove(unknown);
        }
        for unknown in self.unknown.difference(&self.members) {
            members.remove(unknown);
        }
        assert_eq!(events, self.events, "the events");
        assert_eq!(members, self.members, "the members");
    }

    /// One acknowledged event for each of these entities.
    pub(crate) fn of_events(entities: Range<u64>) -> Self {
        Self {
            events: entities.collect(),
            ..Self::default()
        }
    }

    /// Closes the handle, which must succeed, and then calls [`assert_at`](Self::assert_at).
    pub(crate) fn assert_closed(&self, db: TidalDb, path: &Path) {
        close(db);
        self.assert_at(path);
    }

    /// Fails unless the database opens with each acknowledged event exactly once, each acknowledged member, and nothing
    /// else.
    pub(crate) fn assert_at(&self, path: &Path) {
        self.assert_in(&open(path, options()));
    }
}

/// The entities with events, and the members of the collection. Fails if an entity has more than one event.
pub(crate) fn content_of(db: &TidalDb) -> (BTreeSet<u64>, BTreeSet<u64>) {
    let export = must(db.export());
    let states = export.signals.into_iter().map(|state| {
        assert_eq!(state.scores, [1.0], "the score of entity {}", state.entity.0);
        state.entity.0
    });
    let members = export.collections.into_iter().flat_map(|set| set.members);
    (states.collect(), members.map(|entity| entity.0).collect())
}

/// Fails unless another open of the database is refused, in this process and in another one.
pub(crate) fn assert_locked(path: &Path) {
    match TidalDb::open(path, options()) {
        Ok(_) => panic!("a second handle opens in the same process"),
        Err(error) => assert!(matches!(error, Error::Locked { .. }), "{}", error_chain(&error)),
    }
    let other = record_in_another_process(path, 0..0);
    assert!(other.is_err(), "a second handle opens in another process");
}

/// The error and its causes that are errors of the crate.
pub(crate) fn errors_of_crate(error: &Error) -> impl Iterator<Item = &Error> {
    let first: &(dyn std::error::Error + 'static) = error;
    let chain = std::iter::successors(Some(first), |error| error.source());
    chain.filter_map(|error| error.downcast_ref())
}

/// Fails unless the error reports that a directory of the database was removed, with the absolute path of the database.
pub(crate) fn assert_removed(error: &Error, database: &Path) {
    let reports_removal = |error: &Error| {
        matches!(error, Error::DirectoryLost { path, source }
            if path == database && source.kind() == ErrorKind::NotFound)
    };
    assert!(
        errors_of_crate(error).any(reports_removal),
        "{}",
        error_chain(error)
    );
}

/// Returns true if the error is the refusal of a write to the handle of `database` in another process than `opened_by`.
pub(crate) fn is_forked(error: &Error, database: &Path, opened_by: u32) -> bool {
    errors_of_crate(error).any(|error| {
        matches!(error, Error::Forked { path, opened_by: by } if path == database && *by == opened_by)
    })
}

/// The files and directories below a directory: the inode of each, and the bytes of a file.
pub(crate) type Tree = BTreeMap<PathBuf, (u64, Vec<u8>)>;

pub(crate) fn tree(dir: &Path) -> Tree {
    let mut tree = Tree::new();
    for path in paths(dir) {
        let metadata = fs::symlink_metadata(&path).expect("metadata");
        if metadata.is_dir() {
            tree.append(&mut self::tree(&path));
        }
        let bytes = metadata.is_file().then(|| fs::read(&path).expect("a file"));
        tree.insert(path, (metadata.ino(), bytes.unwrap_or_default()));
    }
    tree
}

/// The entries of a directory, in order.
pub(crate) fn paths(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let entries = entries.map(|entry| entry.expect("a directory entry").path());
    let mut paths: Vec<_> = entries.collect();
    paths.sort();
    paths
}

/// Fails if a file or directory below `dir` was created, removed, replaced or changed since `before`.
pub(crate) fn assert_unchanged(before: &Tree, dir: &Path) {
    let after = tree(dir);
    let mut changed: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    changed.retain(|path| before.get(*path) != after.get(*path));
    assert!(changed.is_empty(), "changed: {changed:?}");
}

/// Copies a directory with `cp -a`.
pub(crate) fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.expect("cp").success(), "cp {}", from.display());
}

/// A new directory below `root`.
pub(crate) fn new_dir(root: &Path, name: impl AsRef<Path>) -> PathBuf {
    let dir = root.join(name);
    fs::create_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    dir
}
