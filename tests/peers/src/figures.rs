//! The rows of the table: the name, the unit and the target of each figure.

use crate::args::PeerArgs;
use crate::board::FigureUnit;
use crate::sheet::Sheet;

/// One row of the table.
pub(crate) struct Spec {
    pub(crate) id: &'static str,
    pub(crate) name: fn(&PeerArgs) -> String,
    pub(crate) unit: FigureUnit,
    /// The description of the target.
    pub(crate) target: &'static str,
    /// Returns true if the figure reaches the target. `None` without a target, or if a compared figure was not
    /// measured.
    pub(crate) is_met: fn(&Sheet) -> Option<bool>,
}

fn tidaldb(sheet: &Sheet, figure: &'static str) -> Option<f64> {
    sheet.median(figure, "tidaldb")
}

fn no_target(_: &Sheet) -> Option<bool> {
    None
}

/// The rows, in the order of the table.
pub(crate) const FIGURES: &[Spec] = &[
    Spec {
        id: "batches",
        name: |args| format!("batches of 256, one final sync ({} events)", args.events),
        unit: FigureUnit::PerSecond,
        target: "4 x the best peer, 15 x fjall",
        is_met: |sheet| {
            let fjall = tidaldb(sheet, "batches")? / sheet.median("batches", "fjall")?;
            Some(sheet.ratio_to_best("batches")? >= 4.0 && fjall >= 15.0)
        },
    },
    Spec {
        id: "batches-2",
        name: |_| "the same, two threads".to_owned(),
        unit: FigureUnit::PerSecond,
        target: "1.4 x one thread",
        is_met: |sheet| Some(tidaldb(sheet, "batches-2")? >= 1.4 * tidaldb(sheet, "batches")?),
    },
    Spec {
        id: "synced-batches",
        name: |args| format!("batches of 256, each synced ({} events)", args.batched),
        unit: FigureUnit::PerSecond,
        target: "1.2 M/s, 3 x the best peer",
        is_met: |sheet| {
            Some(tidaldb(sheet, "synced-batches")? >= 1.2e6 && sheet.ratio_to_best("synced-batches")? >= 3.0)
        },
    },
    Spec {
        id: "synced-calls",
        name: |args| format!("one event a call, each synced ({} events)", args.synced),
        unit: FigureUnit::PerSecond,
        target: "1 x fjall",
        is_met: |sheet| Some(tidaldb(sheet, "synced-calls")? >= sheet.median("synced-calls", "fjall")?),
    },
    Spec {
        id: "synced-calls-16",
        name: |args| format!("the same, 16 threads ({} events)", 8 * args.synced),
        unit: FigureUnit::PerSecond,
        target: "6 x one thread",
        is_met: |sheet| Some(tidaldb(sheet, "synced-calls-16")? >= 6.0 * tidaldb(sheet, "synced-calls")?),
    },
    Spec {
        id: "calls",
        name: |args| format!("one event a call, written, no sync ({} events)", args.calls),
        unit: FigureUnit::PerSecond,
        target: "0.9 M/s",
        is_met: |sheet| Some(tidaldb(sheet, "calls")? >= 0.9e6),
    },
    Spec {
        id: "calls-2",
        name: |_| "the same, two threads".to_owned(),
        unit: FigureUnit::PerSecond,
        target: "1 x one thread",
        is_met: |sheet| Some(tidaldb(sheet, "calls-2")? >= tidaldb(sheet, "calls")?),
    },
    Spec {
        id: "replay",
        name: |args| format!("replay after a kill ({} events)", args.events),
        unit: FigureUnit::PerSecond,
        target: "7 M/s",
        is_met: |sheet| Some(tidaldb(sheet, "replay")? >= 7e6),
    },
    Spec {
        id: "checkpoint",
        name: |_| {
            "checkpoint of all states of the job; for a peer, one synced transaction that writes them"
                .to_owned()
        },
        unit: FigureUnit::Milliseconds,
        target: "60 ms",
        is_met: |sheet| Some(tidaldb(sheet, "checkpoint")? <= 60.0),
    },
    Spec {
        id: "pause",
        name: |_| "longest call of a writer during that checkpoint".to_owned(),
        unit: FigureUnit::Milliseconds,
        target: "5 ms",
        is_met: |sheet| Some(tidaldb(sheet, "pause")? <= 5.0),
    },
    Spec {
        id: "pause-without",
        name: |_| "longest call in the same time without a checkpoint".to_owned(),
        unit: FigureUnit::Milliseconds,
        target: "",
        is_met: no_target,
    },
    Spec {
        id: "large-checkpoint",
        name: |args| format!("checkpoint of {} changed states", args.spread),
        unit: FigureUnit::Milliseconds,
        target: "",
        is_met: no_target,
    },
    Spec {
        id: "large-pause",
        name: |_| "longest call of a writer during that checkpoint".to_owned(),
        unit: FigureUnit::Milliseconds,
        target: "30 ms",
        is_met: |sheet| Some(tidaldb(sheet, "large-pause")? <= 30.0),
    },
    Spec {
        id: "large-pause-without",
        name: |_| "longest call in the same time without a checkpoint".to_owned(),
        unit: FigureUnit::Milliseconds,
        target: "",
        is_met: no_target,
    },
    Spec {
        id: "reopen",
        name: |_| "reopen after close, all states of the job".to_owned(),
        unit: FigureUnit::Milliseconds,
        target: "60 ms",
        is_met: |sheet| Some(tidaldb(sheet, "reopen")? <= 60.0),
    },
    Spec {
        id: "memory",
        name: |_| "memory after the job (VmRSS)".to_owned(),
        unit: FigureUnit::Megabytes,
        target: "",
        is_met: no_target,
    },
    Spec {
        id: "memory-reopened",
        name: |_| "memory at rest, after reopening and one read of every key (VmRSS)".to_owned(),
        unit: FigureUnit::Megabytes,
        target: "60 MB",
        is_met: |sheet| Some(tidaldb(sheet, "memory-reopened")? <= 60.0),
    },
    Spec {
        id: "bytes-per-key",
        name: |_| "the same for each key".to_owned(),
        unit: FigureUnit::Bytes,
        target: "",
        is_met: no_target,
    },
    Spec {
        id: "read",
        name: |_| "decayed score read, uniform keys; peers read 256 in one transaction".to_owned(),
        unit: FigureUnit::Nanoseconds,
        target: "70 ns",
        is_met: |sheet| Some(tidaldb(sheet, "read")? <= 70.0),
    },
    Spec {
        id: "with cohorts",
        name: |_| "batches of 256, one final sync, with two cohorts each".to_owned(),
        unit: FigureUnit::PerSecond,
        target: "",
        is_met: no_target,
    },
    Spec {
        id: "with co-engagement",
        name: |_| "the same with co-engagement, a quarter of the events positive".to_owned(),
        unit: FigureUnit::PerSecond,
        target: "",
        is_met: no_target,
    },
    Spec {
        id: "with cohorts and co-engagement",
        name: |_| "the same with both".to_owned(),
        unit: FigureUnit::PerSecond,
        target: "",
        is_met: no_target,
    },
];
