//! The child process: this program again, told by an environment variable, that runs one plan until it dies of it.
//!
//! It prints what it asks of the database and what it is answered. At the crossing it aborts, or stands still, reading
//! its standard input, until it is killed; the end of the input means that its parent is gone, and ends it too.

use std::io::{Read, stdin};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use tidaldb::testing::{
    CrashAction, CrashInjector, CrashPoint, CrossingRecorder, scoped_injector, scoped_recorder,
};

use crate::cases::{self, Job};
use crate::crossings::{count, in_words};
use crate::home::{Home, with_policy};
use crate::outcome::{Checked, Failure};
use crate::plan::Death;
use crate::protocol::Line;
use crate::{input, threads};

/// Set in a child process.
pub(crate) const ENVIRONMENT: &str = "TIDALDB_CRASH_SUITE_CHILD";
/// What a child exits with when its parent is gone.
const ORPHANED: i32 = 3;

/// What a child is told on its command line, after the program's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Orders {
    /// The name of the case.
    pub(crate) name: String,
    /// An empty directory for the database.
    pub(crate) dir: PathBuf,
    /// How many crossings pass.
    pub(crate) fire_after: u64,
    /// The file of events.
    pub(crate) events: PathBuf,
}

impl Orders {
    pub(crate) fn to_arguments(&self) -> [std::ffi::OsString; 4] {
        [
            self.name.clone().into(),
            self.dir.clone().into(),
            self.fire_after.to_string().into(),
            self.events.clone().into(),
        ]
    }

    fn from_arguments(mut arguments: impl Iterator<Item = std::ffi::OsString>) -> Option<Self> {
        Some(Self {
            name: arguments.next()?.into_string().ok()?,
            dir: arguments.next()?.into(),
            fire_after: arguments.next()?.into_string().ok()?.parse().ok()?,
            events: arguments.next()?.into(),
        })
    }
}

/// The main function of a child.
pub(crate) fn main() -> ExitCode {
    let arguments = std::env::args_os().skip(1);
    let Some(orders) = Orders::from_arguments(arguments) else {
        Line::Ended("the orders are not understood".to_owned()).say();
        return ExitCode::FAILURE;
    };
    input::set_events_path(orders.events.clone());
    let recorder = CrossingRecorder::new();
    let _recording = scoped_recorder(&recorder);
    let ended = carry_out(&orders);
    let crossed = in_words(count(&recorder.crossings()));
    let how = match ended {
        Ok(()) => "came to the end of its operations".to_owned(),
        Err(failure) => failure.to_string().replace('\n', " "),
    };
    Line::Ended(format!("{how}; crossed: {crossed}")).say();
    ExitCode::FAILURE
}

fn carry_out(orders: &Orders) -> Checked<()> {
    let job = cases::find(&orders.name).ok_or_else(|| Failure::new("there is no such case"))?;
    match job {
        Job::Crash(plan) => {
            let injector = injector(plan.point, orders.fire_after, plan.death);
            let _installed = scoped_injector(&injector);
            let operations = input::operations(plan.setup.input)?;
            let home = Home::new(&orders.dir, plan.setup.store);
            let db = home
                .open(with_policy(operations.options(), plan.setup.policy))
                .map_err(|error| Failure::of("opening", &error))?;
            for (index, operation) in operations.run().iter().enumerate() {
                Line::Begin(index).say();
                Line::of_result(index, &operation.apply(&db)).say();
            }
            Ok(())
        }
        Job::Threads(plan) => {
            let injector = injector(plan.point, orders.fire_after, plan.death);
            let _installed = scoped_injector(&injector);
            threads::run_in_child(&plan, &Home::new(&orders.dir, plan.store))
        }
        _ => Err(Failure::new("the case has no child")),
    }
}

fn injector(point: CrashPoint, fire_after: u64, death: Death) -> Arc<CrashInjector> {
    let action = match death {
        Death::Panic => CrashAction::Unwind,
        Death::Abort => CrashAction::Abort,
        Death::Sigkill => CrashAction::call(park),
    };
    CrashInjector::with_action(point, fire_after, action)
}

/// Stands at the crossing until the process is killed.
fn park(point: CrashPoint, crossings: u64) {
    Line::Parked(format!("{point} {crossings}")).say();
    // Nobody writes to it: it ends with the parent.
    stdin().lock().read_to_end(&mut Vec::new()).ok();
    #[expect(
        clippy::disallowed_methods,
        reason = "an orphan must not run on past its crash"
    )]
    std::process::exit(ORPHANED)
}
