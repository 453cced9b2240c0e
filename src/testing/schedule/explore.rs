//! The exploration of a program: all schedules with few preemptions, or random ones.
//!
//! Owns the schedules that remain to be run, and the decisions that were made before. A run follows a schedule, and
//! after its last deviation the default. Each alternative of a decision after the last deviation is a new schedule.
//!
//! Two prefixes of runs are equal if all pairs of dependent steps have the same order; then a fingerprint is equal, and so
//! is the state of the program (happens-before caching: Musuvathi and Qadeer, MSR-TR-2007-12). A choice that was made
//! before in an equal state, with as few preemptions, is not explored again.
//!
//! A thread is preempted only at a step on an object that another thread uses too: at every other step the preemption is
//! equal to a later one. An equal run must not have more preemptions (Coons and others, "Bounded partial-order reduction", 2013), so the
//! release of a lock counts as a use: a thread that waits for the lock ends its turn without a preemption.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Instant;

use super::finding::{ReplayedSchedule, ScheduleFinding};
use super::judge::Judge;
use super::line::{PlannedFault, SchedulePlan};
use super::preempted::PreemptedStep;
use super::report::{ScheduleReport, ScheduleSweepEnd};
use super::runner::{ProgramRunner, Run};
use super::sweep::ScheduleSweep;
use crate::testing::replay::ReplayFailure;
use crate::testing::scheduler::{DecisionKind, Deviations, LastAccess, ScheduledRun, StepAction};
use crate::testing::sim_disk::{DiskOperation, IoFault};
use crate::testing::sweep::{Failure, FailureKind, now};

/// A schedule that remains to be run.
struct Pending {
    plan: SchedulePlan,
    /// The number of decisions that the schedule fixes. Later ones are explored.
    decisions_len: usize,
    /// The number of steps before its last deviation or fault. Faults of later disk operations are explored.
    step: usize,
    /// The fingerprint of these steps.
    fingerprint: u64,
    preemptions: u32,
    /// The steps before which the schedule preempts threads.
    preempted: Vec<PreemptedStep>,
}

impl Pending {
    /// Returns true if the steps before the last deviation or fault are those of the run in which it was found.
    fn fits(&self, run: &Run) -> bool {
        let record = &run.record;
        let Some(last) = self.decisions_len.checked_sub(1) else {
            return record.schedule_fits;
        };
        let deviation = record.decisions.get(last).filter(|last| last.step == self.step);
        let mut disk_steps = record.disk_steps.iter();
        let failed = disk_steps.find(|disk_step| disk_step.step + 1 == self.step);
        let fingerprint = match deviation {
            Some(deviation) => Some(deviation.fingerprint),
            None => failed.map(|failed| failed.fingerprint),
        };
        record.schedule_fits && fingerprint == Some(self.fingerprint)
    }
}

/// The choice of a fault of the next step of a thread. Differs from the choice of each thread.
fn fault_choice(thread: usize, kind: IoFault) -> u64 {
    1 << 32 | (thread as u64) << 8 | kind as u64
}

/// See the [module](self).
pub(super) struct ScheduleExplorer<'a> {
    pub(super) sweep: &'a ScheduleSweep,
    pub(super) runner: ProgramRunner<'a>,
    /// The schedules with the fewest preemptions come first, and of these the ones with the fewest deviations.
    queue: BTreeMap<(usize, usize), Vec<Pending>>,
    /// The least number of preemptions with which each choice was made: by the fingerprint of the steps before it, and
    /// the chosen thread or [fault](fault_choice).
    seen: HashMap<(u64, u64), u32>,
    /// The last accesses of each thread to each object, in any run.
    accesses: HashMap<u64, Vec<LastAccess>>,
    /// The threads whose timer fired in some run. The accesses of a thread are unknown until then.
    fired: HashSet<usize>,
    /// Preemptions at steps that conflict with no later step of another thread in any run so far, by their object.
    deferred: HashMap<u64, Vec<(PreemptedStep, Pending)>>,
    /// The fingerprints of the ends of the runs.
    ends: HashSet<u64>,
    pub(super) report: ScheduleReport,
    begun: Instant,
}

impl<'a> ScheduleExplorer<'a> {
    pub(super) fn new(sweep: &'a ScheduleSweep) -> Self {
        Self {
            sweep,
            runner: ProgramRunner::new(sweep),
            queue: BTreeMap::new(),
            seen: HashMap::new(),
            accesses: HashMap::new(),
            fired: HashSet::new(),
            deferred: HashMap::new(),
            ends: HashSet::new(),
            report: ScheduleReport::new(sweep),
            begun: now(),
        }
    }

