//! How much memory an engine takes: each in a process of its own, so that nothing of another one is counted.

use std::process::Command;

use crate::args::PeerArgs;
use crate::passes::{Run, keys, record};
use crate::peer::{Kind, PeerResult, Policy};
use crate::peers::KINDS;
use crate::place::resident_bytes;
use crate::workload::{self, BATCH_LEN};

/// Runs the job in one process, and reads every state in another.
pub(crate) fn measure(run: &mut Run, kind: &Kind) -> PeerResult<()> {
    let dir = run.place.fresh("memory")?;
    let child = || -> PeerResult<f64> {
        let output = Command::new(std::env::current_exe()?)
            .args([
                "--child",
                kind.name,
                "--events",
                &run.args.events.to_string(),
                "--dir",
            ])
            .arg(&dir)
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        Ok(String::from_utf8(output.stdout)?.trim().parse()?)
    };
    let recorded = child()?;
    let reopened = child()?;
    run.sheet.add("memory", kind.name, recorded / 1e6);
    run.sheet.add("memory-reopened", kind.name, reopened / 1e6);
    run.sheet
        .add("bytes-per-key", kind.name, reopened / run.keys.len() as f64);
    Ok(())
}

/// What such a process does: the job in an empty directory, reads in one that has it. It prints by how much the memory
/// of the process has grown.
#[allow(clippy::disallowed_methods, reason = "it looks at the directory from outside")]
pub(crate) fn child(args: &PeerArgs, engine: &str) -> PeerResult<()> {
    let kind = KINDS
        .iter()
        .find(|kind| kind.name == engine)
        .ok_or("there is no such engine")?;
    let is_empty = std::fs::read_dir(&args.dir)?.next().is_none();
    let touches = workload::events(args.events);
    let keys = keys(&touches);
    let mut scores = Vec::with_capacity(keys.len());
    // Written once, so that its memory is there before.
    scores.resize(keys.len(), 0.0);
    scores.clear();
    let before = resident_bytes();
    let mut peer = (kind.open)(&args.dir, Policy::Written)?;
    if is_empty {
        record(peer.as_mut(), &touches, BATCH_LEN)?;
        peer.sync()?;
    } else {
        let now_ms = touches.last().map_or(0, |touch| touch.at_ms);
        peer.scores(&keys, 0, now_ms, &mut scores)?;
    }
    println!("{}", resident_bytes().saturating_sub(before));
    peer.close()
}
