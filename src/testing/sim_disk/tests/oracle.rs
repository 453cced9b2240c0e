//! Compares the images of random workloads with a naive oracle, which tries every fate of every operation of the run.
//! Also compares the images of a recording with the images of runs in which the device failed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Op, disk_with_sectors, path};
use crate::testing::sim_disk::{DiskModel, DiskOperationKind, Image, ImageChoice, Piece, Side, SimDisk};
use crate::testing::workload::Random;

const SEED: u64 = 0x7469_6461_6c00_0001;
const SECTOR_BYTES: u32 = 2;

const FILES: [&str; 4] = ["/a", "/b", "/d/a", "/d/b"];

fn random_op(random: &mut Random) -> Op<'static> {
    let file = FILES[random.below(4) as usize];
    match random.below(12) {
        0..=3 => Op::Create(file),
        4..=6 => {
            let len = 1 + random.below(3);
            let byte = 1 + random.below(200) as u8;
            Op::Write(
                file,
                random.below(4),
                (0..len).map(|index| byte + index as u8).collect(),
            )
        }
        7 => Op::Sync(file),
        8 | 9 => Op::Rename(file, FILES[random.below(4) as usize]),
        10 => Op::Remove(file),
        _ => Op::SyncDir(["/", "/d"][random.below(2) as usize]),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NaiveNode {
    Dir,
    File(usize),
}

/// An operation of a workload with an effect on the images of a crash.
#[derive(Debug, Clone)]
enum NaiveEvent {
    Names(Vec<(&'static str, Option<NaiveNode>)>),
    Write(usize, u64, Vec<u8>),
    Truncation(usize),
    Sync(usize),
    SyncDir(&'static str),
}

fn parent(path: &'static str) -> &'static str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(at) => &path[..at],
    }
}

type NaiveNames = BTreeMap<&'static str, NaiveNode>;

fn set_names(names: &mut NaiveNames, changed: &[(&'static str, Option<NaiveNode>)]) {
    for (name, node) in changed {
        match node {
            Some(node) => names.insert(name, *node),
            None => names.remove(name),
        };
    }
}

/// The events of a workload, without the operations that fail.
fn events(ops: &[Op<'static>]) -> Vec<NaiveEvent> {
    let mut visible = NaiveNames::from([("/", NaiveNode::Dir)]);
    let mut events = Vec::new();
    for op in ops {
        let has_parent = |name: &&'static str| visible.contains_key(parent(name));
        let file = |name: &str| match visible.get(name) {
            Some(NaiveNode::File(file)) => Some(*file),
            _ => None,
        };
        let event = match op {
            Op::Write(name, offset, bytes) => {
                file(name).map(|file| NaiveEvent::Write(file, *offset, bytes.clone()))
            }
            Op::Sync(name) => file(name).map(NaiveEvent::Sync),
            Op::SyncDir(dir) => visible.get(dir).map(|_| NaiveEvent::SyncDir(dir)),
            Op::Create(name) if visible.contains_key(name) => file(name).map(NaiveEvent::Truncation),
            // The number of the event identifies the file.
            Op::Create(name) if has_parent(name) => Some(NaiveEvent::Names(vec![(
                *name,
                Some(NaiveNode::File(events.len())),
            )])),
            Op::Mkdir(name) if has_parent(name) && !visible.contains_key(name) => {
                Some(NaiveEvent::Names(vec![(*name, Some(NaiveNode::Dir))]))
            }
            Op::Remove(name) => file(name).map(|_| NaiveEvent::Names(vec![(*name, None)])),
            Op::Rename(from, to) if from != to && has_parent(to) => file(from)
                .map(|file| NaiveEvent::Names(vec![(*from, None), (*to, Some(NaiveNode::File(file)))])),
            Op::Create(_) | Op::Mkdir(_) | Op::Rename(..) => None,
        };
        if let Some(NaiveEvent::Names(changed)) = &event {
            set_names(&mut visible, changed);
        }
        events.extend(event);
    }
    events
}

/// The bytes of a file; `None` for garbage.
type NaiveBytes = Vec<Option<u8>>;
type NaiveFiles = BTreeMap<&'static str, NaiveBytes>;

/// Every fate of an event: the content of each piece. Events other than writes have one piece, old or new.
fn fates(event: &NaiveEvent, durable_len: u64) -> Vec<Vec<Piece>> {
    let NaiveEvent::Write(_, offset, bytes) = event else {
        return vec![vec![Piece::Old], vec![Piece::New]];
    };
    let end = offset + bytes.len() as u64;
    let sector = |at: u64| at / u64::from(SECTOR_BYTES);
    let pieces = (sector(end - 1) - sector(*offset) + 1) as usize;
    let grows = end > durable_len;
    let mut fates = BTreeSet::from([vec![Piece::New; pieces], vec![Piece::Old; pieces]]);
    for begin in 0..pieces {
        for end in begin + 1..=pieces {
            let mut add = |before: Piece, run: Piece, after: Piece| {
                let mut fate = vec![before; pieces];
                fate[begin..end].fill(run);
                fate[end..].fill(after);
                fates.insert(fate);
            };
            add(Piece::New, Piece::Old, Piece::New);
            add(Piece::Old, Piece::New, Piece::Old);
            add(Piece::New, Piece::Garbage, Piece::Old);
            add(Piece::New, Piece::Garbage, Piece::New);
            if grows {
                add(Piece::New, Piece::Zeros, Piece::Zeros);
            }
        }
    }
    fates.into_iter().collect()
}

/// Returns true if a crash can give the events these fates.
fn is_legal(events: &[NaiveEvent], fates: &[Vec<Piece>]) -> bool {
    let whole = |index: usize| fates[index].iter().all(|piece| *piece == Piece::New);
    let must_be_whole = |before: usize, concerned: &dyn Fn(&NaiveEvent) -> bool| {
        (0..before).all(|index| !concerned(&events[index]) || whole(index))
    };
    let synced_after = |index: usize, dir: &str| {
        let mut later = events[index..].iter();
        later.any(|event| matches!(event, NaiveEvent::SyncDir(synced) if *synced == dir))
    };
    events.iter().enumerate().all(|(index, event)| match event {
        NaiveEvent::Sync(synced) => must_be_whole(index, &|event| match event {
            NaiveEvent::Write(file, ..) | NaiveEvent::Truncation(file) => file == synced,
            _ => false,
        }),
        NaiveEvent::Names(names) => {
            let durable = names.iter().all(|(name, _)| synced_after(index, parent(name)));
            let shares_a_name = |event: &NaiveEvent| match event {
                NaiveEvent::Names(others) => others
                    .iter()
                    .any(|(other, _)| names.iter().any(|(name, _)| name == other)),
                _ => false,
            };
            (whole(index) || !durable) && (!whole(index) || must_be_whole(index, &shares_a_name))
        }
        _ => true,
    })
}

/// The files after a crash that gives the events these fates.
fn naive_image(events: &[NaiveEvent], fates: &[Vec<Piece>]) -> NaiveFiles {
    let mut names = NaiveNames::from([("/", NaiveNode::Dir)]);
    let mut contents: BTreeMap<usize, NaiveBytes> = BTreeMap::new();
    for (event, fate) in events.iter().zip(fates) {
        match event {
            NaiveEvent::Names(changed) if fate[0] == Piece::New => set_names(&mut names, changed),
            NaiveEvent::Truncation(file) if fate[0] == Piece::New => _ = contents.remove(file),
            NaiveEvent::Write(file, offset, bytes) => {
                let content = contents.entry(*file).or_default();
                for (index, byte) in bytes.iter().enumerate() {
                    let at = *offset as usize + index;
                    let sector = SECTOR_BYTES as usize;
                    let byte = match fate[at / sector - *offset as usize / sector] {
                        Piece::Old => continue,
                        Piece::New => Some(*byte),
                        Piece::Garbage => None,
                        Piece::Zeros => Some(0),
                        Piece::Stale => unreachable!("other tests check stale bytes"),
                    };
                    content.resize(content.len().max(at + 1), Some(0));
                    content[at] = byte;
                }
            }
            _ => {}
        }
    }
    let reachable = names.iter().filter(|(name, _)| names.contains_key(parent(name)));
    reachable
        .filter_map(|(name, node)| match node {
            NaiveNode::File(file) => Some((*name, contents.get(file).cloned().unwrap_or_default())),
            NaiveNode::Dir => None,
        })
        .collect()
}

fn durable_len(events: &[NaiveEvent], of: &NaiveEvent) -> u64 {
    let NaiveEvent::Write(file, ..) = of else { return 0 };
    let is_sync = |event: &NaiveEvent| matches!(event, NaiveEvent::Sync(synced) if synced == file);
    let Some(sync) = events.iter().rposition(is_sync) else {
        return 0;
    };
    events[..sync].iter().fold(0, |len, event| match event {
        NaiveEvent::Write(written, offset, bytes) if written == file => len.max(offset + bytes.len() as u64),
        NaiveEvent::Truncation(truncated) if truncated == file => 0,
        _ => len,
    })
}

/// Every legal image, from every combination of the fates of all events.
fn naive_images(events: &[NaiveEvent]) -> BTreeSet<NaiveFiles> {
    let fates: Vec<_> = events
        .iter()
        .map(|event| match event {
            NaiveEvent::Sync(_) | NaiveEvent::SyncDir(_) => vec![vec![Piece::New]],
            _ => fates(event, durable_len(events, event)),
        })
        .collect();
    let mut images = BTreeSet::new();
    let mut chosen = vec![0; events.len()];
    loop {
        let combination: Vec<_> = chosen
            .iter()
            .zip(&fates)
            .map(|(index, fates)| fates[*index].clone())
            .collect();
        if is_legal(events, &combination) {
            images.insert(naive_image(events, &combination));
        }
        let Some(next) = (0..chosen.len()).find(|index| chosen[*index] + 1 < fates[*index].len()) else {
            return images;
        };
        chosen[next] += 1;
        chosen[..next].fill(0);
    }
}

/// Returns true if the images are equal. Garbage in `naive` matches any byte.
fn is_image(image: &Image, naive: &NaiveFiles) -> bool {
    let files: Vec<_> = image.files().collect();
    files.len() == naive.len()
        && files.iter().zip(naive).all(|((path, bytes), (name, expected))| {
            let mut pairs = bytes.iter().zip(expected);
            *path == Path::new(name)
                && bytes.len() == expected.len()
                && pairs.all(|(byte, expected)| expected.is_none_or(|expected| expected == *byte))
        })
}

/// Runs the operations and ignores errors.
fn run_all(ops: &[Op<'static>], disk: &SimDisk) {
    for op in ops {
        op.run(disk).ok();
    }
}

fn workload(random: &mut Random, len: usize) -> Vec<Op<'static>> {
    let mut ops = vec![Op::Mkdir("/d")];
    ops.extend((0..len).map(|_| random_op(random)));
    ops
}

#[test]
fn the_images_of_small_workloads_are_exactly_the_images_of_the_naive_oracle() {
    let (mut seed, mut cases, mut images_len) = (SEED, 0, 0);
    while cases < 200 {
        seed += 1;
        let ops = workload(&mut Random::new(seed), 12);
        let events = events(&ops);
        let combinations: usize = events.iter().map(|event| fates(event, 0).len()).product();
        if combinations > 6_000 {
            continue;
        }
        let disk = disk_with_sectors(SECTOR_BYTES, &Image::new());
        run_all(&ops, &disk);
        let choices = disk.choices(DiskModel::WEAKEST, 1 << 20, 0);
        assert_eq!(choices.left_out, 0, "{choices}");
        // Other tests check stale bytes.
        let is_stale = |choice: &ImageChoice| {
            let text = choice.to_string();
            text.match_indices('s')
                .any(|(at, _)| text[..at].ends_with(|it: char| it.is_ascii_digit()))
        };
        let images: BTreeMap<u128, Image> = choices
            .into_iter()
            .filter(|choice| !is_stale(choice))
            .map(|choice| disk.image(&choice))
            .map(|image| (image.hash(), image))
            .collect();
        let naive = naive_images(&events);
        for image in images.values() {
            let legal = naive.iter().any(|naive| is_image(image, naive));
            assert!(legal, "seed {seed:#x}: {ops:?} cannot leave {image:?}");
        }
        for naive in &naive {
            let found = images.values().any(|image| is_image(image, naive));
            assert!(
                found,
                "seed {seed:#x}: {ops:?} can leave {naive:?}, which is missing"
            );
        }
        cases += 1;
        images_len += images.len();
    }
    assert!(
        images_len > 2_000,
        "only {images_len} images: the workloads have too few changes"
    );
}

#[test]
fn a_recording_gives_the_images_of_a_run_whose_device_failed_at_the_same_position() {
    for seed in SEED..SEED + 40 {
        let ops = workload(&mut Random::new(seed), 40);
        let recorded = disk_with_sectors(SECTOR_BYTES, &Image::new());
        run_all(&ops, &recorded);
        let recording = recorded.recording();
        let mut builder = recording.images();
        for ordinal in 0..recording.len() {
            for side in Side::ALL {
                let failed = disk_with_sectors(SECTOR_BYTES, &Image::new());
                failed.crash_at(ordinal, side);
                run_all(&ops, &failed);
                assert!(failed.has_device_failed());
                builder.seek(ordinal, side).unwrap();
                assert_eq!(builder.undurable(), failed.undurable());
                let choices = builder.choices(DiskModel::WEAKEST, 20, ordinal);
                assert_eq!(choices, failed.choices(DiskModel::WEAKEST, 20, ordinal));
                for choice in choices {
                    let (image, expected) = (builder.image(&choice), failed.image(&choice));
                    assert_eq!(image, expected, "seed {seed:#x}: {side} {ordinal}, {choice}");
                    assert_eq!(image.hash(), expected.hash());
                    // The disk after the crash has the image, all of it durable.
                    let after = builder.disk_with_image(&choice);
                    assert_eq!(
                        after.image(&ImageChoice::Synced),
                        expected,
                        "seed {seed:#x}: {choice}"
                    );
                    assert_eq!(Image::read_from(&after, path("/")).unwrap(), expected);
                    assert!(after.undurable().is_empty());
                }
            }
        }
    }
}

#[test]
fn a_builder_moves_forward_and_back_and_never_beyond_the_end() {
    let disk = SimDisk::new();
    run_all(&workload(&mut Random::new(SEED ^ 2), 30), &disk);
    let recording = disk.recording();
    let mut builder = recording.images();
    let mut images = Vec::new();
    for ordinal in 0..recording.len() {
        builder.seek(ordinal, Side::After).unwrap();
        images.push(builder.image(&ImageChoice::All));
    }
    assert_eq!(images.last(), Some(&disk.image(&ImageChoice::All)));
    for ordinal in (0..recording.len()).rev() {
        builder.seek(ordinal, Side::After).unwrap();
        assert_eq!(builder.image(&ImageChoice::All), images[ordinal as usize]);
        assert_eq!(builder.position(), ordinal + 1);
    }
    let len = recording.len();
    builder.seek(len, Side::Before).unwrap();
    let error = builder.seek(len, Side::After).unwrap_err();
    let expected = format!("disk operation {len} does not exist: the run has {len} operations");
    assert_eq!(error.to_string(), expected);
    assert_eq!(builder.position(), len);
}

#[test]
fn the_all_image_is_the_visible_content_and_the_synced_image_equals_it_after_a_sync() {
    for seed in SEED..SEED + 200 {
        let disk = SimDisk::new();
        run_all(&workload(&mut Random::new(seed), 40), &disk);
        let visible = Image::read_from(&disk, path("/")).unwrap();
        assert_eq!(disk.image(&ImageChoice::All), visible, "seed {seed:#x}");
        let prefix = |before| disk.image(&ImageChoice::Prefix { before, torn: None });
        assert_eq!(prefix(disk.operations_len()), visible, "seed {seed:#x}");
        assert_eq!(prefix(0), disk.image(&ImageChoice::Synced), "seed {seed:#x}");
        let undurable = disk.undurable().len();
        run_all(&FILES.map(Op::Sync), &disk);
        run_all(&["/d", "/"].map(Op::SyncDir), &disk);
        assert_eq!(disk.undurable(), [], "seed {seed:#x}: of {undurable}");
        assert_eq!(disk.image(&ImageChoice::Synced), visible, "seed {seed:#x}");
    }
}

#[test]
fn random_workloads_have_every_kind_of_operation() {
    let disk = SimDisk::new();
    run_all(&workload(&mut Random::new(SEED ^ 4), 300), &disk);
    let recording = disk.recording();
    let done = recording.operations().filter(|it| it.error.is_none());
    let kinds: BTreeSet<_> = done.map(|operation| operation.kind).collect();
    let all = DiskOperationKind::ALL.iter().copied();
    let others = [DiskOperationKind::Lock, DiskOperationKind::PowerLoss];
    for kind in all.filter(|kind| kind.changes_disk() && !others.contains(kind)) {
        assert!(kinds.contains(&kind), "{kind}");
    }
}
