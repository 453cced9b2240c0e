//! Schedule sweeps: a program runs under many schedules, with one fault in some of them, and each run is judged.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::database::ScheduledDatabase;
use super::program::Program;
use crate::limits::Limits;
use crate::testing::plan::Work;
use crate::testing::sweep::Setup;
use crate::testing::workload::{PolicyText, standard_schema, tiny_limits, tiny_options};
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
///     database.apply(&Operation::CreateCollection(b"a".to_vec()))?;
///     other.join().expect("the other thread does not panic")?;
///     Ok(())
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
    pub(super) judges_images: bool,
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
            judges_images: true,
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
    /// A sweep of a program, with [`tiny_options`]. The engine has its own
    /// threads.
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
    /// [spawn](ScheduledDatabase::spawn) more. It must make the same calls in each run of the same schedule. Its
    /// threads may share the [primitives](super#primitives) of this module, but no locks of the standard library.
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
            background: Background::OwnThreads,
            bounds: ScheduleBounds::default(),
        }
    }

    /// A sweep of threads without a database. `work` runs on a scheduled thread, spawns more by the
    /// [primitives](super#primitives), and must make the same calls in each run of the same schedule. A panic, a
    /// deadlock and an endless spin are findings. There are no images and no faults.
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

    /// Who does the background work. Default: the engine's own threads, which are scheduled too.
    #[must_use]
    pub fn background(mut self, background: Background) -> Self {
        self.background = background;
        self
    }

    /// Makes the options of the database. The sweep sets policy, background work and file access itself. The options
    /// must make every run write the same bytes; see [`CrashSweep::options`](crate::testing::CrashSweep::options).
    #[must_use]
    pub fn options(mut self, options: impl Fn() -> Options + Send + Sync + 'static) -> Self {
        self.setup.options = Some(Arc::new(options));
        self
    }

    /// The largest number of preemptions of a schedule: switches away from a thread that could continue. Default 2.
    #[must_use]
    pub fn preemptions_max(mut self, preemptions: u32) -> Self {
        self.bounds.preemptions_max = preemptions;
        self
    }

    /// If true, each schedule also runs with one fault of one change of the disk: an error, a half-written write, a sync
    /// that loses writes. Default false.
    #[must_use]
    pub fn faults(mut self, has_faults: bool) -> Self {
        self.bounds.has_faults = has_faults;
        self
    }

    /// The largest number of images of a power loss at one position. Default 12.
    #[must_use]
    pub fn images_max(mut self, images: usize) -> Self {
        self.bounds.images_max = images;
        self
    }

    /// The largest number of runs. Default: no limit.
    #[must_use]
    pub fn schedules_max(mut self, schedules: u64) -> Self {
        self.bounds.schedules_max = schedules;
        self
    }

    /// The time after which the sweep ends. Default: no limit.
    #[must_use]
    pub fn time(mut self, time: Duration) -> Self {
        self.bounds.time = Some(time);
        self
    }

    /// Runs `schedules` random schedules with few preemptions instead of all schedules. They follow from `seed`.
    #[must_use]
    pub fn random(mut self, seed: u64, schedules: u64) -> Self {
        self.bounds.random = Some((seed, schedules));
        self
    }

    /// The program, its settings and the bounds, as in reports.
    pub fn description(&self) -> String {
        let bounds = &self.bounds;
        let schedules = match bounds.random {
            Some((seed, schedules)) => format!("schedules={schedules} seed={seed}"),
            None => format!("preemptions={}", bounds.preemptions_max),
        };
        let faults = if bounds.has_faults { " faults" } else { "" };
        format!("{schedules}{faults} {}", self.text())
    }

    /// The program and its settings, as in replay lines.
    pub(super) fn text(&self) -> String {
        let background = match self.background {
            Background::OwnThreads => "own-threads",
            Background::Caller => "caller",
        };
        format!(
            "program={} durability={} background={background}",
            self.name.replace(' ', "_"),
            PolicyText(self.setup.durability)
        )
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
