//! The rows of the table: what each figure is, and what it is to reach.

use crate::args::PeerArgs;
use crate::board::FigureUnit;
use crate::sheet::Sheet;

/// One row.
pub(crate) struct Spec {
    pub(crate) id: &'static str,
    pub(crate) name: fn(&PeerArgs) -> String,
    pub(crate) unit: FigureUnit,
    /// In words.
    pub(crate) target: &'static str,
    /// Whether it is reached; nothing if there is no target or something it is compared with was not measured.
    pub(crate) met: fn(&Sheet) -> Option<bool>,
}

const OWN: &str = "tidaldb";

fn own(sheet: &Sheet, figure: &'static str) -> Option<f64> {
    sheet.median(figure, OWN)
}

fn no_target(_: &Sheet) -> Option<bool> {
    None
}

/// In the order of the rows.
pub(crate) const FIGURES: &[Spec] = &[
    Spec {
        id: "batches",
        name: |args| format!("batches of 256, one final sync ({} events)", args.events),
        unit: FigureUnit::PerSecond,
        target: "4 x the best peer, 15 x fjall",
        met: |sheet| {
            let fjall = own(sheet, "batches")? / sheet.median("batches", "fjall")?;
            Some(sheet.ratio_to_best("batches")? >= 4.0 && fjall >= 15.0)
        },
    },
    Spec {
        id: "batches-2",
        name: |_| "the same, two threads".to_owned(),
        unit: FigureUnit::PerSecond,
        target: "1.4 x one thread",
        met: |sheet| Some(own(sheet, "batches-2")? >= 1.4 * own(sheet, "batches")?),
    },
    Spec {
        id: "synced-batches",
        name: |args| format!("batches of 256, each synced ({} events)", args.batched),
        unit: FigureUnit::PerSecond,
        target: "1.2 M/s, 3 x the best peer",
        met: |sheet| {
            Some(own(sheet, "synced-batches")? >= 1.2e6 && sheet.ratio_to_best("synced-batches")? >= 3.0)
        },
    },
    Spec {
        id: "synced-calls",
        name: |args| format!("one event a call, each synced ({} events)", args.synced),
        unit: FigureUnit::PerSecond,
        target: "fjall's",
        met: |sheet| Some(own(sheet, "synced-calls")? >= sheet.median("synced-calls", "fjall")?),
    },
    Spec {
        id: "synced-calls-16",
        name: |args| format!("the same, 16 threads ({} events)", 8 * args.synced),
        unit: FigureUnit::PerSecond,
        target: "6 x one thread",
        met: |sheet| Some(own(sheet, "synced-calls-16")? >= 6.0 * own(sheet, "synced-calls")?),
    },
    Spec {
        id: "calls",
        name: |args| format!("one event a call, written, no sync ({} events)", args.calls),
        unit: FigureUnit::PerSecond,
        target: "0.9 M/s",
        met: |sheet| Some(own(sheet, "calls")? >= 0.9e6),
    },
    Spec {
        id: "calls-2",
        name: |_| "the same, two threads".to_owned(),
        unit: FigureUnit::PerSecond,
        target: "not below one thread",
        met: |sheet| Some(own(sheet, "calls-2")? >= own(sheet, "calls")?),
    },
    Spec {
        id: "replay",
        name: |args| format!("replay after a kill ({} events)", args.events),
        unit: FigureUnit::PerSecond,
        target: "7 M/s",
        met: |sheet| Some(own(sheet, "replay")? >= 7e6),
    },
    Spec {
        id: "checkpoint",
        name: |_| {
            "checkpoint of all states of the job; of a peer, one synced transaction that writes them"
                .to_owned()
        },
        unit: FigureUnit::Milliseconds,
        target: "60 ms",
        met: |sheet| Some(own(sheet, "checkpoint")? <= 60.0),
    },
    Spec {
        id: "pause",
        name: |_| "longest call of a writer beside that checkpoint".to_owned(),
        unit: FigureUnit::Milliseconds,
        target: "5 ms",
        met: |sheet| Some(own(sheet, "pause")? <= 5.0),
    },
    Spec {
        id: "pause-without",
        name: |_| "longest call in as much time without one".to_owned(),
        unit: FigureUnit::Milliseconds,
        target: "",
        met: no_target,
    },
    Spec {
        id: "large-checkpoint",
        name: |args| format!("checkpoint of {} changed states", args.spread),
        unit: FigureUnit::Milliseconds,
        target: "",
        met: no_target,
    },
    Spec {
        id: "large-pause",
        name: |_| "longest call of a writer beside that checkpoint".to_owned(),
        unit: FigureUnit::Milliseconds,
        target: "30 ms",
        met: |sheet| Some(own(sheet, "large-pause")? <= 30.0),
    },
    Spec {
        id: "large-pause-without",
        name: |_| "longest call in as much time without one".to_owned(),
        unit: FigureUnit::Milliseconds,
        target: "",
        met: no_target,
    },
    Spec {
        id: "reopen",
        name: |_| "reopen after close, all states of the job".to_owned(),
        unit: FigureUnit::Milliseconds,
        target: "60 ms",
        met: |sheet| Some(own(sheet, "reopen")? <= 60.0),
    },
    Spec {
        id: "memory",
        name: |_| "memory after the job (VmRSS)".to_owned(),
        unit: FigureUnit::Megabytes,
        target: "",
        met: no_target,
    },
    Spec {
        id: "memory-reopened",
        name: |_| "memory at rest, after reopening and one read of every key (VmRSS)".to_owned(),
        unit: FigureUnit::Megabytes,
        target: "60 MB",
        met: |sheet| Some(own(sheet, "memory-reopened")? <= 60.0),
    },
    Spec {
        id: "bytes-per-key",
        name: |_| "the same by key".to_owned(),
        unit: FigureUnit::Bytes,
        target: "",
        met: no_target,
    },
    Spec {
        id: "read",
        name: |_| "decayed score read, uniform keys; peers read 256 in one transaction".to_owned(),
        unit: FigureUnit::Nanoseconds,
        target: "70 ns",
        met: |sheet| Some(own(sheet, "read")? <= 70.0),
    },
    Spec {
        id: "with cohorts",
        name: |_| "batches of 256, one final sync, with two cohorts each".to_owned(),
        unit: FigureUnit::PerSecond,
        target: "",
        met: no_target,
    },
    Spec {
        id: "with co-engagement",
        name: |_| "the same with co-engagement, a quarter of the events positive".to_owned(),
        unit: FigureUnit::PerSecond,
        target: "",
        met: no_target,
    },
    Spec {
        id: "with cohorts and co-engagement",
        name: |_| "the same with both".to_owned(),
        unit: FigureUnit::PerSecond,
        target: "",
        met: no_target,
    },
];
