//! Schedule sweeps: a program runs under many schedules, with one fault in some of them, and each run is judged.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::database::ScheduledDatabase;
use super::program::Program;
use crate::limits::Limits;
use crate::testing::plan::Work;
use crate::testing::sweep::Setup;
use crate::testing::workload::{standard_schema, tiny_limits, tiny_options};
use crate::{Background, Durability, Error, Options};

pub(super) type ScheduledWork = dyn Fn(&ScheduledDatabase) -> Result<(), Error> + Send + Sync;

/// A program and the bounds of its exploration. Everything except the program has a default.
///
/// # Examples
/// Two threads of an application, under every schedule with at most one preemption:
/// ```
/// use tidaldb::EntityId;
/// use tidaldb::testing::schedule::ScheduleSweep;
/// use tidaldb::testing::workload::Operation;
///
/// let sweep = ScheduleSweep::driven("two lists", |database| {
///     let other = database.spawn("other", |database| {
///         database.apply(&Operation::CreateCollection(b"b".to_vec()))
///     });
///     let created = database.apply(&Operation::CreateCollection(b"a".to_vec()));
///     other.join().expect("the other thread does not panic")?;
///     created.map(drop)
/// });
/// let report = sweep.preemptions_max(1).run();
/// report.expect_clean();
/// assert!(report.schedules > 1);
/// ```
#[derive(Clone)]
pub struct ScheduleSweep {
    pub(super) name: String,
    pub(super) program: Option<Program>,
    pub(super) work: Arc<ScheduledWork>,
    /// The work of a sweep without a database.
    pub(super) threads: Option<Arc<dyn Fn() + Send + Sync>>,
    pub(super) setup: Setup,
    /// True if the options are not those of this file.
    pub(super) has_own_options: bool,
    pub(super) background: Background,
    pub(super) bounds: ScheduleBounds,
}

/// The bounds of an exploration.
#[derive(Debug, Clone)]
pub(super) struct ScheduleBounds {
    pub(super) preemptions_max: u32,
    pub(super) has_faults: bool,
    pub(super) images_max: usize,
    pub(super) schedules_max: u64,
    pub(super) time: Option<Duration>,
    /// The seeds of random schedules; `None` for all schedules within the other bounds.
    pub(super) random: Option<(u64, u64)>,
}

impl Default for ScheduleBounds {
    fn default() -> Self {
        Self {
            preemptions_max: 2,
            has_faults: false,
            images_max: 12,
            schedules_max: u64::MAX,
            time: None,
            random: None,
        }
    }
}

/// The setup of a sweep without options of the user.
fn setup(name: &str) -> Setup {
    let mut setup = Setup::new(Work::Driven(name.to_owned()), Durability::EverySynced);
    setup.options = Some(Arc::new(program_options));
    // The database is prepared and recovered on one thread.
    setup.change_options = Some(Arc::new(|options| options.background(Background::Caller)));
    setup
}

/// Options under which few calls cross a rotation of the log and make a checkpoint due. The checkpoint thread makes the
/// checkpoint; no call waits for it.
fn program_options() -> Options {
    let limits = Limits {
        log_growth_factor_max: 64,
        state_growth_factor_max: 64,
        ..tiny_limits()
    };
    let options = tiny_options(standard_schema()).checkpoint_log_bytes(900);
    Options { limits, ..options }
}

impl ScheduleSweep {
    /// A sweep of a program. Its database is small: few calls rotate the log, and a checkpoint is due after 900 bytes of
    /// the log.
    pub fn of(program: Program) -> Self {
        let run = program.clone();
        let work = move |database: &ScheduledDatabase| {
            run.run(database);
            Ok(())
        };
        Self {
            name: program.to_string(),
            program: Some(program),
            work: Arc::new(work),
            ..Self::driven("", |_| Ok(()))
        }
    }

