//! Many threads at once: two writers, a reader, one that makes checkpoints, and the database's own, crashed together.
//!
//! Whatever the interleaving, the state after recovery equals the model of the frames that are in the log, in the order
//! of their sequence numbers. Which thread meets the crash varies from run to run; that one does is part of the plan.

use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::{self, ScopedJoinHandle};

use tidaldb::testing::oracle::{self, Oracle};
use tidaldb::testing::workload::{Operation, Workload, is_ahead_of_clock, standard_schema, tiny_options};
use tidaldb::testing::{
    CrashInjector, CrashPoint, CrossingRecorder, crash_of, inherit, run_with_crash, scoped_recorder,
};
use tidaldb::{Background, Durability, EntityId, Error, Options, Receipt, SignalId, TidalDb};

use crate::account::Account;
use crate::common::TempDir;
use crate::crash::go_on;
use crate::crossings::{count, in_words};
use crate::harness::{lock, panicked};
use crate::home::Home;
use crate::outcome::{Checked, Counts, Failure, Outcome, ensure};
use crate::parent::{self, Sentence};
use crate::plan::{Death, Policy, Store};
use crate::protocol::Line;

/// The seeds of the two writers' operations, and of what follows after recovery.
const SEEDS: [u64; 3] = [0x0717_0001, 0x0717_0002, 0x0717_0003];
const WRITER_LEN: usize = 80;
const MORE_LEN: usize = 20;
/// How many checkpoints the thread for them makes.
const CHECKPOINTS_LEN: usize = 12;
/// How often the threads run to the end.
const ROUNDS: usize = 4;
/// A crossing up to this one is made however the threads are interleaved.
const FIRE_AFTER_MAX: u64 = 40;
/// The same of a point that only some operations cross.
const FIRE_AFTER_RARE_MAX: u64 = 3;

/// One crash of a database with many threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ThreadsPlan {
    pub(crate) store: Store,
    pub(crate) policy: Policy,
    pub(crate) point: CrashPoint,
    pub(crate) fire_after: u64,
    pub(crate) death: Death,
    /// What point and crossing follow from, if they do.
    seed: Option<u64>,
}

impl ThreadsPlan {
    /// A panic of whichever thread is at the point.
    pub(crate) fn panic(policy: Policy, point: CrashPoint) -> Self {
        Self {
            store: Store::Embedded,
            policy,
            point,
            fire_after: fire_after_max(point) / 2,
            death: Death::Panic,
            seed: None,
        }
    }

    /// A kill of the process while a thread is at a point, both of the seed's choice.
    pub(crate) fn kill(policy: Policy, seed: u64) -> Self {
        // Different ones under each policy.
        let mixed = mix(seed * 3 + policy as u64);
        let point = CrashPoint::ALL[(mixed % 8) as usize];
        Self {
            store: Store::Embedded,
            policy,
            point,
            fire_after: (mixed >> 32) % (fire_after_max(point) + 1),
            death: Death::Sigkill,
            seed: Some(seed),
        }
    }

    /// Its row in the matrix.
    pub(crate) fn row(&self) -> String {
        self.point.to_string()
    }

    pub(crate) fn in_words(&self) -> String {
        let workload = workload_in_words();
        format!(
            "{workload}\nplan: crash at crossing {} of {}",
            self.fire_after + 1,
            self.point
        )
    }
}

impl fmt::Display for ThreadsPlan {
    /// The name of its case.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            policy, point, death, ..
        } = self;
        let (policy, death) = (policy.name(), death.name());
        match self.seed {
            None => write!(f, "threads/{policy}/{point}/{death}"),
            Some(seed) => write!(f, "threads/{policy}/seed-{seed}/{death}"),
        }
    }
}

/// What the threads do, whatever the plan.
pub(crate) fn workload_in_words() -> String {
    format!("workload: the standard ones of seeds {SEEDS:x?}, on two threads")
}

fn options(policy: Policy) -> Options {
    let durability = match policy.durability() {
        // The database's own thread waits in real time.
        Durability::SyncedEvery { .. } => Durability::SyncedEvery { interval_ms: 5 },
        other => other,
    };
    tiny_options(standard_schema())
        .durability(durability)
        .background(Background::OwnThreads)
}

/// The mixing function of `SplitMix64`.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn fire_after_max(point: CrashPoint) -> u64 {
    match point {
        CrashPoint::CheckpointPreFlush
        | CrashPoint::CheckpointPostFlush
        | CrashPoint::CollectionIndexUpdate
        | CrashPoint::CoEngagementUpdate => FIRE_AFTER_RARE_MAX,
        _ => FIRE_AFTER_MAX,
    }
}

/// Who does which operations.
struct Shifts {
    operations: Vec<Operation>,
    writers: [Range<usize>; 2],
    checkpoints: Range<usize>,
}

