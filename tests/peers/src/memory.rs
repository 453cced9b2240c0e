//! The memory of an engine. Each engine runs in a separate process, so that the memory of another engine does not
//! count.

use std::process::Command;

use crate::args::PeerArgs;
use crate::environment::resident_bytes;
use crate::passes::{Run, keys, record};
use crate::peer::{Engine, PeerResult, Policy};
use crate::peers::ENGINES;
use crate::workload::{self, BATCH_LEN};

/// Runs the job in one child process, and reads every state in another.
pub(crate) fn measure(run: &mut Run, engine: &Engine) -> PeerResult<()> {
    let dir = run.dir.empty_dir("memory")?;
    let child = || -> PeerResult<f64> {
        let output = Command::new(std::env::current_exe()?)
            .args([
                "--child",
                engine.name,
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
    run.sheet.add("memory", engine.name, recorded / 1e6);
    run.sheet.add("memory-reopened", engine.name, reopened / 1e6);
    run.sheet
        .add("bytes-per-key", engine.name, reopened / run.keys.len() as f64);
    Ok(())
}

/// The work of a child process. In an empty directory it records the job; in a directory with the job it reads every
/// state. It prints the growth of its memory in bytes.
#[allow(
    clippy::disallowed_methods,
    reason = "looks at the directory without the engine"
)]
pub(crate) fn child(args: &PeerArgs, name: &str) -> PeerResult<()> {
    let engine = ENGINES
        .iter()
        .find(|engine| engine.name == name)
        .ok_or_else(|| format!("no engine is named {name:?}"))?;
    let is_empty = std::fs::read_dir(&args.dir)?.next().is_none();
    let events = workload::events(args.events);
    let keys = keys(&events);
    let mut scores = Vec::with_capacity(keys.len());
    // Written once, so that the operating system provides its memory before the measurement.
    scores.resize(keys.len(), 0.0);
    scores.clear();
    let before = resident_bytes();
    let mut peer = (engine.open)(&args.dir, Policy::Written)?;
    if is_empty {
        record(peer.as_mut(), &events, BATCH_LEN)?;
        peer.sync()?;
    } else {
        let now_ms = events.last().map_or(0, |event| event.at_ms);
        peer.scores(&keys, 0, now_ms, &mut scores)?;
    }
    println!("{}", resident_bytes().saturating_sub(before));
    peer.close()
}
