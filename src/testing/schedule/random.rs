//! Random schedules with few preemptions.
//!
//! A schedule with a fault is run twice: the first run shows the writes and syncs, of which the second one fails one. So
//! the fault always happens.

use super::explore::{ScheduleExplorer, deviations_of};
use super::finding::{ReplayedSchedule, ScheduleFinding};
use super::line::{PlannedFault, SchedulePlan};
use super::runner::Run;
use crate::testing::scheduler::{Chooser, DrawBelow};
use crate::testing::workload::Random;

/// The most preemptions of a random schedule.
const PREEMPTIONS_MAX: u64 = 4;

impl ScheduleExplorer<'_> {
    /// Runs this number of random schedules, until the first finding.
    pub(super) fn run_random(&mut self, seed: u64, schedules: u64) {
        let default = self.runner.run_plan(&SchedulePlan::default());
        for number in 0..schedules {
            if self.is_over() {
                return;
            }
            let random = Random::new(seed.wrapping_add(number));
            let mut faults = Random::new(random.clone().next_u64());
            let run = self.runner.run_once(random_chooser(&default, random), None);
            let plan = SchedulePlan {
                deviations: deviations_of(&run.record),
                fault: None,
            };
            if self.has_finding(&plan, &run) {
                return;
            }
            if self.sweep.bounds.has_faults
                && faults.chance(1, 2)
                && let Some(fault) = random_fault(&run, &mut faults)
            {
                let plan = SchedulePlan {
                    fault: Some(fault),
                    ..plan
                };
                let run = self.runner.run_plan(&plan);
                if self.has_finding(&plan, &run) {
                    return;
                }
            }
        }
    }

    /// Runs the random schedule that follows from `seed`.
    pub(super) fn run_seed(mut self, seed: u64) -> Result<ReplayedSchedule, Box<ScheduleFinding>> {
        let sweep = self.sweep;
        let found = |plan: &SchedulePlan, failure| Box::new(ScheduleFinding::new(sweep, plan, failure));
        let default = SchedulePlan::default();
        self.runner
            .prepare()
            .map_err(|failure| found(&default, failure))?;
        let default = self.runner.run_plan(&default);
        let chooser = random_chooser(&default, Random::new(seed));
        let run = self.runner.run_once(chooser, None);
        match self.runner.examine(&run) {
            Ok(()) => Ok(ReplayedSchedule::new(&run.record, &run.recording)),
            Err(failure) => {
                let plan = SchedulePlan {
                    deviations: deviations_of(&run.record),
                    fault: None,
                };
                let mut finding = found(&plan, failure);
                finding.show_steps(&run.record);
                Err(finding)
            }
        }
    }
}

/// A fault of a write or sync of the program in this run.
fn random_fault(run: &Run, random: &mut Random) -> Option<PlannedFault> {
    let start = run.end.as_ref()?.start;
    let operations = run.recording.operations().skip(start as usize);
    let faults: Vec<_> = operations
        .filter(|operation| operation.kind.is_sync() || operation.len > 0)
        .flat_map(PlannedFault::all_of)
        .collect();
    (!faults.is_empty()).then(|| *random.pick(&faults))
}

/// The choices of a random schedule with few preemptions. `default` is a run without any.
fn random_chooser(default: &Run, mut random: Random) -> Chooser {
    let decisions = default.record.decisions.iter().enumerate();
    let mut numbers = decisions
        .filter(|(_, it)| it.may_deviate)
        .map(|(number, _)| number as u64);
    let first = numbers.next().unwrap_or(0);
    let len = 1 + numbers.count() as u64;
    let preemptions = random.below(PREEMPTIONS_MAX + 1);
    let mut at: Vec<u64> = (0..preemptions).map(|_| first + random.below(len)).collect();
    at.sort_unstable();
    Chooser::Random {
        draw: DrawBelow(Box::new(move |len| random.below(len as u64) as usize)),
        at,
    }
}
