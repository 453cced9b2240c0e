//! The measurements of tidaldb alone: several threads, a writer during checkpoints, cohorts and co-engagement.

use tidaldb::{Durability, SignalEvent};

use crate::engine;
use crate::extras::{self, EXTRAS};
use crate::passes::Run;
use crate::pause;
use crate::peer::PeerResult;
use crate::stopwatch::timed;
use crate::workload::BATCH_LEN;

/// Measures two threads without syncs, and sixteen threads that share syncs.
pub(crate) fn threads(run: &mut Run) -> PeerResult<()> {
    let written = Durability::OperatingSystem;
    rate(run, "batches-2", written, BATCH_LEN, 2, run.args.events)?;
    rate(run, "calls-2", written, 1, 2, run.args.calls)?;
    rate(
        run,
        "synced-calls-16",
        Durability::EverySynced,
        1,
        16,
        8 * run.args.synced,
    )
}

fn rate(
    run: &mut Run,
    figure: &'static str,
    durability: Durability,
    batch_len: usize,
    threads: usize,
    len: usize,
) -> PeerResult<()> {
    let len = len.min(run.events.len());
    let events: Vec<SignalEvent<'_>> = run.events[..len].iter().map(engine::event).collect();
    let dir = run.dir.empty_dir("threads")?;
    let db = engine::open_without_checkpoints(&dir, durability)?;
    let (recorded, seconds) = timed(|| {
        engine::record(&db, &events, batch_len, threads)?;
        if batch_len > 1 { db.sync() } else { Ok(()) }
    });
    recorded?;
    db.sync()?;
    run.sheet.add(figure, "tidaldb", len as f64 / seconds);
    Ok(())
}

/// Measures the pause of a writer during a checkpoint of all states of the job, and of the number of states of
/// `--spread`.
pub(crate) fn pauses(run: &mut Run) -> PeerResult<()> {
    let events: Vec<SignalEvent<'_>> = run.events.iter().map(engine::event).collect();
    let db = engine::filled(&run.dir.empty_dir("pause")?, &events)?;
    let taken = pause::measure_checkpoints(&db, &events)?;
    run.sheet.add("pause", "tidaldb", taken.pause);
    run.sheet.add("pause-without", "tidaldb", taken.pause_without);
    drop(db);

    let events = engine::spread(run.args.spread);
    let db = engine::filled(&run.dir.empty_dir("pause")?, &events)?;
    let taken = pause::measure_checkpoints(&db, &events)?;
    run.sheet.add("large-checkpoint", "tidaldb", taken.alone);
    run.sheet.add("large-pause", "tidaldb", taken.pause);
    run.sheet
        .add("large-pause-without", "tidaldb", taken.pause_without);
    Ok(())
}

/// Measures the job with cohorts, with co-engagement, and with both.
pub(crate) fn extras(run: &mut Run) -> PeerResult<()> {
    let job: Vec<SignalEvent<'_>> = run.events.iter().map(engine::event).collect();
    for extra in EXTRAS {
        let (seconds, _) = extras::record(&run.dir, &job, extra)?;
        run.sheet.add(extra.name, "tidaldb", job.len() as f64 / seconds);
    }
    Ok(())
}
