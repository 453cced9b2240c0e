//! Crashes and failures at every file operation.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::{
    DIR, FileStore, SEED, SEGMENT_BYTES, StorePairs, apply, disk_of_image, first_cause, images, images_up_to,
    new_disk, open, operations, pairs, validate,
};
use crate::Error;
use crate::limits::Limits;
use crate::storage::{StorageEngine, WriteBatch};
use crate::testing::sim_disk::{DiskOperation, DiskOperationKind, Fault, Image, ImageChoice, Side, SimDisk};
use crate::testing::workload::Random;

/// The failure of an operation without an effect.
const FAILURE: Fault = Fault::ErrorBefore(ErrorKind::Other);

/// The most images of one crash of a recovery that are tried.
const NESTED_IMAGES_MAX: usize = 4;

/// One step of the workload.
enum StoreStep {
    Write(WriteBatch),
    Flush,
    Close,
    Reopen,
}

/// A workload that rotates, compacts, copies needed entries, discards removals and reopens.
fn workload() -> Vec<StoreStep> {
    let mut random = Random::new(SEED);
    let mut steps = Vec::new();
    for round in 0..24_u64 {
        let mut batch = WriteBatch::new();
        if round == 0 {
            batch.put("cold", vec![1; 90]);
        }
        for _ in 0..=random.below(3) {
            let key = [b'a' + random.below(5) as u8];
            if random.below(4) == 0 {
                batch.delete(key);
            } else {
                // The round makes all states different.
                let mut value = round.to_be_bytes().to_vec();
                value.resize(8 + random.below(60) as usize, round as u8);
                batch.put(key, value);
            }
        }
        if round == 12 {
            // The batch is larger than a segment, so that its compaction takes several steps.
            for key in 0..14_u8 {
                batch.put([b'z', key], vec![key; 80]);
            }
        }
        if round > 15 {
            batch.delete([b'z', round as u8 - 16]);
        }
        batch.put("round", round.to_be_bytes());
        steps.push(StoreStep::Write(batch));
        if round % 5 == 3 {
            steps.push(StoreStep::Flush);
        }
        if round % 13 == 6 {
            steps.extend([StoreStep::Close, StoreStep::Reopen]);
        }
        if round % 13 == 12 {
            steps.push(StoreStep::Reopen);
        }
    }
    steps
}

/// The states after 0, 1, 2 ... writes.
fn states(steps: &[StoreStep]) -> Vec<StorePairs> {
    let mut states = vec![StorePairs::new()];
    for step in steps {
        if let StoreStep::Write(batch) = step {
            let mut next = states[states.len() - 1].clone();
            apply(&mut next, batch);
            states.push(next);
        }
    }
    states
}

/// The progress of a run, in writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct RunProgress {
    flushed: usize,
    acknowledged: usize,
    attempted: usize,
}

/// Runs the workload to its end or to its first failure.
fn run(disk: &SimDisk, steps: &[StoreStep]) -> (RunProgress, Result<(), Error>) {
    let mut progress = RunProgress::default();
    let result = try_run(disk, steps, &mut progress);
    (progress, result)
}

fn try_run(disk: &SimDisk, steps: &[StoreStep], progress: &mut RunProgress) -> Result<(), Error> {
    let mut store = open(disk)?;
    for step in steps {
        let result = match step {
            StoreStep::Write(batch) => {
                progress.attempted = progress.acknowledged + 1;
                let result = store.write_batch(batch.clone());
                progress.acknowledged += usize::from(result.is_ok());
                result
            }
            StoreStep::Flush | StoreStep::Close => {
                let result = match step {
                    StoreStep::Flush => store.flush(),
                    _ => store.close(),
                };
                if result.is_ok() {
                    progress.flushed = progress.acknowledged;
                }
                result
            }
            StoreStep::Reopen => {
                drop(store);
                store = open(disk)?;
                progress.flushed = progress.acknowledged;
                Ok(())
            }
        };
        if let Err(error) = result {
            expect_refusals(&store, disk, &error);
            return Err(error);
        }
        validate(&store, disk, SEGMENT_BYTES);
    }
    Ok(())
}

