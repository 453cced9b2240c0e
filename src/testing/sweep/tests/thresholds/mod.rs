//! Tests that runs which crash and recover exceed every limit inside the engine.
//!
//! Owns the facts about such runs. All facts come from outside of the engine: the disk operations, calls and crossings
//! before the crash, and the files and the report of the recovery after it. The [table](table) has a condition for each
//! limit, which proves that a run exceeded the limit. A field of [`Limits`] without a row does not compile.

mod growth;
mod table;

use std::collections::BTreeMap;
use std::path::Path;

use table::Threshold;

use super::super::record::{CrashPosition, RunRecord};
use super::super::recover::recover;
use super::super::setup::Setup;
use super::large::tinier_options;
use super::*;
use crate::limits::Limits;
use crate::storage::{FileStore, FileStoreOptions, StorageEngine, keys};
use crate::testing::oracle::CrashKind;
use crate::testing::sim_disk::{DiskOperation, DiskOperationKind, Image, Side};
use crate::testing::workload::{
    Workload, large_options, large_schema, standard_schema, tiny_options, with_many_segments,
};
use crate::tests::source_checks::limits::SIZES;
use crate::{Export, Options, RecoveryReport};

/// A run that crashed and recovered to a legal state.
struct CrashedRun {
    options: Options,
    /// The disk operations before the crash, each with the number of its call.
    disk: Vec<(DiskOperation, Option<usize>)>,
    /// The calls that began before the crash. The last one may be in flight.
    calls: Vec<Operation>,
    acknowledged: usize,
    /// The crossing at which the run crashed; `None` for another site.
    crossing: Option<(CrashPoint, u64)>,
    /// The pages in storage at the crash.
    pages: Vec<StoredPage>,
    report: RecoveryReport,
    export: Export,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct StoredPage {
    table: u8,
    shard: u16,
    signal: u16,
    number: u32,
}

impl CrashedRun {
    fn new(setup: &Setup, run: &RunRecord, site: Site, position: CrashPosition) -> Self {
        let (builder, index) = run.builder_at(site).expect("a site of the run");
        let snapshot = &run.snapshots[index];
        let image = builder.image(&ImageChoice::All);
        let options = setup.options(&snapshot.session);
        let pages = stored_pages(&image, &options);
        let disk = SimDisk::from_image(&image);
        let state = recover(setup, &disk, &snapshot.recovery).expect("the database recovers");
        let verdict = state.check_against(&snapshot.oracle, CrashKind::ProcessCrash);
        assert!(verdict.is_ok(), "{site}: {verdict}");
        let calls_len = snapshot.operation.map_or(0, |operation| operation + 1);
        let call_of = |ordinal| {
            let side = Side::After;
            let position = run.position_of(Site::Disk { ordinal, side })?;
            run.snapshots[position.snapshot_index].operation
        };
        let disk = run.recording.operations().take(position.operations_len as usize);
        Self {
            options,
            disk: disk.map(|it| (it.clone(), call_of(it.ordinal))).collect(),
            calls: run.operations[..calls_len].to_vec(),
            acknowledged: snapshot.acknowledged,
            crossing: match site {
                Site::Point { point, crossing } => Some((point, crossing)),
                _ => None,
            },
            pages,
            report: state.report,
            export: state.export,
        }
    }

    fn is_at(&self, point: CrashPoint) -> bool {
        self.crossing.is_some_and(|(crossed, _)| crossed == point)
    }

    /// The number of events of each call.
    fn events_lens(&self) -> impl Iterator<Item = usize> {
        self.calls.iter().map(|call| match call {
            Operation::Record { events, .. } => events.len(),
            _ => 0,
        })
    }

    /// The writes to files of the directory `log` or `store`, without temporary files.
    fn writes(&self, dir: &'static str) -> impl Iterator<Item = &DiskOperation> {
        let disk = self.disk.iter().map(|(operation, _)| operation);
        disk.filter(move |it| {
            it.kind == DiskOperationKind::Write
                && it.path.starts_with(format!("/db/{dir}"))
                && !it.path.to_string_lossy().ends_with(".tmp")
        })
    }

    /// The longest write to a file of this directory, in bytes.
    fn longest_write(&self, dir: &'static str) -> u64 {
        self.writes(dir).map(|it| it.len).max().unwrap_or(0)
    }

    /// The largest number of bytes that successive writes wrote to one file of this directory without a gap.
    fn longest_run(&self, dir: &'static str) -> u64 {
        let (mut longest, mut run, mut end) = (0, 0, None);
        for it in self.writes(dir) {
            let continues = end == Some((&it.path, it.offset));
            run = if continues { run + it.len } else { it.len };
            end = Some((&it.path, it.offset + it.len));
            longest = longest.max(run);
        }
        longest
    }

