//! A storage engine that fails at each of its calls: in an open, in checkpoints, in changes of collections, in syncs.

use std::io;
use std::ops::RangeInclusive;
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};

use super::panics::{CALL_PLACES, expect_poisoned};
use super::*;
use crate::storage::{MemoryStore, StorageEngine};
use crate::testing::faults::{FaultCount, ForwardingStorage, StorageAnswer, StorageCall, StorageOperation};

/// The kind of failure of a call, and its work before that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EngineFailure {
    Before,
    After,
    /// The first item of a scan fails. Every other call fails before its work.
    AtAnItem,
    /// The call panics before its work.
    PanicBefore,
    /// The call panics after its work.
    PanicAfter,
}

const ENGINE_FAILURES: [EngineFailure; 3] = [
    EngineFailure::Before,
    EngineFailure::After,
    EngineFailure::AtAnItem,
];

/// The payload of a panic of the engine: the name of the call.
#[derive(Debug, PartialEq, Eq)]
struct Panicked(&'static str);

/// An engine in memory that counts its calls and fails at one of them.
#[derive(Debug, Clone)]
pub(super) struct FailingEngine {
    inner: MemoryStore,
    calls: Arc<Mutex<EngineCalls>>,
}

#[derive(Debug, Default)]
struct EngineCalls {
    /// The names of all calls.
    made: Vec<&'static str>,
    fails_at: Option<(usize, EngineFailure)>,
}

impl FailingEngine {
    pub(super) fn new() -> Self {
        Self {
            inner: MemoryStore::new(),
            calls: Arc::default(),
        }
    }

    fn fail_at(&self, call: usize, failing: EngineFailure) {
        self.calls.lock().unwrap().fails_at = Some((call, failing));
    }

    pub(super) fn made(&self) -> Vec<&'static str> {
        self.calls.lock().unwrap().made.clone()
    }

    fn failing(&self, name: &'static str) -> Option<EngineFailure> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.made.push(name);
        let at = calls.made.len() - 1;
        calls
            .fails_at
            .filter(|(call, _)| *call == at)
            .map(|(_, failing)| failing)
    }

    /// The engine, with a count of its calls.
    pub(super) fn storage(&self) -> Arc<dyn StorageEngine> {
        let engine = self.clone();
        let inner = Arc::new(self.inner.clone());
        Arc::new(ForwardingStorage::new(inner, move |call| engine.call(call)))
    }

    fn call<'a>(&self, call: &mut StorageCall<'a>) -> Result<StorageAnswer<'a>, Error> {
        let name = call.operation.name();
        let is_scan = matches!(call.operation, StorageOperation::ScanPrefix { .. });
        let failed = || Error::storage(name, io::Error::other("the engine is out of order"));
        let panic = || std::panic::resume_unwind(Box::new(Panicked(name)));
        match self.failing(name) {
            None => call.forward(),
            Some(EngineFailure::PanicBefore) => panic(),
            Some(EngineFailure::PanicAfter) => call.forward().and_then(|_| panic()),
            Some(EngineFailure::After) => call.forward().and_then(|_| Err(failed())),
            Some(EngineFailure::AtAnItem) if is_scan => {
                let items = std::iter::once(Err(failed()));
                Ok(StorageAnswer::Scan(Box::new(items)))
            }
            Some(EngineFailure::Before | EngineFailure::AtAnItem) => Err(failed()),
        }
    }
}

fn open(disk: &SimDisk, engine: &FailingEngine) -> Result<TidalDb, Error> {
    let options = options(disk, Durability::EverySynced);
    TidalDb::open_with_storage(PATH, options, engine.storage())
}

/// Records events, makes a checkpoint, and makes every change of a collection. Returns the numbers of acknowledged
/// events and changes, and the first error.
fn work(db: &TidalDb) -> (u64, usize, Option<Error>) {
    let acknowledged = Mutex::new((0, 0));
    let failed = work_until_an_error(db, &acknowledged).err();
    let (events, changes) = acknowledged.into_inner().unwrap();
    (events, changes, failed)
}

