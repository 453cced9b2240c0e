//! The inputs with which a fuzzer begins. Inputs that are files or values come from a real database after the standard
//! workload, with a checkpoint.

use std::path::Path;

use super::database::{self, SEGMENT, StoredPairs, content, new_store, open_with, pairs_of};
use super::{from_bytes, repair};
use crate::storage::{MemoryStore, StorageEngine};
use crate::testing::plan::Plan;
use crate::testing::workload::Workload;
use crate::testing::{CrashPoint, SimDisk};
use crate::wal::segment::SEGMENT_HEADER_BYTES;

const SEED: u64 = 7;
const OPERATIONS: usize = 40;

/// The pairs of the storage engine after a checkpoint, and the segment before it.
fn used_database() -> (StoredPairs, Vec<u8>) {
    let (disk, store) = (SimDisk::new(), MemoryStore::new());
    let db = open_with(&disk, &store).expect("a new database opens");
    for operation in &Workload::standard(SEED, OPERATIONS).operations {
        operation
            .apply_or_refuse(&db)
            .expect("an operation on a sound disk succeeds");
    }
    let segment = content(&disk).file(Path::new(SEGMENT)).map(<[u8]>::to_vec);
    db.checkpoint().expect("a checkpoint on a sound disk succeeds");
    (pairs_of(&store), segment.unwrap_or_default())
}

fn segment() -> Vec<u8> {
    used_database().1
}

/// The pairs whose keys have this prefix, without the seals of their values.
fn unsealed(prefix: &[u8]) -> StoredPairs {
    let pairs = used_database().0.into_iter();
    pairs
        .filter(|(key, _)| key.starts_with(prefix))
        .map(|(key, value)| (key, value[..value.len() - 4].to_vec()))
        .collect()
}

pub(super) fn values(prefix: &[u8]) -> Vec<Vec<u8>> {
    unsealed(prefix).into_iter().map(|(_, value)| value).collect()
}

/// The first page of each shard. Any other page needs the pages before it.
pub(super) fn pages(prefix: &[u8]) -> Vec<Vec<u8>> {
    let first = unsealed(prefix)
        .into_iter()
        .filter(|(key, _)| key.ends_with(&[0; 4]));
    first
        .map(|(key, value)| [&key[prefix.len()..], &value].concat())
        .collect()
}

pub(super) fn pairs(prefixes: &[&[u8]]) -> Vec<Vec<u8>> {
    let pairs: Vec<_> = prefixes.iter().flat_map(|prefix| unsealed(prefix)).collect();
    vec![repair::from_pairs(&pairs)]
}

pub(super) fn segment_header() -> Vec<Vec<u8>> {
    vec![segment()[..SEGMENT_HEADER_BYTES].to_vec()]
}

pub(super) fn frame() -> Vec<Vec<u8>> {
    let repaired = frames(&segment()).into_iter().map(|frame| repair::frame(&frame));
    repaired.filter(|frame| from_bytes::frame(frame)).collect()
}

pub(super) fn events() -> Vec<Vec<u8>> {
    let frames = frames(&segment()).into_iter().filter(|frame| frame[4] == 1);
    frames.map(|frame| frame[32..].to_vec()).collect()
}

/// A segment with a few frames and one with all, if the decoder accepts them. Repair gives a segment new sequence
/// numbers, so a checkpoint marker in it can need a checkpoint that the store lacks.
pub(super) fn log() -> Vec<Vec<u8>> {
    let (segment, frames) = (segment(), frames(&segment()));
    let first_frames = |len: usize| {
        let frames_bytes: usize = frames.iter().take(len).map(Vec::len).sum();
        segment[..SEGMENT_HEADER_BYTES + frames_bytes].to_vec()
    };
    let segments = [first_frames(6), first_frames(frames.len())].into_iter();
    segments.filter(|bytes| database::log(bytes)).collect()
}

/// The file of a store with a few records.
pub(super) fn store() -> Vec<Vec<u8>> {
    let disk = SimDisk::new();
    let store = new_store(&disk, 4096).expect("a new store opens");
    for round in 0..6_u8 {
        store
            .put(&[round % 4; 3], &[round; 20])
            .expect("a sound disk accepts writes");
    }
    store.delete(&[1; 3]).expect("a sound disk accepts writes");
    store.flush().expect("a sound disk syncs");
    vec![
        content(&disk)
            .file(Path::new(database::STORE_FILE))
            .unwrap_or_default()
            .to_vec(),
    ]
}

pub(super) fn plan() -> Vec<Vec<u8>> {
    let plan = Plan::standard(SEED, OPERATIONS).crash_at(CrashPoint::WalPreAggregate, 3);
    let other = Plan::operations(Workload::standard(SEED, 5)).crash_at(CrashPoint::CoEngagementUpdate, 0);
    let images = ["drop:7,900=2o3n", "prefix:3=3n1g", "only:4", "random:5"].into_iter();
    let images = images.map(|image| {
        let crash = format!("crash=disk#5:after mode=power-loss:{image}");
        format!("work=driven:a%20b durability=synced-every:5 {crash}")
    });
    let plans = [plan.replay_line(), other.replay_line()].into_iter();
    plans.chain(images).map(String::into_bytes).collect()
}

pub(super) fn workload() -> Vec<Vec<u8>> {
    vec![Workload::standard(SEED, OPERATIONS).to_string().into_bytes()]
}

pub(super) fn event_file() -> Vec<Vec<u8>> {
    [
        "at_ms,signal,entity,user\n1700000000000,view,7,42\n1700000000500,like,7,\n",
        "# a comment\nat_ms\tsignal\tentity\tuser\tweight\tcohorts\n1700000000000\tview\t7\t42\t2.5\t1;2\n",
        "1700000000000,view,7,42\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// The frames of a segment.
fn frames(segment: &[u8]) -> Vec<Vec<u8>> {
    let (mut frames, mut at) = (Vec::new(), SEGMENT_HEADER_BYTES);
    while let Some(len) = segment.get(at..).and_then(|bytes| bytes.first_chunk()) {
        let len = u32::from_le_bytes(*len) as usize;
        let Some(frame) = segment.get(at..at + 32 + len).filter(|_| len > 0) else {
            break;
        };
        frames.push(frame.to_vec());
        at += frame.len();
    }
    frames
}