    /// Runs all schedules within the bounds, until the first finding.
    pub(super) fn run(mut self) -> ScheduleReport {
        if let Err(failure) = self.runner.prepare() {
            let plan = SchedulePlan::default();
            self.report
                .end_at(ScheduleFinding::new(self.sweep, &plan, failure));
        } else if let Some((seed, schedules)) = self.sweep.bounds.random {
            self.run_random(seed, schedules);
        } else {
            self.run_all();
        }
        if let Some(judge) = &self.runner.judge {
            self.report.images = judge.images_len();
            self.report.judged = judge.judged_len;
            self.report.left_out = judge.left_out;
        }
        self.report.distinct = self.ends.len() as u64;
        self.report.elapsed = self.begun.elapsed();
        self.report
    }

    /// Runs one schedule.
    pub(super) fn replay(mut self, plan: &SchedulePlan) -> Result<ReplayedSchedule, ReplayFailure> {
        let sweep = self.sweep;
        let found = |failure| Box::new(ScheduleFinding::new(sweep, plan, failure));
        self.runner.prepare().map_err(found)?;
        let run = self.runner.run_plan(plan);
        if !run.record.schedule_fits {
            return Err(ReplayFailure::DoesNotFit("a deviation does not occur".to_owned()));
        }
        match self.runner.examine(&run) {
            Ok(()) => Ok(ReplayedSchedule::new(&run.record, &run.recording)),
            Err(failure) => {
                let mut finding = found(failure);
                finding.show_steps(&run.record);
                Err(finding.into())
            }
        }
    }

    /// Returns true if a limit ends the sweep now, and notes which one.
    pub(super) fn is_over(&mut self) -> bool {
        let bounds = &self.sweep.bounds;
        if self.report.schedules >= bounds.schedules_max {
            self.report.end = ScheduleSweepEnd::SchedulesMax;
        } else if bounds.time.is_some_and(|time| self.begun.elapsed() >= time) {
            self.report.end = ScheduleSweepEnd::Time;
        } else {
            return false;
        }
        true
    }

    fn run_all(&mut self) {
        self.push(Pending {
            plan: SchedulePlan::default(),
            decisions_len: 0,
            step: 0,
            fingerprint: 0,
            preemptions: 0,
            preempted: Vec::new(),
        });
        while let Some(pending) = self.pop() {
            if self.is_over() {
                return;
            }
            let run = self.runner.run_plan(&pending.plan);
            if self.has_finding(&pending.plan, &run) {
                return;
            }
            if !pending.fits(&run) {
                self.end_at_other_steps(&pending.plan);
                return;
            }
            self.note_accesses(&run);
            self.expand(&pending, &run);
        }
    }

    /// Counts and examines a run. If it fails, its schedule is shrunk and reported.
    pub(super) fn has_finding(&mut self, plan: &SchedulePlan, run: &Run) -> bool {
        self.count(run, plan.fault.is_some());
        let examined = self.runner.examine(run);
        let failure = examined.err();
        let is_found = failure.is_some();
        if let Some(failure) = failure {
            self.find(plan.clone(), failure);
        }
        is_found
    }

    /// Reports a program whose runs differ although they follow the same schedule.
    fn end_at_other_steps(&mut self, plan: &SchedulePlan) {
        let message = "the program is not deterministic: the same schedule led to other steps. A program must not depend \
                       on time, random numbers, the order of a hash map or earlier runs";
        let failure = Failure::new(FailureKind::NeverReached, message);
        self.report
            .end_at(ScheduleFinding::new(self.sweep, plan, failure));
    }

    fn count(&mut self, run: &Run, has_fault: bool) {
        self.report.schedules += 1;
        self.ends.insert(run.record.fingerprint);
        self.report.faults += u64::from(has_fault);
        self.report.steps += run.record.steps.len() as u64;
        self.report.threads = self.report.threads.max(run.record.thread_names.len());
    }

    fn pop(&mut self) -> Option<Pending> {
        let mut first = self.queue.first_entry()?;
        let pending = first.get_mut().pop();
        if first.get().is_empty() {
            first.remove();
        }
        pending
    }

    fn push(&mut self, pending: Pending) {
        let SchedulePlan { deviations, fault } = &pending.plan;
        let level = pending.preemptions as usize + usize::from(fault.is_some());
        let key = (level, deviations.0.len());
        self.queue.entry(key).or_default().push(pending);
    }