    /// Returns true if a write to a file of this directory was split: a write of at least `bytes` bytes, and then a
    /// write at its end.
    fn has_split_write(&self, dir: &'static str, bytes: u64) -> bool {
        let writes: Vec<_> = self.writes(dir).collect();
        let mut pairs = writes.windows(2);
        pairs.any(|pair| {
            pair[0].len >= bytes
                && pair[1].path == pair[0].path
                && pair[1].offset == pair[0].offset + pair[0].len
        })
    }

    /// The operations on files of the store, with the numbers of their calls.
    fn store_calls(&self) -> impl Iterator<Item = (&DiskOperation, Option<usize>)> {
        let calls = self.disk.iter().map(|(operation, call)| (operation, *call));
        calls.filter(|(it, _)| it.path.starts_with("/db/store"))
    }

    fn store_files_len(&self, is_counted: impl Fn(&DiskOperation) -> bool) -> usize {
        self.store_calls().filter(|(it, _)| is_counted(it)).count()
    }

    /// For each temporary file of the store: the numbers of the calls that made its operations of this kind. One call
    /// writes a new tail. The header of a compacted file is written twice.
    fn on_temporary_files(&self, kind: DiskOperationKind) -> impl Iterator<Item = Vec<Option<usize>>> {
        let mut files: BTreeMap<&Path, Vec<Option<usize>>> = BTreeMap::new();
        for (it, call) in self.store_calls() {
            if it.kind == kind && it.path.to_string_lossy().ends_with(".tmp") {
                files.entry(&it.path).or_default().push(call);
            }
        }
        files.into_values()
    }

    /// The largest number of writes of entries by one compaction.
    fn copies_of_compactions(&self) -> usize {
        let writes = self.on_temporary_files(DiskOperationKind::Write);
        writes
            .map(|calls| calls.len().saturating_sub(2))
            .max()
            .unwrap_or(0)
    }

    /// The largest number of calls that wrote to the file of one compaction.
    fn calls_of_compactions(&self) -> usize {
        let writes = self.on_temporary_files(DiskOperationKind::Write);
        let calls_len = |mut calls: Vec<_>| {
            calls.dedup();
            calls.len()
        };
        writes.map(calls_len).max().unwrap_or(0)
    }

    /// The largest number of syncs of the file of one compaction.
    fn syncs_of_compactions(&self) -> usize {
        let syncs = self.on_temporary_files(DiskOperationKind::Sync);
        syncs.map(|calls| calls.len()).max().unwrap_or(0)
    }

    /// The largest number of removals between two renames of files of the store.
    fn removed_by_one_compaction(&self) -> usize {
        let (mut most, mut removed) = (0, 0);
        for (it, _) in self.store_calls() {
            match it.kind {
                DiskOperationKind::Remove => removed += 1,
                DiskOperationKind::Rename => removed = 0,
                _ => {}
            }
            most = most.max(removed);
        }
        most
    }

    /// Returns true if removals of store files were spread over several calls: after a removal by one call, the next
    /// change of a file name is a removal by a later call.
    fn has_delayed_removals(&self) -> bool {
        let changes = self
            .store_calls()
            .filter(|(it, _)| matches!(it.kind, DiskOperationKind::Remove | DiskOperationKind::Rename));
        let changes: Vec<_> = changes.collect();
        changes.windows(2).any(|pair| {
            let are_removals = pair.iter().all(|(it, _)| it.kind == DiskOperationKind::Remove);
            are_removals && pair[0].1 != pair[1].1
        })
    }

