//! Stress: two or three threads record, forget, change collections, make checkpoints and sync on one handle, one of them may
//! close it, and a sync fails or panics, a write is torn or panics, or the disk gets full. Half of the rounds make their calls in
//! destructors of threads that unwind. Power losses and process crashes at many moments are
//! recovered, and crashed again inside the recovery.
//!
//! A round follows from its seed, but for the order in which the operating system runs the threads. Everything
//! acknowledged must be there after each recovery, once; everything refused must not be there.

mod files;
mod recovery;

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tidaldb::testing::SimDisk;
use tidaldb::testing::lab::{Random, catch_as_text, run_within};
use tidaldb::testing::oracle::{Death, Oracle};
use tidaldb::testing::sim_disk::{
    DiskModel, DiskOperationKind, Fault, Image, ImageChoice, InjectedPanic, Side,
};
use tidaldb::testing::workload::{Operation, Workload, standard_schema, tiny_options};
use tidaldb::{Background, Durability, Error, Options, TidalDb};

use self::files::jittery;

const PATH: &str = "/db";
/// A round that has not ended after this time hangs. It takes a fraction of a second.
const TIME_MAX: Duration = Duration::from_secs(120);
/// Operations in the workload of one thread.
const OPERATIONS: usize = 40;
/// After one call in so many the image of the disk is kept.
const ONE_LOOK_IN: u64 = 6;
/// The images of a power loss that are recovered at the end of a round.
const LAST_IMAGES: usize = 24;

/// The first number that follows from `seed`.
pub(crate) fn scramble(seed: u64) -> u64 {
    Random::new(seed).next_u64()
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    seed: u64,
    durability: Durability,
    background: Background,
    threads_len: u64,
    fails: Fails,
    /// Each thread makes its calls inside a destructor, while it unwinds from a panic of the application.
    in_destructors: bool,
    /// One of the threads closes the database after so many of its calls.
    closes_after: Option<u64>,
}

/// The one fault of a round, after so many calls of the first thread.
#[derive(Debug, Clone, Copy)]
enum Fails {
    Nothing,
    Next {
        after: u64,
        kind: DiskOperationKind,
        fault: Fault,
    },
    /// The disk has room for so many bytes more, until the round ends.
    DiskFull {
        after: u64,
        free_bytes: u64,
    },
}

/// Counts over rounds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    pub(crate) rounds: u64,
    pub(crate) acknowledged: u64,
    /// Failed calls, without those refused as planned or because the handle was closed.
    pub(crate) failed: u64,
    pub(crate) closed: u64,
    /// Rounds with a failing operation.
    pub(crate) faults: u64,
    /// Images that were recovered and compared.
    pub(crate) images: u64,
    /// Those of them that a crash inside a recovery left.
    pub(crate) nested: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.acknowledged += other.acknowledged;
        self.failed += other.failed;
        self.closed += other.closed;
        self.faults += other.faults;
        self.images += other.images;
        self.nested += other.nested;
    }
}

/// A crash that is to be recovered: the disk, and everything promised by then.
struct Crash {
    image: Image,
    oracle: Oracle,
    death: Death,
}

/// The state that the threads of a round share.
struct Shared {
    round: Round,
    disk: SimDisk,
    db: TidalDb,
    oracle: Mutex<Oracle>,
    crashes: Mutex<Vec<Crash>>,
    totals: Mutex<Totals>,
    wrong: Mutex<Option<String>>,
}

