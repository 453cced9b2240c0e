//! The orderly end of use: after `close` all content is readable, and it is present in every later opening.

use super::Survives;
use super::context::{CheckContext, CheckedCall};
use super::engine_with_map::EngineWithMap;
use super::kills::kill_after;
use super::parent::EngineChild;
use super::report::{CheckResult, CheckTally};
use super::simulated::{SimulatedEngine, new_disk, seek};
use super::write_history::{Promise, WriteHistory};
use super::writes::MarkedWrite;
use crate::testing::sim_disk::DiskModel;

/// The number of writes before each close. Zero tests a close without new writes.
const WRITES: [usize; 5] = [3, 0, 8, 1, 5];
/// The largest number of images of one crash position that are tried in each disk model.
const IMAGES_MAX: usize = 64;

/// Checks reads after `close`, and openings after it.
pub(super) fn reads_and_reopenings(context: &CheckContext) -> CheckResult {
    context.require(Survives::Reopening)?;
    let mut tally = CheckTally::of(&["closings", "writes"]);
    let mut store = EngineWithMap::new(context)?;
    for (round, writes_len) in WRITES.into_iter().enumerate() {
        for index in 0..writes_len {
            store.run(&MarkedWrite::small(round * 8 + index))?;
            tally.add("writes", 1);
        }
        store.engine.close().or_fail("close")?;
        store.expect_all(&format!("closing with {writes_len} writes"))?;
        tally.add("closings", 1);
        store = store.reopen(&format!("closing {} times and opening", round + 1))?;
    }
    Ok(tally)
}

/// Checks the content after a kill of the process after `close`.
pub(super) fn kill_after_close(context: &CheckContext) -> CheckResult {
    let work = |child: &mut EngineChild, writes_len, history: &mut WriteHistory| {
        child.must_write(writes_len, history)?;
        child.call("close")?.or_fail("close")
    };
    kill_after(context, &WRITES, "a close and", work)
}

/// Checks each image that a power loss after `close` may leave.
pub(super) fn power_loss_after_close(context: &CheckContext) -> CheckResult {
    context.require(Survives::PowerLoss)?;
    let simulated = SimulatedEngine::new(context)?;
    let mut tally = CheckTally::of(&["closings", "images", "writes"]);
    let disk = new_disk();
    let mut history = WriteHistory::default();
    for writes_len in WRITES {
        let engine = simulated.open(&disk).or_fail("opening on a simulated disk")?;
        for _ in 0..writes_len {
            let write = MarkedWrite::small(history.len());
            let result = write.run(engine.as_ref());
            history.add_result(write.clone(), &result);
            result.or_fail(write)?;
            tally.add("writes", 1);
        }
        engine.close().or_fail("close")?;
        history.flushed();
        tally.add("closings", 1);
        let position = disk.operations_len();
        let recording = disk.recording();
        let mut images = recording.images();
        seek(&mut images, position)?;
        for &model in DiskModel::EVERY_IMAGE {
            for choice in images.choices(model, IMAGES_MAX, context.seed() ^ position) {
                let image = images.image(&choice);
                let place = || format!("a power loss after close, image {choice}");
                simulated.check_image(&image, &history, Promise::Flushed, place)?;
                tally.add("images", 1);
            }
        }
    }
    Ok(tally)
}