    /// A sweep of an application. `work` runs on a scheduled thread, and can
    /// [spawn](ScheduledDatabase::spawn) more. Its threads may share the [`primitives`](super::primitives), but no
    /// [lock or channel of the standard library](super#threads-of-an-application).
    ///
    /// An error of `work` is a finding, unless a disk operation failed in the run. A panic is always a finding, so do not
    /// `expect` the success of a call that a [fault](Self::faults) may fail. A call that fails for a reason other than a
    /// fault, a close or its input is a finding too.
    ///
    /// `work` must make the same calls in each run of the same schedule. With work that depends on real time, random
    /// numbers or the order of a hash map, replay lines do not fit.
    ///
    /// The lines contain `name` with `_` in the place of each blank. Only [`replay`](Self::replay) of this sweep can run
    /// them.
    pub fn driven(
        name: &str,
        work: impl Fn(&ScheduledDatabase) -> Result<(), Error> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.to_owned(),
            program: None,
            work: Arc::new(work),
            threads: None,
            setup: setup(name),
            has_own_options: false,
            background: Background::OwnThreads,
            bounds: ScheduleBounds::default(),
        }
    }

    /// A sweep of threads without a database. `work` runs on a scheduled thread, spawns more by a
    /// [`Builder`](super::primitives::Builder), and must make the same calls in each run of the same schedule. A panic, a
    /// deadlock, a lost wake-up and an endless spin are findings. There are no images and no faults.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::Ordering::SeqCst;
    /// use tidaldb::testing::schedule::ScheduleSweep;
    /// use tidaldb::testing::schedule::primitives::{AtomicU64, Builder};
    ///
    /// let sweep = ScheduleSweep::of_threads("a counter", || {
    ///     let counter = Arc::new(AtomicU64::new(0));
    ///     let shared = Arc::clone(&counter);
    ///     let other = Builder::new().spawn(move || shared.fetch_add(1, SeqCst));
    ///     counter.fetch_add(1, SeqCst);
    ///     other.expect("a thread starts").join().expect("no panic");
    ///     assert_eq!(counter.load(SeqCst), 2);
    /// });
    /// sweep.run().expect_clean();
    /// ```
    pub fn of_threads(name: &str, work: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            threads: Some(Arc::new(work)),
            ..Self::driven(name, |_| Ok(()))
        }
    }

    /// The durability policy. Default: every event synced.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.setup.durability = durability;
        self
    }

    /// The threads that do the background work. Default: the engine's own threads, which are scheduled too.
    #[must_use]
    pub fn background(mut self, background: Background) -> Self {
        self.background = background;
        self
    }

    /// Sets the function that makes the options of the database. The sweep sets policy, background work and file access
    /// itself. The options must make every run write the same bytes; see
    /// [`CrashSweep::options`](crate::testing::CrashSweep::options), whose rule about background work is not needed here.
    #[must_use]
    pub fn options(mut self, options: impl Fn() -> Options + Send + Sync + 'static) -> Self {
        self.setup.options = Some(Arc::new(options));
        self.has_own_options = true;
        self
    }

    /// The largest number of [preemptions](super#bounds) of a schedule. Default 2.
    #[must_use]
    pub fn preemptions_max(mut self, preemptions: u32) -> Self {
        self.bounds.preemptions_max = preemptions;
        self
    }

    /// If true, each schedule also runs once for each fault of each later write or sync: the operation fails; half of a
    /// write is written; a sync fails and loses writes. Other operations do not fail. Default false.
    #[must_use]
    pub fn faults(mut self, has_faults: bool) -> Self {
        self.bounds.has_faults = has_faults;
        self
    }

    /// The largest number of images of a power loss at one position. The images with none and with all of the undurable
    /// operations come first, so a smaller limit than 2 counts as 2. Further ones are chosen in the same way in each run;
    /// the rest is counted in [`left_out`](super::ScheduleReport::left_out). Default 12.
    #[must_use]
    pub fn images_max(mut self, images: usize) -> Self {
        self.bounds.images_max = images.max(2);
        self
    }

    /// The largest number of runs, those with a fault included. Runs of the shrinking of a finding do not count. Default:
    /// no limit.
    #[must_use]
    pub fn schedules_max(mut self, schedules: u64) -> Self {
        self.bounds.schedules_max = schedules;
        self
    }

    /// The time after which the sweep starts no run. A run that has started and the shrinking of a finding continue.
    /// Default: no limit.
    #[must_use]
    pub fn time(mut self, time: Duration) -> Self {
        self.bounds.time = Some(time);
        self
    }

    /// Runs `schedules` random schedules instead of all schedules. The run with the number i, from 0 on, follows from
    /// `seed` + i. Each run has up to four switches at random decisions, and a random choice where a thread cannot
    /// continue; [`preemptions_max`](Self::preemptions_max) has no effect. With [`faults`](Self::faults) about half of
    /// the runs have a fault of one disk operation of any kind.
    #[must_use]
    pub fn random(mut self, seed: u64, schedules: u64) -> Self {
        self.bounds.random = Some((seed, schedules));
        self
    }

    /// The preemptions, faults or seeds, `schedules_max` if it is set, the program and its settings, as in reports. The other
    /// bounds are not part of it.
    pub fn description(&self) -> String {
        let bounds = &self.bounds;
        let schedules = match bounds.random {
            Some((seed, schedules)) => format!("schedules={schedules} seed={seed}"),
            None => format!("preemptions={}", bounds.preemptions_max),
        };
        let faults = if bounds.has_faults { " faults" } else { "" };
        let limit = match bounds.schedules_max {
            u64::MAX => String::new(),
            schedules => format!(" schedules_max={schedules}"),
        };
        format!("{schedules}{faults}{limit} {}", self.text())
    }
}

impl fmt::Debug for ScheduleSweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScheduleSweep")
            .field("name", &self.name)
            .field("bounds", &self.bounds)
            .finish_non_exhaustive()
    }
}
