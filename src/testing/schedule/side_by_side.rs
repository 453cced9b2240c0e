//! The steps of a run as text: one column for each thread, time from top to bottom.
//!
//! Shown are the begins, ends, spawns and joins of threads, the calls, the changes of the disk, the crossings of crash
//! points, waits, wake-ups and timers, the steps on both sides of a switch to another thread, and the steps at which the
//! schedule deviates from the default. Such a step begins with the deviation, as in the replay line: `17>3`. The other
//! steps are counted.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::testing::scheduler::{DecisionKind, ScheduledRun, Step, StepAction};

/// The width of a column, in characters. A longer text ends with `…`.
const WIDTH: usize = 44;

/// The deviations of a run as text, by the index of the step that shows them: the next step of the chosen thread, or the
/// notification that wakes it.
fn deviations(record: &ScheduledRun) -> BTreeMap<usize, String> {
    let mut deviations = BTreeMap::new();
    let decisions = record.decisions.iter().enumerate();
    for (number, decision) in decisions.filter(|(_, decision)| decision.chosen != decision.default) {
        let index = match decision.kind {
            DecisionKind::Next { .. } => decision.step,
            DecisionKind::Wake => decision.step - 1,
        };
        let text: &mut String = deviations.entry(index).or_default();
        write!(text, "{number}>{} ", decision.chosen).unwrap_or_default();
    }
    deviations
}

/// The text of a cell, at most one character shorter than the column.
fn cut(text: String) -> String {
    if text.chars().count() < WIDTH {
        return text;
    }
    text.chars().take(WIDTH - 2).chain(['…']).collect()
}

fn is_shown(steps: &[Step], index: usize) -> bool {
    let step = &steps[index];
    let switches = |other: Option<&Step>| other.is_none_or(|other| other.thread != step.thread);
    let is_important = matches!(
        step.action,
        StepAction::BeginCall
            | StepAction::EndCall
            | StepAction::Wait { .. }
            | StepAction::NotifyOne
            | StepAction::NotifyAll
            | StepAction::Timer
            | StepAction::Cross(_)
            | StepAction::Begin
            | StepAction::End
            | StepAction::Spawn
            | StepAction::Join(_)
            | StepAction::ChangeFile
            | StepAction::ReleaseFile
    );
    is_important
        || switches(steps.get(index + 1))
        || index
            .checked_sub(1)
            .is_none_or(|before| switches(steps.get(before)))
}

/// The table of the steps of a run, from the first call of the program or the first deviation on.
pub(super) fn side_by_side(record: &ScheduledRun) -> String {
    let steps = &record.steps;
    let deviations = deviations(record);
    let first_call = steps.iter().position(|step| step.action == StepAction::BeginCall);
    let first_deviation = deviations.keys().next().copied();
    let first = first_call.into_iter().chain(first_deviation).min();
    let mut table = String::new();
    let mut row = |cells: &dyn Fn(usize) -> String| {
        let mut line = String::new();
        for thread in 0..record.thread_names.len() {
            write!(line, "{:WIDTH$}", cut(cells(thread))).unwrap_or_default();
        }
        table.push_str(line.trim_end());
        table.push('\n');
    };
    row(&|thread| format!("{thread}: {}", record.thread_names[thread]));
    let mut hidden = 0;
    for index in first.unwrap_or(0)..steps.len() {
        let deviation = deviations.get(&index);
        if deviation.is_none() && !is_shown(steps, index) {
            hidden += 1;
            continue;
        }
        let step = &steps[index];
        let cell = |text: &dyn Fn() -> String| {
            let text = text();
            move |thread| {
                if thread == step.thread {
                    text.clone()
                } else {
                    String::new()
                }
            }
        };
        if hidden > 0 {
            row(&cell(&|| format!("  ({hidden} steps)")));
            hidden = 0;
        }
        let deviation = deviation.map_or("", String::as_str);
        row(&cell(&|| format!("{deviation}{step}")));
    }
    table
}
