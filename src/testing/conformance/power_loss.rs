//! Power losses on the simulated disk, at every crash position of a workload and of the recovery after it.

use std::collections::BTreeSet;

use super::Survives;
use super::context::{CheckContext, CheckedCall};
use super::engine_with_map::difference;
use super::report::{CheckResult, CheckStop, CheckTally, ONLY_PROCESS_CRASHES};
use super::simulated::{RecordedRun, SimulatedEngine, WRITES, seek};
use super::write_history::{Promise, WriteHistory};
use super::writes::{MarkedWrite, WriteShape};
use crate::testing::sim_disk::{DiskModel, Image, ImageChoice};

/// The largest number of images of one crash position that are tried in each disk model.
const IMAGES_MAX: usize = 24;
/// The largest number of images of one crash position whose recovery is tested further.
const OUTER_IMAGES_MAX: usize = 8;
/// The largest number of images of one crash position inside a recovery.
const INNER_IMAGES_MAX: usize = 4;
const INSIDE: &str = "distinct images inside recoveries";

/// Checks each image that a power loss between any two disk operations may leave.
pub(super) fn at_every_operation(context: &CheckContext) -> CheckResult {
    context.require(Survives::ProcessCrash)?;
    let simulated = SimulatedEngine::new(context)?;
    let run = simulated.record()?;
    let mut tally = CheckTally::of(&["crash positions", "distinct images", "flushed writes"]);
    let mut checked = BTreeSet::new();
    let mut left_out = 0_u128;
    let loses_power = context.survives(Survives::PowerLoss);
    let mut images = run.recording.images();
    for position in 0..=run.recording.len() {
        seek(&mut images, position)?;
        let history = run.history_at(position);
        let mut cases = vec![(ImageChoice::All, Promise::Acknowledged)];
        for model in DiskModel::EVERY_IMAGE.iter().copied().filter(|_| loses_power) {
            let choices = images.choices(model, IMAGES_MAX, context.seed() ^ position);
            left_out = left_out.saturating_add(choices.left_out);
            cases.extend(choices.into_iter().map(|choice| (choice, Promise::Flushed)));
        }
        for (choice, promise) in cases {
            let image = images.image(&choice);
            let lens = (history.len(), history.acknowledged_len(), history.flushed_len);
            if checked.insert((image.hash(), lens, promise == Promise::Flushed)) {
                simulated.check_image(&image, history, promise, || place(&run, position, &choice))?;
                tally.add("distinct images", 1);
            }
        }
        tally.add("crash positions", 1);
        tally.add("flushed writes", history.flushed_len as u64);
    }
    if !loses_power {
        tally.note(ONLY_PROCESS_CRASHES);
    } else if left_out > 0 {
        tally.note(format!(
            "at most {IMAGES_MAX} images of a crash position in each disk model; {left_out} left out"
        ));
    }
    Ok(tally)
}

/// Checks that the recovered content and later flushed writes survive the next power loss.
pub(super) fn writes_after_recovery(context: &CheckContext) -> CheckResult {
    let mut tally = CheckTally::of(&["recoveries", "writes after a recovery"]);
    for_some_images(context, &mut tally, |simulated, image, history, tally| {
        let (disk, engine, found) = simulated.read(image)?;
        let mut expected = found.clone();
        for shape in [WriteShape::Put, WriteShape::Batch] {
            let write = MarkedWrite::new(history.len() + WRITES, shape);
            let call = format_args!("{write} after recovery");
            write.run(engine.as_ref()).or_fail(call)?;
            write.apply(&mut expected);
            tally.add("writes after a recovery", 1);
        }
        engine.flush().or_fail("a flush after recovery")?;
        let after = disk.image(&ImageChoice::Synced);
        let (_, _, again) = simulated.read(&after)?;
        let Some(difference) = difference(&again, &expected) else {
            return Ok(());
        };
        let place =
            "the recovered content and the writes flushed after it did not survive a second power loss";
        Err(simulated
            .context
            .located(CheckStop::Failed(difference), place, &after))
    })?;
    Ok(tally)
}

/// Checks that a second power loss during the recovery from the first one does not change the recovered content.
pub(super) fn inside_recovery(context: &CheckContext) -> CheckResult {
    let mut tally = CheckTally::of(&["recoveries", INSIDE]);
    for_some_images(context, &mut tally, interrupt_recovery)?;
    tally.note(format!(
        "at most {INNER_IMAGES_MAX} images of a crash position inside a recovery"
    ));
    if tally.count(INSIDE) == 0 {
        return Err(CheckStop::NotApplicable(format!(
            "none of {} recoveries changed the disk",
            tally.count("recoveries")
        )));
    }
    Ok(tally)
}

/// Calls `check` for some images of each crash position, in the order of preference of the simulated disk.
fn for_some_images(
    context: &CheckContext,
    tally: &mut CheckTally,
    check: impl Fn(SimulatedEngine<'_>, &Image, &WriteHistory, &mut CheckTally) -> Result<(), CheckStop>,
) -> Result<(), CheckStop> {
    context.require(Survives::PowerLoss)?;
    let simulated = SimulatedEngine::new(context)?;
    let run = simulated.record()?;
    let mut checked = BTreeSet::new();
    let mut images = run.recording.images();
    for position in 0..=run.recording.len() {
        seek(&mut images, position)?;
        let history = run.history_at(position);
        let choices = images.choices(DiskModel::WEAKEST, OUTER_IMAGES_MAX, context.seed() ^ position);
        for choice in choices.choices.into_iter().chain([ImageChoice::All]) {
            let image = images.image(&choice);
            if checked.insert(image.hash()) {
                check(simulated, &image, history, tally)
                    .map_err(|stop| context.located(stop, place(&run, position, &choice), &image))?;
                tally.add("recoveries", 1);
            }
        }
    }
    tally.note(format!(
        "at most {OUTER_IMAGES_MAX} images of a crash position of the workload"
    ));
    Ok(())
}

fn interrupt_recovery(
    simulated: SimulatedEngine<'_>,
    image: &Image,
    history: &WriteHistory,
    tally: &mut CheckTally,
) -> Result<(), CheckStop> {
    let (disk, engine, found) = simulated.read(image)?;
    drop(engine);
    // The check `power-loss` covers the unflushed writes.
    history
        .check(&found, Promise::Flushed)
        .map_err(CheckStop::Failed)?;
    let recording = disk.recording();
    let mut images = recording.images();
    let mut checked = BTreeSet::from([image.hash()]);
    for position in 0..=recording.len() {
        seek(&mut images, position)?;
        let choices = images.choices(
            DiskModel::WEAKEST,
            INNER_IMAGES_MAX,
            simulated.context.seed() ^ position,
        );
        for choice in choices {
            let image = images.image(&choice);
            if !checked.insert(image.hash()) {
                continue;
            }
            let (_, _, again) = simulated.read(&image)?;
            tally.add(INSIDE, 1);
            if let Some(difference) = difference(&again, &found) {
                let place = format!(
                    "a power loss after {position} disk operations of the recovery, image {choice}, \
                     changed the recovered content"
                );
                let stop = CheckStop::Failed(difference);
                return Err(simulated.context.located(stop, place, &image));
            }
        }
    }
    Ok(())
}

fn place(run: &RecordedRun, position: u64, choice: &ImageChoice) -> String {
    let next = run.next_operation(position);
    format!("a power loss before {next}, image {choice}")
}
