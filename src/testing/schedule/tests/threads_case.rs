//! Larger cases: six threads on one database, with a fault. They run on real threads, or under the scheduler.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::testing::oracle::{CrashKind, Oracle};
use crate::testing::schedule::database::{CallEvent, CallJournal, oracle_after};
use crate::testing::sim_disk::{DiskOperationKind, Fault, Image, ImageChoice, InjectedPanic, Side};
use crate::testing::sweep::{DB_DIR, Setup, failure_of, recover};
use crate::testing::text::{error_chain, panic_text};
use crate::testing::workload::{Operation, Random, Session, Workload};
use crate::testing::{CrashInjector, CrashPoint, SimDisk, crash_of, run_with_crash};
use crate::{Background, Durability, EntityId, Error, TidalDb};

const POLICIES: [Durability; 3] = [
    Durability::EverySynced,
    Durability::SyncedEvery { interval_ms: 1 },
    Durability::OperatingSystem,
];
/// The number of crashes inside a recovery.
const NESTED_CRASHES: u64 = 2;

/// The fault of a case. It begins before a checkpoint or sync of the case.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum CaseFault {
    None,
    /// The next operation of this kind has the fault.
    Next(DiskOperationKind, Fault),
    /// The disk has room for this number of further bytes.
    Full(u64),
    /// A thread of the program panics at this crash point, after this number of crossings.
    PanicAt(CrashPoint, u64),
}

impl CaseFault {
    /// The faults in which a call returns an error.
    pub(super) fn errors(random: &mut Random) -> Vec<Self> {
        let before = Fault::ErrorBefore(ErrorKind::Other);
        let after = Fault::ErrorAfter(ErrorKind::Other);
        let torn = Fault::ErrorMidway(random.below(200) as usize, ErrorKind::StorageFull);
        vec![
            Self::None,
            Self::Next(DiskOperationKind::Sync, Fault::SyncLoses(ErrorKind::Other)),
            Self::Next(DiskOperationKind::Sync, before),
            Self::Next(DiskOperationKind::Sync, after),
            Self::Next(DiskOperationKind::SyncDir, before),
            Self::Next(DiskOperationKind::Write, before),
            Self::Next(DiskOperationKind::Write, torn),
            Self::Full(random.below(2000)),
        ]
    }

    /// The faults in which a call panics.
    pub(super) fn panics(random: &mut Random) -> Vec<Self> {
        let kinds = [DiskOperationKind::Sync, DiskOperationKind::Write];
        let of_kind = |kind| [Side::Before, Side::After].map(|side| Self::Next(kind, Fault::Panic(side)));
        let mut panics: Vec<_> = kinds.into_iter().flat_map(of_kind).collect();
        for point in CrashPoint::ALL {
            let crossings_max = match point {
                CrashPoint::CheckpointPreFlush | CrashPoint::CheckpointPostFlush => 2,
                CrashPoint::CollectionIndexUpdate | CrashPoint::CoEngagementUpdate => 4,
                _ => 12,
            };
            panics.push(Self::PanicAt(point, random.below(crossings_max)));
        }
        panics
    }

    fn begin(self, disk: &SimDisk) {
        match self {
            Self::Next(kind, fault) => disk.fail_next(kind, fault),
            Self::Full(free_bytes) => {
                let used = disk.image(&ImageChoice::All).bytes_len();
                disk.set_capacity_bytes(Some(used + free_bytes));
            }
            Self::None | Self::PanicAt(..) => {}
        }
    }

    fn is_panic(self) -> bool {
        matches!(self, Self::Next(_, Fault::Panic(_)) | Self::PanicAt(..))
    }
}

/// The parameters of a case, which follow from its seed and its fault.
#[derive(Debug, Clone, Copy)]
pub(super) struct ThreadsCase {
    pub(super) seed: u64,
    pub(super) durability: Durability,
    pub(super) background: Background,
    pub(super) fault: CaseFault,
    closes: bool,
    /// Each thread makes its calls in a destructor, while it unwinds from a panic of the application.
    in_destructors: bool,
}

/// The counts of cases.
#[derive(Debug, Default)]
pub(super) struct StressCounts {
    pub(super) images: AtomicU64,
    pub(super) nested: AtomicU64,
    pub(super) acknowledged: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) panicked: AtomicU64,
    pub(super) closed: AtomicU64,
}