impl Round {
    /// The round that follows from `seed`.
    pub(crate) fn of_seed(seed: u64) -> Self {
        let draw = |salt: u64, below: u64| scramble(seed ^ salt << 40) % below;
        let durabilities = [
            Durability::EverySynced,
            Durability::SyncedEvery { interval_ms: 1 },
            Durability::OperatingSystem,
        ];
        let after = draw(4, OPERATIONS as u64 / 2);
        let next = |kind, fault| Fails::Next { after, kind, fault };
        let device = ErrorKind::Other;
        let panics = |kind, side| next(kind, Fault::Panic(side));
        let fails = match draw(3, 14) {
            0 | 1 => Fails::Nothing,
            2 | 3 => next(DiskOperationKind::Sync, Fault::SyncLoses(device)),
            4 => next(DiskOperationKind::Sync, Fault::ErrorAfter(device)),
            5 => next(DiskOperationKind::SyncDir, Fault::ErrorBefore(device)),
            6 => next(DiskOperationKind::Write, Fault::ErrorBefore(device)),
            7 => next(
                DiskOperationKind::Write,
                Fault::ErrorMidway(draw(5, 300) as usize, device),
            ),
            8 => panics(DiskOperationKind::Sync, Side::Before),
            9 => panics(DiskOperationKind::Sync, Side::After),
            10 => panics(DiskOperationKind::Write, Side::Before),
            11 => panics(DiskOperationKind::Write, Side::After),
            _ => Fails::DiskFull {
                after,
                free_bytes: draw(6, 3000),
            },
        };
        Self {
            seed,
            durability: durabilities[draw(1, 3) as usize],
            background: [Background::OwnThreads, Background::Caller][draw(2, 2) as usize],
            threads_len: 2 + draw(7, 2),
            fails,
            in_destructors: draw(10, 2) == 0,
            closes_after: (draw(8, 3) == 0).then(|| draw(9, OPERATIONS as u64)),
        }
    }

    /// Runs the round on threads of its own and recovers from its crashes.
    ///
    /// # Errors
    /// A message with the round and its fault.
    pub(crate) fn run(self) -> Result<Totals, String> {
        run_within(TIME_MAX, "tidaldb-stress", move || {
            catch_as_text(|| self.run_here())
        })
        .map_err(|hang| hang.to_string())
        .flatten()
        .flatten()
        .map_err(|wrong| format!("{self:?}: {wrong}"))
    }

    fn options(self, disk: &SimDisk) -> Options {
        tiny_options(standard_schema())
            .durability(self.durability)
            .files(Arc::new(disk.clone()))
    }

    fn run_here(self) -> Result<Totals, String> {
        let disk = SimDisk::new();
        let files = Arc::new(jittery(disk.clone(), self.seed));
        let options = self.options(&disk).background(self.background).files(files);
        let shared = Shared {
            round: self,
            db: TidalDb::open(PATH, options).map_err(|error| format!("creating: {error:?}"))?,
            disk,
            oracle: Mutex::new(Oracle::new(&standard_schema(), self.durability)),
            crashes: Mutex::new(Vec::new()),
            totals: Mutex::default(),
            wrong: Mutex::new(None),
        };
        thread::scope(|scope| {
            for number in 0..self.threads_len {
                let shared = &shared;
                scope.spawn(move || shared.call_all(number));
            }
        });
        shared.end()
    }

    /// The operations of one thread. The second one alone changes collections: their order is not the log's.
    fn operations(self, number: u64) -> Vec<Operation> {
        let seed = scramble(self.seed ^ number << 56);
        let mut operations = Workload::standard(seed, OPERATIONS).operations;
        operations.retain(|operation| !operation.is_collection_change() || number == 1);
        for operation in &mut operations {
            if let Operation::Record { events, .. } = operation {
                for event in events {
                    // Weights tell the events of the threads apart.
                    event.weight += number as f64 / 16_384.0;
                }
            }
        }
        operations
    }
}