    /// Returns true if this choice was not made before with as few preemptions.
    fn is_new(&mut self, fingerprint: u64, choice: u64, preemptions: u32) -> bool {
        let least = self.seen.entry((fingerprint, choice)).or_insert(u32::MAX);
        let is_new = preemptions < *least;
        *least = preemptions.min(*least);
        self.report.pruned += u64::from(!is_new);
        is_new
    }

    /// Notes the accesses of a run. Preemptions that conflict with a new one are not deferred any more.
    fn note_accesses(&mut self, run: &Run) {
        let timers = run
            .record
            .steps
            .iter()
            .filter(|step| step.action == StepAction::Timer);
        self.fired.extend(timers.map(|step| step.thread));
        for &((thread, object), access) in &run.record.accesses {
            let threads = self.accesses.entry(object).or_default();
            if threads.len() <= thread {
                threads.resize_with(thread + 1, LastAccess::default);
            }
            let last = &mut threads[thread];
            let later = last.max(access);
            if *last == later {
                continue;
            }
            *last = later;
            let deferred = self.deferred.remove(&object).unwrap_or_default();
            for (step, pending) in deferred {
                if self.is_needed(&step) {
                    self.push(pending);
                } else {
                    self.deferred.entry(object).or_default().push((step, pending));
                }
            }
        }
    }

    /// Returns true if another thread can still make a step that conflicts with the preempted one. Any thread may continue
    /// then, because it can lead to such a step without a further preemption.
    fn is_needed(&self, step: &PreemptedStep) -> bool {
        let threads = self.accesses.get(&step.object).into_iter().flatten().enumerate();
        threads.into_iter().any(|(thread, last)| {
            let steps_len = step.steps_len.get(thread).copied().unwrap_or(0);
            thread != step.thread && last.conflicting(step.action) > steps_len
        })
    }

    /// Adds the schedules that differ from this run in one more choice.
    ///
    /// If a preempted thread continues before another thread made a step that conflicts with its next one, the run is
    /// equal to one with a later preemption.
    fn expand(&mut self, pending: &Pending, run: &Run) {
        let steps = &run.record.steps;
        let end = pending.preempted.iter().filter_map(|preempted| {
            let mut later = steps.iter().enumerate().skip(preempted.step);
            let (resumed, _) = later.find(|(_, step)| step.thread == preempted.thread)?;
            (!preempted.has_conflict(steps, resumed)).then_some(resumed)
        });
        let end = end.min().unwrap_or(usize::MAX);
        let decisions = run
            .record
            .decisions
            .iter()
            .enumerate()
            .skip(pending.decisions_len);
        let mut decisions = decisions.filter(|(_, decision)| decision.may_deviate).peekable();
        let mut disk_steps = run.record.disk_steps.iter().enumerate().peekable();
        loop {
            let next_step = decisions.peek().map(|(_, decision)| decision.step);
            // The faults of disk operations between two decisions.
            while let Some(&(index, disk_step)) = disk_steps.peek()
                && next_step.is_none_or(|step| disk_step.step < step)
            {
                disk_steps.next();
                if disk_step.step < end && disk_step.may_deviate && disk_step.step >= pending.step {
                    self.add_faults(pending, run, index, disk_step.fingerprint);
                }
            }
            // At the decision that resumes the thread, another choice still lets another thread conflict.
            let Some((number, decision)) = decisions.next().filter(|(_, decision)| decision.step <= end)
            else {
                return;
            };
            let preemptions = pending.preemptions;
            // In an equal state another thread may have made the last step. Then the alternatives had other costs.
            let is_new = self.is_new(decision.fingerprint, decision.chosen as u64, preemptions);
            for thread in decision.alternatives() {
                let mut preempted = pending.preempted.iter();
                let resumed = preempted.rfind(|preempted| preempted.thread == thread);
                if resumed.is_some_and(|resumed| {
                    let mut between = steps[resumed.step..decision.step].iter();
                    between.all(|step| step.thread != thread) && !resumed.has_conflict(steps, decision.step)
                }) {
                    continue;
                }
                let is_preemption = decision.is_preemption(thread);
                let preemptions = preemptions + u32::from(is_preemption);
                if preemptions > self.sweep.bounds.preemptions_max {
                    continue;
                }
                let step = match decision.kind {
                    DecisionKind::Next {
                        continues: true,
                        from,
                        action,
                        object,
                        ..
                    } if is_preemption => Some(PreemptedStep {
                        step: decision.step,
                        thread: from,
                        action,
                        object,
                        steps_len: decision.steps_len.clone(),
                    }),
                    _ => None,
                };
                if step.as_ref().is_some_and(|step| step.object == 0)
                    || !self.is_new(decision.fingerprint, thread as u64, preemptions)
                {
                    continue;
                }
                let mut plan = pending.plan.clone();
                plan.deviations.0.push((number as u64, thread));
                let alternative = Pending {
                    plan,
                    decisions_len: number + 1,
                    step: decision.step,
                    fingerprint: decision.fingerprint,
                    preemptions,
                    preempted: pending.preempted.iter().chain(&step).cloned().collect(),
                };
                let is_known = !decision.is_timer(thread) || self.fired.contains(&thread);
                match step {
                    Some(step) if is_known && step.can_be_deferred() && !self.is_needed(&step) => {
                        self.deferred
                            .entry(step.object)
                            .or_default()
                            .push((step, alternative));
                    }
                    _ => self.push(alternative),
                }
            }
            if !is_new {
                return;
            }
        }
    }