pub(super) fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}

pub(super) fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Called after each call, with the random numbers of its thread.
type AfterCall = dyn Fn(&mut Random) + Send + Sync;

/// Calls a function when it is dropped.
struct CallInDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for CallInDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl ThreadsCase {
    pub(super) fn of_seed(seed: u64, faults: fn(&mut Random) -> Vec<CaseFault>) -> Self {
        let mut random = Random::new(seed);
        let faults = faults(&mut random);
        Self {
            seed,
            durability: POLICIES[(seed % 3) as usize],
            background: *random.pick(&[Background::OwnThreads, Background::Caller]),
            // Successive seeds have each fault.
            fault: faults[(seed / 3 % faults.len() as u64) as usize],
            closes: random.chance(1, 3),
            in_destructors: random.chance(1, 2),
        }
    }

    pub(super) fn setup(self) -> Setup {
        ScheduleSweep::of(Program::default())
            .durability(self.durability)
            .setup
    }

    /// The calls of each thread.
    fn calls(self) -> Vec<Vec<ProgramCall>> {
        let all = |salt: u64, is_used: fn(&Operation) -> bool| {
            let mut operations = Workload::standard(self.seed ^ salt, 40).operations;
            operations.retain(is_used);
            operations.truncate(14);
            operations
        };
        let frames = |salt: u64| {
            let mut frames = all(salt, Operation::is_frame);
            // Different weights distinguish the events of the threads.
            for operation in &mut frames {
                if let Operation::Record { events, .. } = operation {
                    for event in events {
                        event.weight += salt as f64 / 16_384.0;
                    }
                }
            }
            frames
        };
        let barriers = [Operation::Checkpoint, Operation::Sync, Operation::Checkpoint];
        let operations = [
            frames(1),
            frames(2),
            all(3, Operation::is_collection_change),
            all(4, Operation::is_collection_change),
            barriers.into(),
        ];
        let calls = |operations: Vec<Operation>| operations.into_iter().map(ProgramCall::Apply).collect();
        let mut calls: Vec<Vec<ProgramCall>> = operations.into_iter().map(calls).collect();
        let mut reads: Vec<_> = (0..4).map(|entity| ProgramCall::Read(EntityId(entity))).collect();
        reads.extend(self.closes.then_some(ProgramCall::Close));
        calls.push(reads);
        calls
    }

    /// Runs the case on `disk`. The fault begins before a checkpoint or sync.
    ///
    /// # Panics
    /// On each failure.
    pub(super) fn run(
        self,
        disk: &SimDisk,
        journal: &Arc<CallJournal>,
        counts: &Arc<StressCounts>,
        begin: impl FnOnce(&ScheduledDatabase) -> Option<Arc<AfterCall>>,
    ) -> u64 {
        let options = self.setup().options(&Session::first().recovery());
        let options = options.background(self.background).files(Arc::new(disk.clone()));
        let db = TidalDb::open(DB_DIR, options).unwrap_or_else(|error| panic!("{}", error_chain(&error)));
        let start = disk.operations_len();
        let database = ScheduledDatabase::new(db, Arc::clone(journal));
        let after_call = begin(&database);
        // A panic explains the errors of other calls, also before it has unwound.
        journal.lock().has_panic = self.fault.is_panic();
        let run_threads = || {
            let threads: Vec<_> = (0..)
                .zip(self.calls())
                .map(|(number, calls)| {
                    let (disk, counts, after_call) = (disk.clone(), Arc::clone(counts), after_call.clone());
                    database.spawn("calls", move |database| {
                        let mut random = Random::new(self.seed ^ (number + 1) << 32);
                        let fails_at = random.below(2);
                        self.catch(&counts, || {
                            for (index, call) in (0..).zip(&calls) {
                                if number == 4 && index == fails_at {
                                    self.fault.begin(&disk);
                                }
                                make_call(call, &database, &counts);
                                if let Some(after_call) = &after_call {
                                    after_call(&mut random);
                                }
                            }
                        });
                    })
                })
                .collect();
            for thread in threads {
                thread.join().unwrap();
            }
        };
        match self.fault {
            CaseFault::PanicAt(point, crossings) => {
                let injector = CrashInjector::new(point, crossings);
                run_with_crash(&injector, run_threads).unwrap();
            }
            _ => run_threads(),
        }
        let content = journal.lock();
        assert!(content.failures.is_empty(), "{self:?}: {:?}", content.failures);
        let is_readable = !content.is_closing && !content.has_panic;
        let events = content.events.clone();
        drop(content);
        let oracle = self.oracle(&events);
        assert_eq!(oracle.wrong_result(), None, "{self:?}");
        if is_readable {
            let verdict = oracle.check(CrashKind::ProcessCrash, database.db());
            assert!(verdict.is_ok(), "{self:?}: in memory: {verdict}");
        }
        let has_closed = events
            .iter()
            .any(|(_, event)| matches!(event, CallEvent::Closed(_)));
        add(&counts.closed, u64::from(has_closed));
        start
    }