/// After the first failure writes and flushes are refused with it, reads still work, and no file call is made.
fn expect_refusals(store: &FileStore, disk: &SimDisk, error: &Error) {
    let before = disk.operations_len();
    for refused in [
        store.put(b"late", b""),
        store.delete(b"cold"),
        store.flush(),
        store.close(),
    ] {
        let refused = refused.unwrap_err();
        assert!(matches!(refused, Error::Poisoned { .. }), "{refused}");
        let cause = refused.source().unwrap();
        assert_eq!(cause.to_string(), first_cause(error).to_string());
        assert_eq!(
            cause.source().unwrap().to_string(),
            first_cause(error).source().unwrap().to_string()
        );
    }
    assert_eq!(disk.operations_len(), before);
    assert_eq!(store.get(b"late").unwrap_or(None), None);
}

/// Opens the store after a crash. It must have the state after `least` to `most` writes. Returns the number of writes.
fn recover(disk: &SimDisk, states: &[StorePairs], least: usize, most: usize, context: &str) -> usize {
    let store = open(disk).unwrap_or_else(|error| panic!("{context}: {error}: {:?}", error.source()));
    validate(&store, disk, SEGMENT_BYTES);
    let found = pairs(&store);
    let Some(count) = states.iter().position(|state| *state == found) else {
        panic!("{context}: the pairs are not the state after any number of writes: {found:?}");
    };
    assert!(
        (least..=most).contains(&count),
        "{context}: {count} writes, not {least} to {most}"
    );
    count
}

/// The hashes of the images that were tried before, each with the least and most writes that it may hold.
#[derive(Default)]
struct TriedImages {
    /// The images of crashed recoveries: one recovery was tried.
    of_recoveries: BTreeSet<(u128, usize, usize)>,
    /// The images of crashed runs: a recovery and its crashes were tried.
    of_runs: BTreeSet<(u128, usize, usize)>,
}

/// The same disk after a restart of the process, which loses nothing and makes nothing durable.
fn after_process_crash(disk: &SimDisk) -> SimDisk {
    let mut end = disk.recording().images();
    end.seek(disk.operations_len(), Side::Before).unwrap();
    end.disk()
}

/// A crash of the device at an operation.
#[derive(Debug, Clone, Copy)]
enum DeviceCrash {
    At(Side),
    /// Half of a write takes effect.
    Halfway,
}

impl DeviceCrash {
    /// The crashes at `operation` that have different images.
    fn of(operation: &DiskOperation) -> &'static [Self] {
        match operation.kind {
            DiskOperationKind::Write => &[Self::At(Side::Before), Self::Halfway, Self::At(Side::After)],
            kind if kind.changes_disk() => &[Self::At(Side::Before), Self::At(Side::After)],
            // A read changes nothing: the images are those of the next operation.
            _ => &[],
        }
    }

    fn set(self, disk: &SimDisk, operation: &DiskOperation) {
        match self {
            Self::At(side) => disk.crash_at(operation.ordinal, side),
            Self::Halfway => {
                disk.fail_operation(operation.ordinal, half(operation));
                disk.crash_at(operation.ordinal + 1, Side::Before);
            }
        }
    }
}

/// The failure of an operation. Half of a write takes effect.
fn half(operation: &DiskOperation) -> Fault {
    match operation.kind {
        DiskOperationKind::Write => Fault::ErrorMidway(operation.len as usize / 2, ErrorKind::Other),
        _ => FAILURE,
    }
}

/// The operations of `run` on a disk.
fn recorded(disk: &SimDisk, run: impl FnOnce(&SimDisk)) -> Vec<DiskOperation> {
    let before = disk.operations_len() as usize;
    run(disk);
    disk.recording().operations().skip(before).cloned().collect()
}

/// Recovers from `image`. Then crashes that recovery at every operation, and recovers from the images of each crash.
fn recover_and_crash_recovery(
    image: &Image,
    states: &[StorePairs],
    least: usize,
    most: usize,
    context: &str,
    tried_images: &mut TriedImages,
) {
    if !tried_images.of_runs.insert((image.hash(), least, most)) {
        return;
    }
    let whole = disk_of_image(image);
    let opening = recorded(&whole, |disk| drop(open(disk)));
    let count = recover(&whole, states, least, most, context);
    for operation in &opening {
        for crash in DeviceCrash::of(operation) {
            let disk = disk_of_image(image);
            crash.set(&disk, operation);
            open(&disk).unwrap_err();
            for again in images_up_to(&disk, NESTED_IMAGES_MAX) {
                if tried_images.of_recoveries.insert((again.hash(), count, count)) {
                    let context = format!("{context}, then {crash:?} at {operation}");
                    recover(&disk_of_image(&again), states, count, count, &context);
                }
            }
        }
    }
}