    /// Adds this run with a fault of the disk operation with this index among the run's operations.
    fn add_faults(&mut self, pending: &Pending, run: &Run, index: usize, fingerprint: u64) {
        if !self.sweep.bounds.has_faults || pending.plan.fault.is_some() {
            return;
        }
        let Some(operation) = run.recording.operations().nth(index) else {
            return;
        };
        let record = &run.record;
        let at = record.disk_steps[index].step;
        for fault in PlannedFault::all_of(operation) {
            let choice = fault_choice(record.steps[at].thread, fault.kind);
            if !self.is_new(fingerprint, choice, pending.preemptions) {
                continue;
            }
            let plan = SchedulePlan {
                deviations: pending.plan.deviations.clone(),
                fault: Some(fault),
            };
            self.push(Pending {
                plan,
                decisions_len: record.decisions.partition_point(|decision| decision.step <= at),
                step: at + 1,
                fingerprint,
                preemptions: pending.preemptions,
                preempted: pending.preempted.clone(),
            });
        }
    }

    /// Shrinks a failing schedule, and reports it.
    fn find(&mut self, mut plan: SchedulePlan, mut failure: Failure) {
        let before = plan.deviations.0.len();
        let mut is_smaller = true;
        while is_smaller {
            is_smaller = false;
            let mut smaller = Vec::new();
            if plan.fault.is_some() {
                smaller.push(SchedulePlan {
                    fault: None,
                    ..plan.clone()
                });
            }
            for index in 0..plan.deviations.0.len() {
                let mut without = plan.clone();
                without.deviations.0.remove(index);
                smaller.push(without);
            }
            for candidate in smaller {
                let run = self.runner.run_plan(&candidate);
                self.runner.judge.iter_mut().for_each(Judge::reset);
                if let Err(found) = self.runner.examine(&run)
                    && found.kind == failure.kind
                {
                    // A deviation that did not fit has no effect.
                    plan = SchedulePlan {
                        deviations: deviations_of(&run.record),
                        fault: candidate.fault,
                    };
                    failure = found;
                    is_smaller = true;
                    break;
                }
            }
        }
        self.runner.judge.iter_mut().for_each(Judge::reset);
        let run = self.runner.run_plan(&plan);
        if let Err(last) = self.runner.examine(&run) {
            failure = last;
        }
        let mut finding = ScheduleFinding::new(self.sweep, &plan, failure);
        finding.deviations_len_before = before;
        finding.show_steps(&run.record);
        self.report.end_at(finding);
    }
}

/// The disk operation with this ordinal, in the run of `plan` without its fault.
pub(super) fn operation_of(
    sweep: &ScheduleSweep,
    plan: &SchedulePlan,
    ordinal: u64,
) -> Option<DiskOperation> {
    let mut runner = ProgramRunner::new(sweep);
    runner.prepare().ok()?;
    let run = runner.run_plan(plan);
    run.recording.operations().nth(ordinal as usize).cloned()
}

/// The deviations of a run from the default.
pub(super) fn deviations_of(record: &ScheduledRun) -> Deviations {
    let decisions = record.decisions.iter().enumerate();
    let deviating = decisions.filter(|(_, decision)| decision.chosen != decision.default);
    Deviations(
        deviating
            .map(|(number, decision)| (number as u64, decision.chosen))
            .collect(),
    )
}
