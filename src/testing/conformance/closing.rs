//! The orderly end of use: after `close` everything is readable, and is there in every later opening.

use super::Survives;
use super::account::{Promise, WriteAccount};
use super::kills::kill_after;
use super::lab::{Lab, OrFail};
use super::mirrored::Mirrored;
use super::parent::EngineChild;
use super::report::{CheckResult, CheckTally};
use super::simulated::{Simulated, new_disk, seek};
use super::steps::MarkedWrite;
use crate::testing::sim_disk::DiskModel;

/// How many writes come before each close; there may be nothing to close.
const WRITES: [usize; 5] = [3, 0, 8, 1, 5];
/// How many images of an instant are tried in each disk model.
const IMAGES_MAX: usize = 64;

/// Reads after `close`, and openings after it.
pub(super) fn in_process(lab: &Lab) -> CheckResult {
    lab.require(Survives::Reopening)?;
    let mut tally = CheckTally::of(&["closings", "writes"]);
    let mut it = Mirrored::new(lab)?;
    for (round, writes_len) in WRITES.into_iter().enumerate() {
        for index in 0..writes_len {
            it.run(&MarkedWrite::small(round * 8 + index))?;
            tally.add("writes", 1);
        }
        it.engine.close().or_fail("close")?;
        it.expect_all(&format!("closing with {writes_len} writes"))?;
        tally.add("closings", 1);
        it = it.reopen(&format!("closing {} times and opening", round + 1))?;
    }
    Ok(tally)
}

/// Kills the process after `close`.
pub(super) fn then_killed(lab: &Lab) -> CheckResult {
    let work = |child: &mut EngineChild, writes_len, account: &mut WriteAccount| {
        child.must_write(writes_len, account)?;
        child.call("close")?.or_fail("close")
    };
    kill_after(lab, &WRITES, "a close and", work)
}

/// Each image that a power loss after `close` may leave.
pub(super) fn then_power_loss(lab: &Lab) -> CheckResult {
    lab.require(Survives::PowerLoss)?;
    let simulated = Simulated::new(lab)?;
    let mut tally = CheckTally::of(&["closings", "images", "writes"]);
    let disk = new_disk();
    let mut account = WriteAccount::default();
    for writes_len in WRITES {
        let engine = simulated.open(&disk).or_fail("opening on a simulated disk")?;
        for _ in 0..writes_len {
            let step = MarkedWrite::small(account.len());
            let result = step.run(engine.as_ref());
            account.add_result(step.clone(), &result);
            result.or_fail(step)?;
            tally.add("writes", 1);
        }
        engine.close().or_fail("close")?;
        account.flushed();
        tally.add("closings", 1);
        let position = disk.operations_len();
        let recording = disk.recording();
        let mut images = recording.images();
        seek(&mut images, position)?;
        for &model in DiskModel::EVERY_IMAGE {
            for choice in images.choices(model, IMAGES_MAX, lab.seed() ^ position) {
                let image = images.image(&choice);
                let place = || format!("a power loss after close, image {choice}");
                simulated.judge(&image, &account, Promise::Flushed, place)?;
                tally.add("images", 1);
            }
        }
    }
    Ok(tally)
}
