//! Power losses on the simulated disk, at every instant of a workload and of the recovery from it.

use std::collections::BTreeSet;

use super::Survives;
use super::account::{Promise, WriteAccount};
use super::lab::{Lab, OrFail};
use super::mirrored::difference;
use super::report::{CheckResult, CheckStop, CheckTally, PROCESS_CRASHES_ALONE};
use super::simulated::{RecordedRun, Simulated, WRITES, seek};
use super::steps::{MarkedWrite, WriteShape};
use crate::testing::sim_disk::{DiskModel, Image, ImageChoice};

/// How many images of one instant are tried in each disk model, if there are more.
const IMAGES_MAX: usize = 24;
/// The same for the instants whose recovery is interrupted, and for the instants inside of it.
const OUTER_IMAGES_MAX: usize = 8;
const INNER_IMAGES_MAX: usize = 4;
const INSIDE: &str = "distinct images inside of them";

/// Each image that a power loss between any two disk operations may leave.
pub(super) fn at_every_operation(lab: &Lab) -> CheckResult {
    lab.require(Survives::ProcessCrash)?;
    let simulated = Simulated::new(lab)?;
    let run = simulated.record()?;
    let mut tally = CheckTally::of(&["instants", "distinct images", "flushed writes"]);
    let mut seen = BTreeSet::new();
    let mut left_out = 0_u128;
    let loses_power = lab.survives(Survives::PowerLoss);
    let mut images = run.recording.images();
    for position in 0..=run.recording.len() {
        seek(&mut images, position)?;
        let account = run.account_at(position);
        let mut cases = vec![(ImageChoice::All, Promise::Acknowledged)];
        for model in DiskModel::EVERY_IMAGE.iter().copied().filter(|_| loses_power) {
            let choices = images.choices(model, IMAGES_MAX, lab.seed() ^ position);
            left_out = left_out.saturating_add(choices.left_out);
            cases.extend(choices.into_iter().map(|choice| (choice, Promise::Flushed)));
        }
        for (choice, promise) in cases {
            let image = images.image(&choice);
            let known = (account.len(), account.acknowledged_len(), account.flushed_len);
            if seen.insert((image.hash(), known, promise == Promise::Flushed)) {
                simulated.judge(&image, account, promise, || place(&run, position, &choice))?;
                tally.add("distinct images", 1);
            }
        }
        tally.add("instants", 1);
        tally.add("flushed writes", account.flushed_len as u64);
    }
    if !loses_power {
        tally.note(PROCESS_CRASHES_ALONE);
    } else if left_out > 0 {
        tally.note(format!(
            "of the larger instants {IMAGES_MAX} images in each disk model; {left_out} left out"
        ));
    }
    Ok(tally)
}

/// After a recovery, the recovered content and later flushed writes survive the next power loss.
pub(super) fn writes_after_recovery(lab: &Lab) -> CheckResult {
    let mut tally = CheckTally::of(&["recoveries", "writes after one"]);
    for_some_images(lab, &mut tally, |simulated, image, account, tally| {
        let (disk, engine, found) = simulated.read(image)?;
        let mut expected = found.clone();
        for shape in [WriteShape::Put, WriteShape::Batch] {
            let step = MarkedWrite::new(account.len() + WRITES, shape);
            let call = format_args!("{step} after recovery");
            step.run(engine.as_ref()).or_fail(call)?;
            step.apply(&mut expected);
            tally.add("writes after one", 1);
        }
        engine.flush().or_fail("a flush after recovery")?;
        let after = disk.image(&ImageChoice::Synced);
        let (_, _, again) = simulated.read(&after)?;
        let Some(what) = difference(&again, &expected) else {
            return Ok(());
        };
        let place = "what was found and what was written and flushed after that did not survive another one";
        Err(simulated.lab.located(CheckStop::Failed(what), place, &after))
    })?;
    Ok(tally)
}

/// A second power loss while the engine recovers from the first one: it must find the same content.
pub(super) fn inside_recovery(lab: &Lab) -> CheckResult {
    let mut tally = CheckTally::of(&["recoveries", INSIDE]);
    for_some_images(lab, &mut tally, interrupt)?;
    tally.note(format!(
        "and {INNER_IMAGES_MAX} of an instant inside the recovery"
    ));
    if tally.count(INSIDE) == 0 {
        return Err(CheckStop::NotApplicable(format!(
            "none of {} recoveries changed anything on disk",
            tally.count("recoveries")
        )));
    }
    Ok(tally)
}

/// Looks at the most telling images of each instant.
fn for_some_images(
    lab: &Lab,
    tally: &mut CheckTally,
    look: impl Fn(Simulated<'_>, &Image, &WriteAccount, &mut CheckTally) -> Result<(), CheckStop>,
) -> Result<(), CheckStop> {
    lab.require(Survives::PowerLoss)?;
    let simulated = Simulated::new(lab)?;
    let run = simulated.record()?;
    let mut seen = BTreeSet::new();
    let mut images = run.recording.images();
    for position in 0..=run.recording.len() {
        seek(&mut images, position)?;
        let account = run.account_at(position);
        let choices = images.choices(DiskModel::WEAKEST, OUTER_IMAGES_MAX, lab.seed() ^ position);
        for choice in choices.choices.into_iter().chain([ImageChoice::All]) {
            let image = images.image(&choice);
            if seen.insert(image.hash()) {
                look(simulated, &image, account, tally)
                    .map_err(|stop| lab.located(stop, place(&run, position, &choice), &image))?;
                tally.add("recoveries", 1);
            }
        }
    }
    tally.note(format!("at most {OUTER_IMAGES_MAX} images of an instant"));
    Ok(())
}

fn interrupt(
    simulated: Simulated<'_>,
    image: &Image,
    account: &WriteAccount,
    tally: &mut CheckTally,
) -> Result<(), CheckStop> {
    let (disk, engine, found) = simulated.read(image)?;
    drop(engine);
    // Which of the unflushed writes are there is the other check's matter.
    account
        .judge(&found, Promise::Flushed)
        .map_err(CheckStop::Failed)?;
    let recording = disk.recording();
    let mut images = recording.images();
    let mut seen = BTreeSet::from([image.hash()]);
    for position in 0..=recording.len() {
        seek(&mut images, position)?;
        let choices = images.choices(
            DiskModel::WEAKEST,
            INNER_IMAGES_MAX,
            simulated.lab.seed() ^ position,
        );
        for choice in choices {
            let image = images.image(&choice);
            if !seen.insert(image.hash()) {
                continue;
            }
            let (_, _, again) = simulated.read(&image)?;
            tally.add(INSIDE, 1);
            if let Some(what) = difference(&again, &found) {
                let place = format!(
                    "a power loss after {position} disk operations of the recovery, image {choice}, changed what is found"
                );
                return Err(simulated.lab.located(CheckStop::Failed(what), place, &image));
            }
        }
    }
    Ok(())
}

fn place(run: &RecordedRun, position: u64, choice: &ImageChoice) -> String {
    let next = run.next_operation(position);
    format!("a power loss before {next}, image {choice}")
}
