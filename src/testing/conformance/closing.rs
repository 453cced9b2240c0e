//! The orderly end of use: after `close` everything is readable, and is there in every later opening.

use super::Survives;
use super::account::{Account, Fate, Promise};
use super::kills::{opened, settle};
use super::lab::{Lab, Pairs, failed};
use super::report::{Checked, Stop, Tally};
use super::semantics::expect_all;
use super::simulated::{Simulated, new_disk};
use super::steps::{Shape, Step};
use crate::testing::sim_disk::{DiskModel, Side};

/// How many writes come before each close; there may be nothing to close.
const WRITES: [usize; 5] = [3, 0, 8, 1, 5];
/// How many images of an instant are tried in each disk model.
const IMAGES_MAX: usize = 64;

/// Reads after `close`, and openings after it.
pub(super) fn in_process(lab: &Lab) -> Checked {
    lab.require(Survives::Reopening)?;
    let mut tally = Tally::of(&["closings", "writes"]);
    let dir = lab.dir()?;
    let mut pairs = Pairs::new();
    for (round, writes_len) in WRITES.into_iter().enumerate() {
        let engine = lab.open(&dir)?;
        expect_all(
            engine.as_ref(),
            &pairs,
            &format!("closing {round} times and opening"),
        )?;
        for index in 0..writes_len {
            let step = Step::new(round * 8 + index, Shape::of(index));
            step.run(engine.as_ref())
                .map_err(|error| failed(format_args!("{step} failed"), &error))?;
            step.apply(&mut pairs);
            tally.add("writes", 1);
        }
        engine.close().map_err(|error| failed("close failed", &error))?;
        expect_all(
            engine.as_ref(),
            &pairs,
            &format!("closing with {writes_len} writes"),
        )?;
        tally.add("closings", 1);
    }
    expect_all(lab.open(&dir)?.as_ref(), &pairs, "the last closing and opening")?;
    Ok(tally)
}

/// Kills the process after `close`.
pub(super) fn then_killed(lab: &Lab) -> Checked {
    lab.require(Survives::ProcessCrash)?;
    let mut tally = Tally::of(&["kills", "acknowledged writes"]);
    let dir = lab.dir()?;
    let mut account = Account::default();
    for writes_len in WRITES {
        let mut child = opened(lab, &dir)?;
        for _ in 0..writes_len {
            let step = Step::small(account.len());
            let answer = child.write(&step)?;
            answer.map_err(|text| Stop::Failed(format!("{step} failed: {text}")))?;
            account.add(step, Fate::Acknowledged);
            tally.add("acknowledged writes", 1);
        }
        child
            .close()?
            .map_err(|text| Stop::Failed(format!("close failed: {text}")))?;
        child.kill()?;
        tally.add("kills", 1);
        settle(lab, &dir, &mut account, "a close and a kill")?;
    }
    Ok(tally)
}

/// Each image that a power loss after `close` may leave.
pub(super) fn then_power_loss(lab: &Lab) -> Checked {
    lab.require(Survives::PowerLoss)?;
    let simulated = Simulated::new(lab)?;
    let mut tally = Tally::of(&["closings", "images", "writes"]);
    let disk = new_disk();
    let mut account = Account::default();
    for writes_len in WRITES {
        let engine = simulated
            .open(&disk)
            .map_err(|error| failed("opening on a simulated disk failed", &error))?;
        for _ in 0..writes_len {
            let step = Step::small(account.len());
            step.run(engine.as_ref())
                .map_err(|error| failed(format_args!("{step} failed"), &error))?;
            account.add(step, Fate::Acknowledged);
            tally.add("writes", 1);
        }
        engine.close().map_err(|error| failed("close failed", &error))?;
        account.flushed();
        tally.add("closings", 1);
        let position = disk.operations_len();
        let recording = disk.recording();
        let mut images = recording.images();
        images
            .seek(position, Side::Before)
            .map_err(|error| failed("the recording is too short", &error))?;
        for model in DiskModel::ALL {
            for choice in images.choices(model, IMAGES_MAX, lab.seed() ^ position) {
                let image = images.image(&choice);
                let judged = simulated.judge(&image, &account, Promise::Flushed);
                judged.map_err(|stop| {
                    let say = |text| {
                        format!(
                            "a power loss after close, image {choice}: {text}{}",
                            lab.lay_out(&image)
                        )
                    };
                    stop.map(say)
                })?;
                tally.add("images", 1);
            }
        }
    }
    Ok(tally)
}