    /// Runs `body`, in a destructor if the case requires it. An injected panic ends the thread.
    fn catch(self, counts: &StressCounts, mut body: impl FnMut()) {
        let mut caught = || {
            let Err(payload) = catch_unwind(AssertUnwindSafe(&mut body)) else {
                return;
            };
            assert!(
                crash_of(&*payload).is_some() || payload.is::<InjectedPanic>(),
                "{self:?}: {}",
                panic_text(&*payload)
            );
            add(&counts.panicked, 1);
        };
        if !self.in_destructors {
            return caught();
        }
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let _calls = CallInDrop(&mut caught);
            resume_unwind(Box::new("a panic of the application"));
        }));
        assert!(unwound.is_err());
    }

    /// The oracle after these events.
    pub(super) fn oracle(self, events: &[(u64, CallEvent)]) -> Oracle {
        oracle_after(&self.setup().oracle(), events)
    }

    /// Recovers an image, also after crashes inside the recovery, and compares each result with the oracle.
    ///
    /// # Panics
    /// If a result breaks a promise.
    pub(super) fn check(
        self,
        image: &Image,
        crash: CrashKind,
        oracle: &Oracle,
        random: &mut Random,
        counts: &StressCounts,
    ) {
        let (setup, session) = (self.setup(), Session::first().recovery());
        let check = |image: &Image, text: &dyn Fn() -> String| {
            let disk = SimDisk::from_image(image);
            let failure = match recover(&setup, &disk, &session) {
                Ok(state) => {
                    let verdict = state.check_against(oracle, crash);
                    (!verdict.is_ok()).then(|| failure_of(&verdict))
                }
                Err(failure) => Some(failure),
            };
            assert!(
                failure.is_none(),
                "{self:?}, {crash}{}: {}",
                text(),
                failure.unwrap()
            );
            add(&counts.images, 1);
            disk.operations_len()
        };
        let operations_len = check(image, &String::new);
        let mut checked = HashSet::from([image.hash()]);
        for _ in 0..NESTED_CRASHES {
            let disk = SimDisk::from_image(image);
            let ordinal = random.below(operations_len.max(1));
            disk.crash_at(ordinal, *random.pick(&[Side::Before, Side::After]));
            // The crash is in `open` or in the drop of the handle.
            drop(setup.open(&setup.location_on_disk(&disk, session.clone())));
            let seed = random.next_u64();
            for choice in [
                ImageChoice::Synced,
                ImageChoice::All,
                ImageChoice::Random { seed },
            ] {
                let image = disk.image(&choice);
                if checked.insert(image.hash()) {
                    check(&image, &|| {
                        format!(", {choice} of a crash at operation {ordinal} of its recovery")
                    });
                    add(&counts.nested, 1);
                }
            }
        }
    }
}

fn make_call(call: &ProgramCall, database: &ScheduledDatabase, counts: &StressCounts) {
    // The journal notes each error that nothing explains.
    match call.run(database) {
        Ok(()) => add(&counts.acknowledged, 1),
        Err(Error::Poisoned { .. } | Error::Panicked { .. } | Error::OutcomeUnknown { .. }) => {
            add(&counts.failed, 1);
        }
        Err(_) => {}
    }
}

/// The kind of crash that leaves an image.
pub(super) fn crash_of_choice(choice: &ImageChoice) -> CrashKind {
    match choice {
        ImageChoice::All => CrashKind::ProcessCrash,
        _ => CrashKind::PowerLoss,
    }
}