/// Restarts the process, and crashes the open at every operation. A power loss after it must leave no fewer writes than
/// one before it.
fn crash_open_after_restart(
    disk: &SimDisk,
    states: &[StorePairs],
    progress: RunProgress,
    context: &str,
    tried_images: &mut TriedImages,
) {
    let RunProgress {
        flushed, attempted, ..
    } = progress;
    let mut end = disk.recording().images();
    end.seek(disk.operations_len(), Side::Before).unwrap();
    for operation in &recorded(&end.disk(), |disk| drop(open(disk).unwrap())) {
        for crash in DeviceCrash::of(operation) {
            let disk = end.disk();
            crash.set(&disk, operation);
            open(&disk).unwrap_err();
            for image in images_up_to(&disk, NESTED_IMAGES_MAX) {
                if tried_images
                    .of_recoveries
                    .insert((image.hash(), flushed, attempted))
                {
                    let context = format!("{context}, restart, then {crash:?} at {operation}");
                    recover(&disk_of_image(&image), states, flushed, attempted, &context);
                }
            }
        }
    }
}

#[test]
fn an_error_of_any_operation_names_the_path_ends_writing_and_loses_no_acknowledged_write() {
    let steps = workload();
    let states = states(&steps);
    let recording = new_disk();
    run(&recording, &steps).1.unwrap();
    for operation in recording.recording().operations() {
        let context = format!("failure of {operation}");
        let disk = new_disk();
        disk.fail_operation(operation.ordinal, half(operation));
        let (progress, result) = run(&disk, &steps);
        let error = result.unwrap_err();
        let Error::Io {
            operation: operation_name,
            path,
            ..
        } = first_cause(&error)
        else {
            panic!("{context}: {error}");
        };
        assert_eq!(operation.path.as_ref(), path.as_path(), "{context}: {error}");
        assert!(!operation_name.is_empty());
        let RunProgress {
            flushed,
            acknowledged,
            attempted,
        } = progress;
        let restarted = after_process_crash(&disk);
        recover(&restarted, &states, acknowledged, attempted, &context);
        for image in images(&disk) {
            recover(&disk_of_image(&image), &states, flushed, attempted, &context);
        }
    }
}

#[test]
fn a_batch_that_several_calls_write_is_recovered_whole_or_not_recovered() {
    let mut batch = WriteBatch::new();
    for key in 0..9_u8 {
        batch.put([key], vec![key; Limits::default().store_write_bytes / 3]);
    }
    let steps = [
        StoreStep::Write(WriteBatch::new()),
        StoreStep::Write(batch),
        StoreStep::Flush,
    ];
    let mut states = states(&steps);
    states.remove(0);
    let recording = new_disk();
    run(&recording, &steps).1.unwrap();
    let writes = operations(&recording)
        .into_iter()
        .filter(|operation| *operation == format!("write {}", super::path(1).display()));
    assert_eq!(writes.count(), 3);
    for operation in recording.recording().operations() {
        for crash in DeviceCrash::of(operation) {
            let disk = new_disk();
            crash.set(&disk, operation);
            let flushed = usize::from(run(&disk, &steps).1.is_ok());
            for image in images(&disk) {
                let context = format!("{crash:?} at {operation}");
                recover(&disk_of_image(&image), &states, flushed, 1, &context);
            }
        }
    }
}

#[test]
fn after_a_failed_read_later_reads_and_writes_succeed() {
    let disk = new_disk();
    let store = open(&disk).unwrap();
    store.put(b"key", b"value").unwrap();
    disk.fail_operation(disk.operations_len(), FAILURE);
    let error = store.get(b"key").unwrap_err();
    assert!(
        matches!(&error, Error::Io { operation: "read", path, .. } if *path == super::path(1)),
        "{error}"
    );
    assert_eq!(store.get(b"key").unwrap().as_deref(), Some(b"value".as_slice()));
    store.put(b"key", b"other").unwrap();
    assert_eq!(store.get(b"key").unwrap().as_deref(), Some(b"other".as_slice()));
}