fn shifts() -> &'static Shifts {
    static SHIFTS: OnceLock<Shifts> = OnceLock::new();
    SHIFTS.get_or_init(|| {
        let mut operations = Workload::standard(SEEDS[0], WRITER_LEN).operations;
        let first = 0..operations.len();
        // Only one thread changes collections: their order is not the log's.
        operations.extend(frames_only(SEEDS[1], WRITER_LEN));
        let second = first.end..operations.len();
        operations.extend(vec![Operation::Checkpoint; CHECKPOINTS_LEN]);
        let checkpoints = second.end..operations.len();
        operations.extend(frames_only(SEEDS[2], MORE_LEN));
        Shifts {
            operations,
            writers: [first, second],
            checkpoints,
        }
    })
}

/// The frames and syncs of a standard workload, its weights between those of the first writer's.
fn frames_only(seed: u64, operations_len: usize) -> impl Iterator<Item = Operation> {
    let all = Workload::standard(seed, operations_len).operations.into_iter();
    let kept = all.filter(|operation| operation.is_frame() || matches!(operation, Operation::Sync));
    let shift = (seed - SEEDS[0]) as f64 / 16_384.0;
    kept.map(move |mut operation| {
        if let Operation::Record { events, .. } = &mut operation {
            for event in events {
                event.weight += shift;
            }
        }
        operation
    })
}

/// Who is told what a thread asks and is answered.
trait Listener: Sync {
    fn begin(&self, index: usize);
    fn ended(&self, index: usize, result: &Result<Option<Receipt>, Error>);
}

/// Tells the parent.
struct Teller;

impl Listener for Teller {
    fn begin(&self, index: usize) {
        Line::Begin(index).say();
    }

    fn ended(&self, index: usize, result: &Result<Option<Receipt>, Error>) {
        Line::of_result(index, result).say();
    }
}

/// Keeps the account in this process, and the first thing that is wrong with it.
struct Keeper<'a> {
    account: Mutex<Account<'a>>,
    wrong: Mutex<Option<Failure>>,
}

impl Keeper<'_> {
    fn note(&self, result: Checked<()>) {
        if let Err(failure) = result {
            lock(&self.wrong).get_or_insert(failure);
        }
    }
}

impl Listener for Keeper<'_> {
    fn begin(&self, index: usize) {
        self.note(lock(&self.account).begin(index));
    }

    fn ended(&self, index: usize, result: &Result<Option<Receipt>, Error>) {
        self.note(lock(&self.account).ended(index, result));
    }
}

/// Carries out a plan.
pub(crate) fn run(plan: &ThreadsPlan) -> Outcome {
    let shifts = shifts();
    let oracle = Oracle::new(&standard_schema(), plan.policy.durability());
    let account = Account::new(&shifts.operations, oracle);
    let keeper = Keeper {
        account: Mutex::new(account),
        wrong: Mutex::new(None),
    };
    let dir = TempDir::new("crash-suite");
    let home = Home::new(dir.path(), plan.store);
    let crashed = match plan.death {
        Death::Panic => panic(plan, &home, &keeper),
        Death::Abort | Death::Sigkill => {
            let sentence = Sentence {
                name: &plan.to_string(),
                point: plan.point,
                fire_after: plan.fire_after,
                death: plan.death,
            };
            parent::run(&sentence, &home, |line| lock(&keeper.account).hear(line))
        }
    };
    let wrong = keeper.wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut account = keeper
        .account
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let at_death = home.files();
    let failure = crashed
        .and_then(|()| wrong.map_or(Ok(()), Err))
        .and_then(|()| {
            go_on(
                &home,
                || options(plan.policy),
                &shifts.operations,
                &mut account,
                None,
            )
        })
        .err()
        .map(|failure| with_evidence(failure, &home, at_death, &account, &dir));
    Outcome {
        counts: account.counts(),
        failure,
    }
}

/// The failure with what is known of it: what the child said, and the directory, which is kept, with the files as the
/// death had left them.
fn with_evidence(
    failure: Failure,
    home: &Home,
    at_death: Checked<Vec<(PathBuf, Vec<u8>)>>,
    account: &Account<'_>,
    dir: &TempDir,
) -> Failure {
    let laid_out = at_death.and_then(|files| home.lay_out_at_death(&files));
    let failure = match laid_out {
        Ok(()) => failure,
        Err(why) => failure.with(format!("the files at the death are not known: {why}")),
    };
    let failure = account.last_heard().into_iter().fold(failure, Failure::with);
    failure.with(dir.keep())
}

/// Runs the threads to the end, some times, and compares the state while the database is open and after reopening it.
pub(crate) fn run_to_the_end(policy: Policy) -> Outcome {
    let mut counts = Counts::default();
    let failure = (0..ROUNDS).try_for_each(|_| round(policy, &mut counts)).err();
    Outcome { counts, failure }
}

