//! How often a run crosses each point, found out by a run that does not crash.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use tidaldb::testing::{CrashPoint, Crossing, CrossingRecorder, scoped_recorder};

use crate::common::TempDir;
use crate::harness::lock;
use crate::home::{Home, with_policy};
use crate::input;
use crate::outcome::{Checked, Failure, ensure};
use crate::plan::{Plan, Setup};

/// How often each point is crossed, in the order of [`CrashPoint::ALL`].
pub(crate) type Crossings = [u64; CrashPoint::ALL.len()];

type Recorded = Arc<OnceLock<Checked<Crossings>>>;

static RECORDED: Mutex<BTreeMap<Setup, Recorded>> = Mutex::new(BTreeMap::new());

/// How often the whole run of `setup` crosses each point. Recorded once in a process; who comes meanwhile waits.
pub(crate) fn of_setup(setup: Setup) -> Checked<Crossings> {
    let recorded = Arc::clone(lock(&RECORDED).entry(setup).or_default());
    recorded.get_or_init(|| record(setup)).clone()
}

/// How many crossings of its point pass before the one that `plan` crashes at, and how many there are.
///
/// # Errors
/// If there is none.
pub(crate) fn of_plan(plan: Plan) -> Checked<(u64, u64)> {
    let all = of_setup(plan.setup)?;
    let crossings = all[plan.point as usize];
    ensure!(
        crossings > 0,
        "{} is never crossed by this input, which crosses {}",
        plan.point,
        in_words(all)
    );
    Ok((plan.which.fire_after(crossings), crossings))
}

fn record(setup: Setup) -> Checked<Crossings> {
    let operations = input::operations(setup.input)?;
    let dir = TempDir::new("crash-suite");
    let home = Home::new(dir.path(), setup.store);
    let recorder = CrossingRecorder::new();
    let _recording = scoped_recorder(&recorder);
    let db = home
        .open(with_policy(operations.options(), setup.policy))
        .map_err(|error| Failure::of("opening for the recording run", &error))?;
    for (index, operation) in operations.run().iter().enumerate() {
        operation
            .apply_or_refuse(&db)
            .map_err(|error| Failure::of(&format!("operation {index} of the recording run"), &error))?;
    }
    Ok(count(&recorder.crossings()))
}

/// How often each point is among `crossings`.
pub(crate) fn count(crossings: &[Crossing]) -> Crossings {
    let mut counts = Crossings::default();
    for crossing in crossings {
        counts[crossing.point as usize] += 1;
    }
    counts
}

/// What was crossed, in words.
pub(crate) fn in_words(crossings: Crossings) -> String {
    let crossed: Vec<String> = CrashPoint::ALL
        .iter()
        .zip(crossings)
        .filter(|(_, count)| *count > 0)
        .map(|(point, count)| format!("{point} {count} times"))
        .collect();
    if crossed.is_empty() {
        "nothing".to_owned()
    } else {
        crossed.join(", ")
    }
}
