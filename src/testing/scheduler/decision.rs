//! Decisions of a scheduler, and the schedules that they follow.
//!
//! A step at which several threads can continue is a decision, and so is a notification that can wake several threads.
//! Decisions are numbered from 0, from the start of the run. A schedule lists the decisions at which a run deviates from
//! the default. Its text is `DECISION>THREAD` for each of them, joined by commas, or `default` without any: `17>1,40>0`
//! means that thread 1 is chosen at decision 17, and thread 0 at decision 40. The same schedule of the same program gives
//! the same run.

use std::fmt;
use std::str::FromStr;

use super::step::StepAction;

/// A choice of a scheduler among several threads.
#[derive(Debug, Clone)]
pub(in crate::testing) struct Decision {
    pub(in crate::testing) kind: DecisionKind,
    /// The number of steps before the decision.
    pub(in crate::testing) step: usize,
    /// One bit for each thread that can be chosen.
    pub(in crate::testing) candidates: u32,
    /// The number of steps of each thread before the decision.
    pub(in crate::testing) steps_len: Vec<u64>,
    pub(in crate::testing) default: usize,
    pub(in crate::testing) chosen: usize,
    /// The hash of the steps before the decision.
    pub(in crate::testing) fingerprint: u64,
    /// True while the program runs: an exploration may choose another thread here.
    pub(in crate::testing) may_deviate: bool,
}

#[derive(Debug, Clone, Copy)]
pub(in crate::testing) enum DecisionKind {
    /// Which thread makes the next step.
    Next {
        /// The thread that made the last step.
        from: usize,
        /// True if this thread can continue and did not yield.
        continues: bool,
        has_yielded: bool,
        /// The threads that continue because a timer fires, although others can run.
        timers: u32,
        /// The pending step of `from`.
        action: StepAction,
        object: u64,
    },
    /// Which waiting thread a notification wakes.
    Wake,
}

impl Decision {
    /// The other threads that can be chosen.
    pub(in crate::testing) fn alternatives(&self) -> impl Iterator<Item = usize> + use<> {
        let (candidates, chosen) = (self.candidates, self.chosen);
        (0..u32::BITS as usize).filter(move |&thread| candidates & 1 << thread != 0 && thread != chosen)
    }

    /// Returns true if this choice fires the timer of the thread although other threads can run.
    pub(in crate::testing) fn is_timer(&self, thread: usize) -> bool {
        matches!(self.kind, DecisionKind::Next { timers, .. } if timers & 1 << thread != 0)
    }

    /// Returns true if this choice is a preemption: it interrupts a thread that could continue, fires a timer although a
    /// thread can run, or continues a thread that has just yielded.
    pub(in crate::testing) fn is_preemption(&self, thread: usize) -> bool {
        match self.kind {
            DecisionKind::Wake => false,
            _ if thread == self.default => false,
            DecisionKind::Next {
                from,
                continues,
                has_yielded,
                ..
            } => continues || self.is_timer(thread) || (has_yielded && thread == from),
        }
    }
}

/// A change of the disk by a run.
#[derive(Debug, Clone, Copy)]
pub(in crate::testing) struct DiskStep {
    /// The number of steps before it.
    pub(in crate::testing) step: usize,
    /// The hash of the steps before it.
    pub(in crate::testing) fingerprint: u64,
    pub(in crate::testing) may_deviate: bool,
}

/// The deviations of a run from the default. See the [module](self).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(in crate::testing) struct Deviations(pub(in crate::testing) Vec<(u64, usize)>);

impl fmt::Display for Deviations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("default");
        }
        for (index, (decision, thread)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(f, "{separator}{decision}>{thread}")?;
        }
        Ok(())
    }
}

impl FromStr for Deviations {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "default" {
            return Ok(Self::default());
        }
        let mut deviations: Vec<(u64, usize)> = Vec::new();
        for part in text.split(',') {
            let (decision, thread) = part
                .split_once('>')
                .ok_or("a deviation is the number of a decision, `>` and the number of a thread")?;
            let number = "the numbers of decisions and threads are whole numbers";
            let deviation = (
                decision.parse().map_err(|_| number)?,
                thread.parse().map_err(|_| number)?,
            );
            if deviations.last().is_some_and(|&(last, _)| last >= deviation.0) {
                return Err("the decisions of a schedule ascend");
            }
            deviations.push(deviation);
        }
        Ok(Self(deviations))
    }
}

/// Draws a number below its argument.
pub(in crate::testing) struct DrawBelow(pub(in crate::testing) Box<dyn FnMut(usize) -> usize + Send>);

impl fmt::Debug for DrawBelow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DrawBelow")
    }
}

/// Makes the decisions of a run.
#[derive(Debug)]
pub(in crate::testing) enum Chooser {
    /// The default, except at these deviations. `next` is the index of the next one.
    Planned {
        deviations: Deviations,
        next: usize,
        fits: bool,
    },
    /// At the decisions `at`, in ascending order, a thread other than the default. At the other decisions any thread whose
    /// choice is no preemption.
    Random { draw: DrawBelow, at: Vec<u64> },
}

impl Chooser {
    pub(in crate::testing) fn planned(deviations: Deviations) -> Self {
        Self::Planned {
            deviations,
            next: 0,
            fits: true,
        }
    }

    /// The chosen thread at the decision with this number.
    pub(in crate::testing) fn choose(&mut self, number: u64, decision: &Decision) -> usize {
        match self {
            Self::Planned {
                deviations,
                next,
                fits,
            } => match deviations.0.get(*next) {
                Some(&(at, thread)) if at == number => {
                    *next += 1;
                    if thread < u32::BITS as usize && decision.candidates & 1 << thread != 0 {
                        return thread;
                    }
                    *fits = false;
                    decision.default
                }
                _ => decision.default,
            },
            Self::Random { draw, at } => {
                let is_switch = at.binary_search(&number).is_ok();
                let mut possible: Vec<usize> = decision.alternatives().collect();
                possible.retain(|&thread| is_switch || !decision.is_preemption(thread));
                if !is_switch {
                    possible.push(decision.default);
                }
                if possible.is_empty() {
                    decision.default
                } else {
                    possible[draw.0(possible.len())]
                }
            }
        }
    }

    /// Returns false if a deviation did not fit the run: its decision did not come, or its thread could not run.
    pub(in crate::testing) fn fits(&self) -> bool {
        match self {
            Self::Planned {
                deviations,
                next,
                fits,
            } => *fits && *next == deviations.0.len(),
            Self::Random { .. } => true,
        }
    }
}