    /// The largest number of pages of one shard of a table.
    fn pages_of_a_shard(&self) -> usize {
        let same = self
            .pages
            .chunk_by(|a, b| (a.table, a.shard) == (b.table, b.shard));
        same.map(<[StoredPage]>::len).max().unwrap_or(0)
    }
}

/// The pages in the store of an image, sorted; empty if the store does not open.
fn stored_pages(image: &Image, options: &Options) -> Vec<StoredPage> {
    let files = Arc::new(SimDisk::from_image(image));
    let store_options = FileStoreOptions {
        segment_bytes_max: options.store_segment_bytes_max,
        store_id: options.database_id,
    };
    let Ok(store) = FileStore::open(files, "/db/store", &store_options) else {
        return Vec::new();
    };
    let mut pages = Vec::new();
    for prefix in [keys::STATES, keys::COHORT_STATES] {
        for pair in store.scan_prefix(prefix).expect("the store is sound") {
            let (key, _) = pair.expect("the store is sound");
            let &[table, s0, s1, h0, h1, p0, p1, p2, p3] = &key[..] else {
                panic!("{key:?} is no key of a page")
            };
            pages.push(StoredPage {
                table,
                shard: u16::from_be_bytes([h0, h1]),
                signal: u16::from_be_bytes([s0, s1]),
                number: u32::from_be_bytes([p0, p1, p2, p3]),
            });
        }
    }
    pages.sort_unstable();
    pages
}

/// The sites at which an exceeded limit is visible: each crossing of a point outside of the loops over events, and the
/// side before each removal of a file.
fn candidate_sites(run: &RunRecord) -> Vec<(Site, CrashPosition)> {
    let is_removal = |ordinal: u64| {
        let operation = run.recording.operations().nth(ordinal as usize);
        operation.is_some_and(|it| it.kind == DiskOperationKind::Remove)
    };
    let is_candidate = |site: &Site| match *site {
        Site::Point { point, .. } => matches!(
            point,
            CrashPoint::WalPostAggregate | CrashPoint::CheckpointPreFlush | CrashPoint::CheckpointPostFlush
        ),
        Site::Disk { ordinal, side } => side == Side::Before && is_removal(ordinal),
        _ => false,
    };
    let sites = run.sites.iter().filter(|(site, _)| is_candidate(site));
    sites.copied().collect()
}

/// The names of the thresholds that no crashed run of `sweep` exceeded. Stops if only `len_min` thresholds remain.
fn not_exceeded(sweep: &CrashSweep, mut thresholds: Vec<Threshold>, len_min: usize) -> Vec<&'static str> {
    let setup = &sweep.setup;
    let run = RunRecord::of_work(setup, &SimDisk::new());
    assert!(run.failures.is_empty(), "{:?}", run.failures);
    for (site, position) in candidate_sites(&run) {
        if thresholds.len() == len_min {
            break;
        }
        let crashed = CrashedRun::new(setup, &run, site, position);
        thresholds.retain(|threshold| !(threshold.is_exceeded)(&crashed));
    }
    thresholds.into_iter().map(|threshold| threshold.name).collect()
}

/// A sweep under tiny limits. Only the bytes of changed states make a call wait for a checkpoint.
fn tiny_sweep() -> CrashSweep {
    CrashSweep::named("large, tiny limits", Workload::large(SEED, 300))
        .options(|| with_many_segments(tinier_options(large_schema())).checkpoint_log_bytes(1 << 30))
}

/// A sweep under the limits of production.
fn large_sweep() -> CrashSweep {
    CrashSweep::named("large", Workload::large(SEED, 5000)).options(large_options)
}

/// All rows, with the fields of these limits.
fn all_thresholds(limits: &Limits) -> Vec<Threshold> {
    let mut thresholds = table::of_limits(limits);
    thresholds.extend(table::of_sizes());
    thresholds.extend(table::of_thousands());
    thresholds
}

/// Sizes that are fixed by formats or arrays have rows too.
#[test]
fn every_size_in_the_list_of_bounds_has_a_row() {
    let thresholds = all_thresholds(&Limits::default());
    let rows: Vec<_> = thresholds.iter().map(|threshold| threshold.name).collect();
    for size in SIZES {
        let name = size.rsplit(' ').next();
        assert!(rows.iter().any(|row| Some(*row) == name), "{size}");
    }
}

#[test]
fn crashed_runs_exceed_every_tiny_limit() {
    let mut thresholds = all_thresholds(&tinier_options(large_schema()).limits);
    thresholds.retain(|threshold| threshold.name != "store_removals_len_max");
    // These rows need longer calls than the tiny workload has.
    let too_large: Vec<_> = table::of_thousands().iter().map(|it| it.name).collect();
    let left = not_exceeded(&tiny_sweep(), thresholds, too_large.len());
    assert_eq!(left, too_large);
}

/// The rows of compactions that several calls make together. A large call makes most compactions alone.
const OF_SMALL_CALLS: [&str; 2] = ["store_share_factor", "store_removals_len_max"];

#[test]
fn crashed_runs_of_small_calls_exceed_the_limits_of_compactions_by_several_calls() {
    let mut thresholds = table::of_limits(&tiny_options(standard_schema()).limits);
    thresholds.retain(|threshold| OF_SMALL_CALLS.contains(&threshold.name));
    let sweep = CrashSweep::named("small calls", Workload::standard(SEED, 200))
        .options(|| tiny_options(standard_schema()));
    assert_eq!(not_exceeded(&sweep, thresholds, 0), [""; 0]);
}

#[test]
fn crashed_runs_exceed_the_limits_of_production() {
    // Runs with two gigabytes of changed states, or with compactions of many megabytes, take too long.
    let too_large = [
        "changed_state_bytes_max",
        "store_share_factor",
        "store_unsynced_bytes_max",
        "store_removals_len_max",
        "store_open_files_len_max",
    ];
    let left = not_exceeded(
        &large_sweep(),
        all_thresholds(&Limits::default()),
        too_large.len(),
    );
    assert_eq!(left, too_large);
}