fn round(policy: Policy, counts: &mut Counts) -> Checked<()> {
    let oracle = Oracle::new(&standard_schema(), policy.durability());
    let keeper = Keeper {
        account: Mutex::new(Account::new(&shifts().operations, oracle)),
        wrong: Mutex::new(None),
    };
    let dir = TempDir::new("crash-suite");
    let home = Home::new(dir.path(), Store::Embedded);
    let db = home
        .open(options(policy))
        .map_err(|error| Failure::of("opening", &error))?;
    work(&db, &keeper)?;
    let wrong = keeper.wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
    wrong.map_or(Ok(()), Err)?;
    let mut account = keeper
        .account
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    account.compare_live(&db)?;
    db.close().map_err(|error| Failure::of("closing", &error))?;
    account.closed(db.durable_sequence());
    drop(db);
    let db = home
        .open(options(policy))
        .map_err(|error| Failure::of("reopening", &error))?;
    let compared = account.compare(oracle::Death::ProcessCrash, &db, "after closing and reopening");
    *counts += account.counts();
    compared.map(drop)
}

/// Runs the threads in a child process, whose injector ends it.
pub(crate) fn run_in_child(plan: &ThreadsPlan, home: &Home) -> Checked<()> {
    let db = home
        .open(options(plan.policy))
        .map_err(|error| Failure::of("opening", &error))?;
    work(&db, &Teller)
}

/// Runs the threads until one of them panics at the point, and all others have noticed.
fn panic(plan: &ThreadsPlan, home: &Home, keeper: &Keeper<'_>) -> Checked<()> {
    let injector = CrashInjector::new(plan.point, plan.fire_after);
    let recorder = CrossingRecorder::new();
    let _recording = scoped_recorder(&recorder);
    let worked = run_with_crash(&injector, || {
        let db = home
            .open(options(plan.policy))
            .map_err(|error| Failure::of("opening", &error))?;
        let worked = work(&db, keeper);
        let refused = Operation::Sync.apply(&db);
        drop(db);
        worked.map(|()| refused)
    });
    let refused = match worked {
        Ok(worked) => worked?,
        Err(point) => {
            return Err(Failure::new(format!(
                "the crash at {point} met the thread that spawns"
            )));
        }
    };
    ensure!(
        injector.has_fired(),
        "did not crash; crossed: {}",
        in_words(count(&recorder.crossings()))
    );
    ensure!(
        matches!(refused, Err(Error::Poisoned { .. })),
        "the handle is not poisoned after a thread of it panicked"
    );
    Ok(())
}

/// Two writers, a reader and a thread that makes checkpoints, until the writers have nothing more to do or the handle
/// is poisoned.
fn work(db: &TidalDb, listener: &dyn Listener) -> Checked<()> {
    let shifts = shifts();
    let written = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut callers = Vec::new();
        for range in shifts.writers.iter().chain([&shifts.checkpoints]) {
            callers.push(scope.spawn(inherit(move || {
                call_all(db, &shifts.operations, range.clone(), listener)
            })));
        }
        let reader = scope.spawn(inherit(|| read_until(db, &written)));
        let ended: Vec<_> = callers.into_iter().map(ScopedJoinHandle::join).collect();
        written.store(true, Ordering::Release);
        let read = reader.join();
        ended.into_iter().chain([read]).try_for_each(of_thread)
    })
}

/// The outcome of a thread: the injected crash is none of its faults.
fn of_thread(joined: Result<Checked<()>, Box<dyn Any + Send>>) -> Checked<()> {
    match joined {
        Ok(checked) => checked,
        Err(payload) if crash_of(&*payload).is_some() => Ok(()),
        Err(payload) => Err(panicked(&*payload)),
    }
}

/// Makes the calls in order, until the handle is poisoned.
fn call_all(
    db: &TidalDb,
    operations: &[Operation],
    range: Range<usize>,
    listener: &dyn Listener,
) -> Checked<()> {
    for index in range {
        listener.begin(index);
        let result = operations[index].apply(db);
        listener.ended(index, &result);
        match result {
            Ok(_) | Err(Error::CollectionExists { .. } | Error::UnknownCollection { .. }) => {}
            Err(error) if is_ahead_of_clock(&error) => {}
            Err(error) if is_poisoned(&error) => return Ok(()),
            Err(error) => return Err(Failure::of(&format!("operation {index}"), &error)),
        }
    }
    Ok(())
}

fn is_poisoned(error: &Error) -> bool {
    match error {
        Error::Poisoned { .. } => true,
        Error::OutcomeUnknown { source, .. } => is_poisoned(source),
        _ => false,
    }
}

/// Reads until there is nothing more to come or the handle says that it is poisoned.
fn read_until(db: &TidalDb, written: &AtomicBool) -> Checked<()> {
    let mut entity = 0;
    while !written.load(Ordering::Acquire) {
        entity = (entity + 1) % 6;
        match read(db, EntityId(entity)) {
            Ok(score) => ensure!(score.is_finite(), "entity {entity} has the score {score}"),
            Err(error) if is_poisoned(&error) => return Ok(()),
            Err(error) => return Err(Failure::of("reading", &error)),
        }
        thread::yield_now();
    }
    Ok(())
}

fn read(db: &TidalDb, entity: EntityId) -> Result<f64, Error> {
    let now_ms = tidaldb::testing::workload::STANDARD_NOW_MS;
    let score = db.score(entity, SignalId(0), 0, now_ms)?;
    db.related(entity, 3, now_ms)?;
    db.collections()?;
    if entity == EntityId(0) {
        db.export()?;
    }
    Ok(score)
}
