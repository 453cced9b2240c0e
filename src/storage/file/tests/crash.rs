//! Crashes and failures at every single file operation.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use super::super::format::PIECE_BYTES;
use super::disk::{Content, Disk, Fault};
use super::{DIR, FileStore, Pairs, SEGMENT_BYTES, apply, first_cause, open, options, pairs, validate};
use crate::Error;
use crate::storage::{StorageEngine, WriteBatch};
use crate::testing::sim_disk::{self, Image, ImageChoice, SimDisk};
use crate::testing::workload::Random;

/// One step of the workload.
enum Step {
    Write(WriteBatch),
    Flush,
    Close,
    Reopen,
}

/// A workload that rotates, compacts, moves live data, drops removals and reopens.
fn workload() -> Vec<Step> {
    let mut random = Random::new(0x5eed);
    let mut steps = Vec::new();
    for round in 0..34_u64 {
        let mut batch = WriteBatch::new();
        if round == 0 {
            batch.put("kept", vec![1; 90]);
        }
        for _ in 0..=random.below(3) {
            let key = [b'a' + random.below(5) as u8];
            if random.below(4) == 0 {
                batch.delete(key);
            } else {
                // The round makes every state a different one.
                let mut value = round.to_be_bytes().to_vec();
                value.resize(8 + random.below(60) as usize, round as u8);
                batch.put(key, value);
            }
        }
        if round == 18 {
            // Larger than a segment, so that cleaning its file takes several records.
            for key in 0..14_u8 {
                batch.put([b'z', key], vec![key; 80]);
            }
        }
        if round > 24 {
            batch.delete([b'z', round as u8 - 25]);
        }
        batch.put("round", round.to_be_bytes());
        steps.push(Step::Write(batch));
        if round % 5 == 3 {
            steps.push(Step::Flush);
        }
        if round % 13 == 6 {
            steps.extend([Step::Close, Step::Reopen]);
        }
        if round % 13 == 12 {
            steps.push(Step::Reopen);
        }
    }
    steps
}

/// The states after 0, 1, 2 ... writes.
fn states(steps: &[Step]) -> Vec<Pairs> {
    let mut states = vec![Pairs::new()];
    for step in steps {
        if let Step::Write(batch) = step {
            let mut next = states[states.len() - 1].clone();
            apply(&mut next, batch);
            states.push(next);
        }
    }
    states
}

/// How far a run came, in writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Progress {
    flushed: usize,
    acknowledged: usize,
    attempted: usize,
}

/// Runs the workload until something fails.
fn run(disk: &Disk, steps: &[Step]) -> (Progress, Result<(), Error>) {
    let mut progress = Progress::default();
    let result = try_run(disk, steps, &mut progress);
    (progress, result)
}