#[test]
fn after_a_panic_in_a_write_later_writes_are_refused_and_reads_continue() {
    let disk = new_disk();
    let store = open(&disk).unwrap();
    store.put(b"key", b"value").unwrap();
    disk.fail_operation(disk.operations_len(), Fault::Panic(Side::Before));
    catch_unwind(AssertUnwindSafe(|| store.put(b"key", b"other"))).unwrap_err();
    for refused in [store.put(b"key", b"third"), store.flush()] {
        let refused = refused.unwrap_err();
        assert!(
            matches!(first_cause(&refused), Error::Panicked { .. }),
            "{refused}"
        );
    }
    assert_eq!(store.get(b"key").unwrap().as_deref(), Some(b"value".as_slice()));
    drop(store);
    assert_eq!(
        open(&disk).unwrap().get(b"key").unwrap().as_deref(),
        Some(b"value".as_slice())
    );
}

#[test]
fn a_flushed_value_survives_a_power_loss_also_if_the_first_open_failed_at_any_operation() {
    // The second open found the directory and did not sync its name, which a power loss then removed.
    let operations_len = {
        let disk = new_disk();
        open(&disk).unwrap();
        disk.operations_len()
    };
    let mut lost_names_len = 0;
    for at in 0..operations_len {
        let disk = new_disk();
        disk.fail_from(at, FAILURE);
        open(&disk).unwrap_err();
        disk.clear_faults();
        let [now, after_power_loss] = [ImageChoice::All, ImageChoice::Synced]
            .map(|choice| disk.image(&choice).dirs().any(|dir| dir == Path::new(DIR)));
        lost_names_len += u64::from(now && !after_power_loss);
        let store = open(&disk).unwrap();
        store.put(b"key", b"value").unwrap();
        store.flush().unwrap();
        drop(store);
        let store = open(&disk_of_image(&disk.image(&ImageChoice::Synced))).unwrap();
        assert_eq!(
            store.get(b"key").unwrap().as_deref(),
            Some(b"value".as_slice()),
            "failed at {at}"
        );
    }
    assert!(lost_names_len > 0);
}

/// Tests of more than a second, which the quick set leaves out.
mod full {
    use super::*;

    #[test]
    fn a_crash_at_any_operation_loses_no_acknowledged_write_and_a_power_loss_no_flushed_write() {
        let steps = workload();
        let states = states(&steps);
        let recording = new_disk();
        let (progress, result) = run(&recording, &steps);
        result.unwrap();
        assert_eq!(progress.acknowledged, states.len() - 1);
        let recording = recording.recording();
        let removals = recording
            .operations()
            .filter(|operation| operation.kind == DiskOperationKind::Remove);
        let removed = removals.count();
        assert!(
            removed > 8,
            "the workload does not compact enough: {removed} removals"
        );
        assert!(
            states.iter().collect::<BTreeSet<_>>().len() == states.len(),
            "states repeat"
        );

        let mut tried_images = TriedImages::default();
        for operation in recording.operations() {
            for crash in DeviceCrash::of(operation) {
                let context = format!("{crash:?} at {operation}");
                let disk = new_disk();
                crash.set(&disk, operation);
                let (progress, result) = run(&disk, &steps);
                result.unwrap_err();
                let RunProgress {
                    flushed,
                    acknowledged,
                    attempted,
                } = progress;

                // The process restarts. A later power loss must leave the state that the restart recovers.
                let restarted = after_process_crash(&disk);
                let count = recover(&restarted, &states, acknowledged, attempted, &context);
                crash_open_after_restart(&disk, &states, progress, &context, &mut tried_images);
                for image in images(&restarted) {
                    let context = format!("{context}, restart, power loss");
                    recover_and_crash_recovery(&image, &states, count, count, &context, &mut tried_images);
                }
                for image in images(&disk) {
                    recover_and_crash_recovery(
                        &image,
                        &states,
                        flushed,
                        attempted,
                        &context,
                        &mut tried_images,
                    );
                }
            }
        }
        println!(
            "{} operations, {} images, {} of recoveries",
            recording.len(),
            tried_images.of_runs.len(),
            tried_images.of_recoveries.len()
        );
    }
}