/// The calls of [`work`], until one fails. Counts acknowledged events and changes.
fn work_until_an_error(db: &TidalDb, acknowledged: &Mutex<(u64, usize)>) -> Result<(), Error> {
    let event = || {
        let events = acknowledged.lock().unwrap().0;
        record(db, events)?;
        acknowledged.lock().unwrap().0 += 1;
        Ok(())
    };
    let changed = || acknowledged.lock().unwrap().1 += 1;
    (0..3).try_for_each(|_| event())?;
    db.create_collection("saved")?;
    changed();
    db.add_to_collection("saved", EntityId(3))?;
    changed();
    db.checkpoint()?;
    db.remove_from_collection("saved", EntityId(3))?;
    changed();
    db.add_to_collection("saved", EntityId(4))?;
    changed();
    event()?;
    db.delete_collection("saved")?;
    changed();
    db.sync()?;
    db.close()
}

/// The members of the only collection after this number of changes; `None` without the collection.
fn members_after(changes: usize) -> Option<Vec<EntityId>> {
    match changes {
        1 | 3 => Some(vec![]),
        2 => Some(vec![EntityId(3)]),
        4 => Some(vec![EntityId(4)]),
        _ => None,
    }
}

fn operation_of(error: &Error) -> &'static str {
    match error {
        Error::OutcomeUnknown { source, .. } => operation_of(source),
        Error::Poisoned { cause } => operation_of(cause),
        Error::Storage { operation, .. } => operation,
        other => panic!("{other:?} names no call"),
    }
}

fn check_reopened(
    disk: &SimDisk,
    engine: &FailingEngine,
    events: u64,
    changes: RangeInclusive<usize>,
    context: &str,
) {
    let healed = FailingEngine {
        inner: engine.inner.clone(),
        calls: Arc::default(),
    };
    let db = open(disk, &healed).expect(context);
    let mut found = db.export().unwrap();
    let collections = std::mem::take(&mut found.collections);
    assert_eq!(found, state_after(events), "{context}");
    let members = collections.first().map(|found| found.members.clone());
    assert!(
        collections.len() < 2 && changes.clone().any(|len| members == members_after(len)),
        "{context}: {changes:?} changes, {collections:?}"
    );
}

#[test]
fn each_failing_engine_call_fails_the_call_in_progress_and_poisons_and_loses_nothing() {
    let (disk, engine) = (SimDisk::new(), FailingEngine::new());
    let db = open(&disk, &engine).unwrap();
    let opened = engine.made().len();
    assert!(work(&db).2.is_none());
    let made = engine.made();
    for name in ["put", "delete", "write_batch", "flush"] {
        assert!(made[opened..].contains(&name), "no {name} in {made:?}");
    }
    for (at, &name) in made.iter().enumerate().skip(opened) {
        for failing in ENGINE_FAILURES {
            let (disk, engine) = (SimDisk::new(), FailingEngine::new());
            let db = open(&disk, &engine).unwrap();
            engine.fail_at(at, failing);
            let (events, changes, failed) = work(&db);
            let context = format!("{failing:?} at call {at}, {name}: {failed:?}");
            let error = failed.expect(&context);
            assert_eq!(operation_of(&error), name, "{context}");
            // After a refused call, a sync, a checkpoint or a close the state has exactly the acknowledged calls.
            let unknown = usize::from(error.outcome_is_unknown());
            let refused = [
                record(&db, 9).map(drop),
                db.create_collection("after"),
                db.checkpoint().map(drop),
                db.sync(),
            ];
            let was_closing = matches!(refused[0], Err(Error::Closed));
            for refusal in refused {
                let refusal = refusal.expect_err(&context);
                assert!(
                    matches!(refusal, Error::Closed) || operation_of(&refusal) == name,
                    "{context}: {refusal:?}"
                );
            }
            assert!(was_closing || db.export().is_ok(), "{context}: reads continue");
            drop(db);
            assert_eq!(
                engine.made().len(),
                at + 1,
                "{context}: no call after the one that failed"
            );
            check_reopened(&disk, &engine, events, changes..=changes + unknown, &context);
        }
    }
}