/// Runs a function when it is dropped, and catches its panic.
struct OnDrop<'a>(&'a mut dyn FnMut());

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl Shared {
    /// Makes the calls of one thread. An injected panic ends them.
    fn call_all(&self, number: u64) {
        let mut caught = || {
            let Err(payload) = catch_unwind(AssertUnwindSafe(|| self.make_calls(number))) else {
                return;
            };
            if !payload.is::<InjectedPanic>() {
                lock(&self.wrong).get_or_insert("a thread panicked".to_owned());
            }
        };
        if self.round.in_destructors {
            let unwound = catch_unwind(AssertUnwindSafe(|| {
                let _calls = OnDrop(&mut caught);
                resume_unwind(Box::new("a panic of the application"));
            }));
            assert!(unwound.is_err());
        } else {
            caught();
        }
    }

    fn make_calls(&self, number: u64) {
        for (index, operation) in (0..).zip(&self.round.operations(number)) {
            if number == 0 {
                self.fail_if_due(index);
            } else if number == 1 && self.round.closes_after == Some(index) {
                self.close();
            }
            let id = lock(&self.oracle).begin(operation);
            let result = operation.apply(&self.db);
            lock(&self.oracle).ended(id, &result);
            if !self.goes_on(operation, result.err().as_ref()) {
                return;
            }
            if scramble(self.round.seed ^ number << 48 ^ index).is_multiple_of(ONE_LOOK_IN) {
                self.look(index);
            }
        }
    }

    /// Takes note of how a call ended. Returns false if the thread is to end.
    fn goes_on(&self, operation: &Operation, error: Option<&Error>) -> bool {
        let mut totals = lock(&self.totals);
        match error {
            None => totals.acknowledged += 1,
            // Decided by the workload.
            Some(Error::CollectionExists { .. } | Error::UnknownCollection { .. }) => {}
            Some(_) if operation.must_be_refused() => {}
            Some(Error::Closed) if self.round.closes_after.is_some() => return false,
            Some(Error::Poisoned { .. } | Error::OutcomeUnknown { .. })
                if !matches!(self.round.fails, Fails::Nothing) =>
            {
                totals.failed += 1;
                return false;
            }
            Some(error) => {
                lock(&self.wrong).get_or_insert(format!("{operation} failed: {error:?}"));
                return false;
            }
        }
        true
    }

    fn fail_if_due(&self, index: u64) {
        match self.round.fails {
            Fails::Next { after, kind, fault } if after == index => self.disk.fail_next(kind, fault),
            Fails::DiskFull { after, free_bytes } if after == index => {
                let used = self.disk.image(&ImageChoice::All).bytes_len();
                self.disk.set_capacity_bytes(Some(used + free_bytes));
            }
            _ => {}
        }
    }

    fn close(&self) {
        match self.db.close() {
            Ok(()) => {
                lock(&self.oracle).synced(self.db.durable_sequence());
                lock(&self.totals).closed += 1;
            }
            Err(Error::Poisoned { .. }) if !matches!(self.round.fails, Fails::Nothing) => {}
            Err(error) => {
                lock(&self.wrong).get_or_insert(format!("closing failed: {error:?}"));
            }
        }
    }

    /// Keeps the disk as a crash at this moment leaves it.
    fn look(&self, salt: u64) {
        let random = scramble(self.round.seed ^ salt << 32);
        // Read first: later it could include frames that the image lacks.
        let durable = self.db.durable_sequence();
        let mut oracle = lock(&self.oracle);
        oracle.note_durable(durable);
        let (choice, death) = match random % 4 {
            0 => (ImageChoice::All, Death::ProcessCrash),
            1 => (ImageChoice::Synced, Death::PowerLoss),
            _ => (ImageChoice::Random { seed: random >> 8 }, Death::PowerLoss),
        };
        let (image, oracle) = (self.disk.image(&choice), oracle.clone());
        lock(&self.crashes).push(Crash { image, oracle, death });
    }

    /// Ends the round: recovers from every crash, and from one at the end.
    fn end(self) -> Result<Totals, String> {
        if let Some(wrong) = lock(&self.wrong).take() {
            return Err(wrong);
        }
        let round = self.round;
        let mut totals = *lock(&self.totals);
        drop(self.db);
        totals.rounds = 1;
        totals.faults = match round.fails {
            Fails::DiskFull { .. } => u64::from(totals.failed > 0),
            _ => self.disk.faults_fired().len().min(1) as u64,
        };
        let mut crashes = std::mem::take(&mut *lock(&self.crashes));
        let choices = self.disk.choices(DiskModel::Subset, LAST_IMAGES, round.seed);
        let power_losses = choices
            .choices
            .into_iter()
            .map(|choice| (choice, Death::PowerLoss));
        let oracle = lock(&self.oracle).clone();
        for (choice, death) in power_losses.chain([(ImageChoice::All, Death::ProcessCrash)]) {
            let (image, oracle) = (self.disk.image(&choice), oracle.clone());
            crashes.push(Crash { image, oracle, death });
        }
        for (number, crash) in (0..).zip(&crashes) {
            crash.recover(round, number, &mut totals)?;
        }
        Ok(totals)
    }
}