fn try_run(disk: &Disk, steps: &[Step], progress: &mut Progress) -> Result<(), Error> {
    let mut store = open(disk)?;
    for step in steps {
        let result = match step {
            Step::Write(batch) => {
                progress.attempted = progress.acknowledged + 1;
                let result = store.write_batch(batch.clone());
                progress.acknowledged += usize::from(result.is_ok());
                result
            }
            Step::Flush | Step::Close => {
                let result = match step {
                    Step::Flush => store.flush(),
                    _ => store.close(),
                };
                if result.is_ok() {
                    progress.flushed = progress.acknowledged;
                }
                result
            }
            Step::Reopen => {
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
fn expect_refusals(store: &FileStore, disk: &Disk, error: &Error) {
    let before = disk.operations().len();
    for refused in [
        store.put(b"late", b""),
        store.delete(b"kept"),
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
    assert_eq!(disk.operations().len(), before);
    assert_eq!(store.get(b"late").unwrap_or(None), None);
}

/// Opens what a crash left; it must be a state between `least` and `most` writes. Returns which.
fn recover(disk: &Disk, states: &[Pairs], least: usize, most: usize, context: &str) -> usize {
    let store = open(disk).unwrap_or_else(|error| panic!("{context}: {error}: {:?}", error.source()));
    validate(&store, disk, SEGMENT_BYTES);
    let found = pairs(&store);
    let Some(count) = states.iter().position(|state| *state == found) else {
        panic!("{context}: not a state after whole writes: {found:?}");
    };
    assert!(
        (least..=most).contains(&count),
        "{context}: {count} writes, not {least} to {most}"
    );
    count
}

/// What was looked at before: images and the least and most writes they may hold.
#[derive(Default)]
struct Seen {
    once: BTreeSet<(Content, usize, usize)>,
    twice: BTreeSet<(Content, usize, usize)>,
}

/// The crashes at `operation` that differ in what they leave.
fn crashes_at(operation: &str) -> &'static [Fault] {
    match operation.split(' ').next() {
        Some("write") => &[Fault::CrashBefore, Fault::CrashHalfway, Fault::CrashAfter],
        Some("list" | "open" | "len" | "read") => &[Fault::CrashBefore],
        _ => &[Fault::CrashBefore, Fault::CrashAfter],
    }
}

/// Recovers from `image`, then crashes that recovery at every operation and recovers again from what that
/// leaves.
fn recover_twice(
    image: &Content,
    states: &[Pairs],
    least: usize,
    most: usize,
    context: &str,
    seen: &mut Seen,
) {
    if !seen.twice.insert((image.clone(), least, most)) {
        return;
    }
    let whole = Disk::with(image);
    drop(open(&whole));
    let operations = whole.operations();
    let count = recover(&whole, states, least, most, context);
    for (at, operation) in operations.iter().enumerate() {
        for &fault in crashes_at(operation) {
            let disk = Disk::with(image);
            disk.strike(at, fault);
            open(&disk).unwrap_err();
            for again in disk.images() {
                if seen.once.insert((again.clone(), count, count)) {
                    let context = format!("{context}, then {fault:?} at {at}");
                    recover(&Disk::with(&again), states, count, count, &context);
                }
            }
        }
    }
}

/// Crashes the open after a restart of the process at every operation; a power loss then leaves no less than before.
fn crash_the_restart(disk: &Disk, states: &[Pairs], progress: Progress, context: &str, seen: &mut Seen) {
    let Progress {
        flushed, attempted, ..
    } = progress;
    let whole = disk.after_process_crash();
    drop(open(&whole).unwrap());
    for (at, operation) in whole.operations().iter().enumerate() {
        for &fault in crashes_at(operation) {
            let disk = disk.after_process_crash();
            disk.strike(at, fault);
            open(&disk).unwrap_err();
            for image in disk.images() {
                if seen.once.insert((image.clone(), flushed, attempted)) {
                    let context = format!("{context}, restart, then {fault:?} at {at}");
                    recover(&Disk::with(&image), states, flushed, attempted, &context);
                }
            }
        }
    }
}

#[test]
fn a_failure_of_any_operation_names_path_and_operation_ends_writing_and_loses_nothing_acknowledged() {
    let steps = workload();
    let states = states(&steps);
    let recording = Disk::new();
    run(&recording, &steps).1.unwrap();
    for (at, operation) in recording.operations().iter().enumerate() {
        let context = format!("failure of operation {at}, {operation}");
        let disk = Disk::new();
        disk.strike(at, Fault::Fail);
        let (progress, result) = run(&disk, &steps);
        let error = result.unwrap_err();
        let Error::Io {
            operation: doing,
            path,
            ..
        } = first_cause(&error)
        else {
            panic!("{context}: {error}");
        };
        assert!(
            operation.ends_with(&path.display().to_string()),
            "{context}: {error}"
        );
        assert!(!doing.is_empty());
        let Progress {
            flushed,
            acknowledged,
            attempted,
        } = progress;
        let restarted = disk.after_process_crash();
        recover(&restarted, &states, acknowledged, attempted, &context);
        for image in disk.images() {
            recover(&Disk::with(&image), &states, flushed, attempted, &context);
        }
    }
}

#[test]
fn a_batch_written_in_pieces_is_there_wholly_or_not_at_all() {
    let mut batch = WriteBatch::new();
    for key in 0..9_u8 {
        batch.put([key], vec![key; PIECE_BYTES / 3]);
    }
    let steps = [Step::Write(WriteBatch::new()), Step::Write(batch), Step::Flush];
    let mut states = states(&steps);
    states.remove(0);
    let recording = Disk::new();
    run(&recording, &steps).1.unwrap();
    let operations = recording.operations();
    let pieces = operations
        .iter()
        .filter(|operation| **operation == format!("write {}", super::path(1).display()));
    assert_eq!(pieces.count(), 3);
    for (at, operation) in operations.iter().enumerate() {
        for &fault in crashes_at(operation) {
            let disk = Disk::new();
            disk.strike(at, fault);
            let flushed = usize::from(run(&disk, &steps).1.is_ok());
            for image in disk.images() {
                recover(
                    &Disk::with(&image),
                    &states,
                    flushed,
                    1,
                    &format!("{fault:?} at {at}, {operation}"),
                );
            }
        }
    }
}

#[test]
fn a_failed_read_fails_that_read_alone() {
    let disk = Disk::new();
    let store = open(&disk).unwrap();
    store.put(b"key", b"value").unwrap();
    disk.strike(disk.operations().len(), Fault::Fail);
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
fn after_a_panic_inside_a_write_every_later_write_is_refused_and_reads_go_on() {
    let disk = Disk::new();
    let store = open(&disk).unwrap();
    store.put(b"key", b"value").unwrap();
    disk.strike(disk.operations().len(), Fault::Panic);
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
fn a_flushed_value_outlasts_a_power_loss_also_if_the_first_open_ended_at_any_operation() {
    // The second open found the directory and left its name to a power loss.
    const FAILURE: sim_disk::Fault = sim_disk::Fault::ErrorBefore(ErrorKind::Other);
    let mut parent = Image::new();
    parent.insert_dir("/db");
    let open = |disk: &SimDisk| FileStore::open(Arc::new(disk.clone()), DIR, &options());
    let operations_len = {
        let disk = SimDisk::from_image(&parent);
        open(&disk).unwrap();
        disk.operations_len()
    };
    let mut with_a_lost_name = 0;
    for at in 0..operations_len {
        let disk = SimDisk::from_image(&parent);
        disk.fail_from(at, FAILURE);
        open(&disk).unwrap_err();
        disk.clear_faults();
        let [now, after_power_loss] = [ImageChoice::All, ImageChoice::Synced]
            .map(|choice| disk.image(&choice).dirs().any(|dir| dir == Path::new(DIR)));
        with_a_lost_name += u64::from(now && !after_power_loss);
        let store = open(&disk).unwrap();
        store.put(b"key", b"value").unwrap();
        store.flush().unwrap();
        drop(store);
        let store = open(&SimDisk::from_image(&disk.image(&ImageChoice::Synced))).unwrap();
        assert_eq!(
            store.get(b"key").unwrap().as_deref(),
            Some(b"value".as_slice()),
            "ended at {at}"
        );
    }
    assert!(with_a_lost_name > 0);
}

/// Tests of more than a second, which the quick set leaves out.
mod full {
    use super::*;

    #[test]
    fn a_crash_at_any_operation_loses_nothing_acknowledged_and_a_power_loss_nothing_flushed() {
        let steps = workload();
        let states = states(&steps);
        let recording = Disk::new();
        let (progress, result) = run(&recording, &steps);
        result.unwrap();
        assert_eq!(progress.acknowledged, states.len() - 1);
        let operations = recording.operations();
        let removed = operations
            .iter()
            .filter(|operation| operation.starts_with("remove"))
            .count();
        assert!(
            removed > 8,
            "the workload does not compact enough: {removed} removals"
        );
        assert!(
            states.iter().collect::<BTreeSet<_>>().len() == states.len(),
            "states repeat"
        );

        let mut seen = Seen::default();
        for (at, operation) in operations.iter().enumerate() {
            for &fault in crashes_at(operation) {
                let context = format!("{fault:?} at operation {at}, {operation}");
                let disk = Disk::new();
                disk.strike(at, fault);
                let (progress, result) = run(&disk, &steps);
                result.unwrap_err();
                let Progress {
                    flushed,
                    acknowledged,
                    attempted,
                } = progress;

                // The process restarts; what it then finds is what a later power loss must leave.
                let restarted = disk.after_process_crash();
                let count = recover(&restarted, &states, acknowledged, attempted, &context);
                crash_the_restart(&disk, &states, progress, &context, &mut seen);
                for image in restarted.images() {
                    let context = format!("{context}, restart, power loss");
                    recover_twice(&image, &states, count, count, &context, &mut seen);
                }
                for image in disk.images() {
                    recover_twice(&image, &states, flushed, attempted, &context, &mut seen);
                }
            }
        }
        println!("{} operations, {} images", operations.len(), seen.twice.len());
    }
}