#[test]
fn each_panicking_engine_call_poisons_and_loses_nothing_also_in_a_destructor() {
    let (disk, engine) = (SimDisk::new(), FailingEngine::new());
    let db = open(&disk, &engine).unwrap();
    let opened = engine.made().len();
    assert!(work(&db).2.is_none());
    for (at, &name) in engine.made().iter().enumerate().skip(opened) {
        for failing in [EngineFailure::PanicBefore, EngineFailure::PanicAfter] {
            for place in CALL_PLACES {
                let context = format!("{place:?}, {failing:?} at call {at}, {name}");
                let (disk, engine) = (SimDisk::new(), FailingEngine::new());
                let db = open(&disk, &engine).unwrap();
                engine.fail_at(at, failing);
                let acknowledged = Mutex::new((0, 0));
                let payload = place.run(|| {
                    work_until_an_error(&db, &acknowledged).unwrap();
                });
                assert_eq!(
                    payload.expect(&context).downcast_ref(),
                    Some(&Panicked(name)),
                    "{context}"
                );
                expect_poisoned(&db, &context);
                drop(db);
                assert_eq!(
                    engine.made().len(),
                    at + 1,
                    "{context}: no call after the one that panicked"
                );
                let (events, changes) = *acknowledged.lock().unwrap();
                check_reopened(&disk, &engine, events, changes..=changes + 1, &context);
            }
        }
    }
}

#[test]
fn a_checkpoint_whose_flush_fails_makes_nothing_durable() {
    for failing in [EngineFailure::Before, EngineFailure::After] {
        let (disk, engine) = (SimDisk::new(), FailingEngine::new());
        let options = options(&disk, Durability::OperatingSystem);
        let db = TidalDb::open_with_storage(PATH, options, engine.storage()).unwrap();
        for i in 0..3 {
            record(&db, i).unwrap();
        }
        // The batch, then the flush.
        engine.fail_at(engine.made().len() + 1, failing);
        let error = db.checkpoint().unwrap_err();
        assert_eq!(operation_of(&error), "flush");
        assert_eq!(db.durable_sequence(), 0, "{failing:?}");
    }
}

#[test]
fn each_panicking_engine_call_of_an_open_leaves_a_database_that_opens() {
    let (disk, engine) = (SimDisk::new(), FailingEngine::new());
    let db = open(&disk, &engine).unwrap();
    for i in 0..4 {
        record(&db, i).unwrap();
    }
    db.create_collection("saved").unwrap();
    db.checkpoint().unwrap();
    record(&db, 4).unwrap();
    drop(db);
    let opened = engine.made().len();
    drop(open(&disk, &engine).unwrap());
    let calls = engine.made().len() - opened;
    for call in 0..calls {
        for failing in [EngineFailure::PanicBefore, EngineFailure::PanicAfter] {
            for place in CALL_PLACES {
                let context = format!("{place:?}, {failing:?} at call {call} of opening");
                engine.fail_at(engine.made().len() + call, failing);
                let payload = place.run(|| drop(open(&disk, &engine)));
                assert!(payload.expect(&context).is::<Panicked>(), "{context}");
                assert!(disk.locks_held().is_empty(), "{context}");
                check_reopened(&disk, &engine, 5, 1..=1, &context);
            }
        }
    }
    assert!(calls > 5, "{calls} calls");
}

