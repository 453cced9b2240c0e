//! The steps of a run as text: one column for each thread, time from top to bottom.
//!
//! Shown are the calls, the changes of the disk, waits and wake-ups, and the steps on both sides of a switch to another
//! thread. The other steps are counted.

use std::fmt::Write;

use crate::testing::scheduler::{ScheduledRun, Step, StepAction};

/// The width of a column.
const WIDTH: usize = 44;

fn is_shown(steps: &[Step], index: usize) -> bool {
    let step = &steps[index];
    let switches = |other: Option<&Step>| other.is_none_or(|other| other.thread != step.thread);
    let is_important = matches!(
        step.action,
        StepAction::BeginCall
            | StepAction::EndCall
            | StepAction::Wait
            | StepAction::NotifyOne
            | StepAction::NotifyAll
            | StepAction::Timer
            | StepAction::Cross(_)
            | StepAction::Begin
            | StepAction::End
            | StepAction::Spawn
            | StepAction::Join(_)
            | StepAction::ChangeFile
    );
    is_important
        || switches(steps.get(index + 1))
        || index
            .checked_sub(1)
            .is_none_or(|before| switches(steps.get(before)))
}

/// The table of the steps of a run, from the first call of the program on.
pub(super) fn side_by_side(record: &ScheduledRun) -> String {
    let steps = &record.steps;
    let first = steps.iter().position(|step| step.action == StepAction::BeginCall);
    let mut table = String::new();
    let mut row = |cells: &dyn Fn(usize) -> String| {
        let mut line = String::new();
        for thread in 0..record.thread_names.len() {
            let cell: String = cells(thread).chars().take(WIDTH - 1).collect();
            write!(line, "{cell:WIDTH$}").unwrap_or_default();
        }
        table.push_str(line.trim_end());
        table.push('\n');
    };
    row(&|thread| format!("{thread}: {}", record.thread_names[thread]));
    let mut hidden = 0;
    for index in first.unwrap_or(0)..steps.len() {
        if !is_shown(steps, index) {
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
        row(&cell(&|| step.to_string()));
    }
    table
}