#[test]
fn each_failing_engine_call_of_an_open_fails_the_open_and_the_next_open_recovers_everything() {
    // The open of an empty database, and of one with events and a collection.
    let (disk, engine) = (SimDisk::new(), FailingEngine::new());
    let db = open(&disk, &engine).unwrap();
    for i in 0..4 {
        record(&db, i).unwrap();
    }
    db.create_collection("saved").unwrap();
    db.add_to_collection("saved", EntityId(3)).unwrap();
    db.checkpoint().unwrap();
    record(&db, 4).unwrap();
    drop(db);
    let full = (content(&disk), engine.inner.clone());
    let copied = |(image, store): &(Image, MemoryStore)| {
        let copy = MemoryStore::new();
        for pair in store.scan_prefix(b"").unwrap() {
            let (key, value) = pair.unwrap();
            copy.put(&key, &value).unwrap();
        }
        let engine = FailingEngine {
            inner: copy,
            calls: Arc::default(),
        };
        (SimDisk::from_image(image), engine)
    };
    let empty = (Image::new(), MemoryStore::new());
    let mut all_made = Vec::new();
    for (start, events, changes) in [(&empty, 0, 0), (&full, 5, 2)] {
        let (disk, engine) = copied(start);
        drop(open(&disk, &engine).unwrap());
        let made = engine.made();
        for (at, &name) in made.iter().enumerate() {
            for failing in ENGINE_FAILURES {
                let (disk, engine) = copied(start);
                engine.fail_at(at, failing);
                let context = format!("{failing:?} at call {at}, {name}, {events} events");
                let error = open(&disk, &engine).map(drop).expect_err(&context);
                assert_eq!(operation_of(&error), name, "{context}");
                assert_eq!(
                    engine.made().len(),
                    at + 1,
                    "{context}: no call after the one that failed"
                );
                assert!(disk.locks_held().is_empty(), "{context}");
                check_reopened(&disk, &engine, events, changes..=changes, &context);
            }
        }
        all_made.extend(made);
    }
    for name in ["get", "put", "scan_prefix", "write_batch", "flush"] {
        assert!(all_made.contains(&name), "no {name} in {all_made:?}");
    }
}

type BeforeFailure = Box<dyn FnOnce() + Send>;

#[test]
fn threads_that_wait_for_a_failing_flush_get_its_error_and_do_not_flush_again() {
    let (disk, flushes) = (SimDisk::new(), FaultCount::default());
    // The next flush calls this function and then fails.
    let fails: Arc<Mutex<Option<BeforeFailure>>> = Arc::default();
    let (counted, taken) = (flushes.clone(), Arc::clone(&fails));
    let storage = ForwardingStorage::new(Arc::new(MemoryStore::new()), move |call| {
        if let StorageOperation::Flush | StorageOperation::Close = call.operation {
            counted.count();
            let before = taken.lock().unwrap().take();
            if let Some(before) = before {
                before();
                return Err(Error::storage(
                    "flush",
                    io::Error::other("the engine is out of order"),
                ));
            }
        }
        call.forward()
    });
    let options = options(&disk, Durability::OperatingSystem);
    let db = TidalDb::open_with_storage(PATH, options, Arc::new(storage)).unwrap();
    let db = Arc::new(db);
    db.create_collection("saved").unwrap();
    let ((begin, begun), (send_error, sync_errors)) = (channel(), channel());
    // Each thread begins during the flush. It waits for the flush, or begins another one after it.
    *fails.lock().unwrap() = Some(Box::new({
        let db = Arc::downgrade(&db);
        move || {
            for _ in 0..4 {
                let (db, begin, send_error) = (db.upgrade().unwrap(), begin.clone(), send_error.clone());
                let wait = move || {
                    begin.send(()).unwrap();
                    send_error.send(db.sync().unwrap_err()).unwrap();
                };
                crate::testing::threads::spawn("waiting", wait).unwrap();
            }
            for _ in 0..4 {
                begun.recv().unwrap();
            }
        }
    }));
    let before = flushes.len();
    let mut errors = vec![db.sync().unwrap_err()];
    errors.extend(sync_errors);
    assert_eq!(errors.len(), 5);
    for error in errors {
        let Error::Poisoned { cause } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(operation_of(cause), "flush");
    }
    assert_eq!(flushes.len(), before + 1, "no operation is tried again");
    assert_eq!(db.export().unwrap().collections.len(), 1, "reads continue");
}
