//! A run that crashes and recovers exceeds every limit inside the engine.
//!
//! Owns the facts about such runs. The facts come from outside of the engine: from the disk's operations, the calls and the
//! crossings before the crash, and from the files and the report of the recovery after it. The [table](table) has for each
//! limit the facts that show that a run exceeded it. A field of [`Limits`] without a row does not compile.

mod growth;
mod table;

use std::collections::BTreeMap;
use std::path::Path;

use table::Threshold;

use super::super::record::{CrashPosition, Recorded};
use super::super::recover::recover;
use super::super::setup::Setup;
use super::large::tinier_options;
use super::*;
use crate::limits::Limits;
use crate::storage::{FileStore, FileStoreOptions, StorageEngine, keys};
use crate::testing::oracle::CrashKind;
use crate::testing::sim_disk::{DiskOperation, DiskOperationKind, Image, Side};
use crate::testing::source_checks::bounds::SIZES;
use crate::testing::workload::{
    Workload, large_options, large_schema, standard_schema, tiny_options, with_many_segments,
};
use crate::{Export, Options, RecoveryReport};

/// A run that crashed, recovered, and kept every promise.
struct CrashedRun {
    options: Options,
    /// The disk's operations before the crash, each with the number of its call.
    disk: Vec<(DiskOperation, Option<usize>)>,
    /// The calls that were begun before the crash, the last one perhaps in flight.
    calls: Vec<Operation>,
    acknowledged: usize,
    /// The crossing at which the run crashed; none at another site.
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
    fn new(setup: &Setup, run: &Recorded, site: Site, moment: CrashPosition) -> Self {
        let (builder, known) = run.at(site).expect("it is a site of the run");
        let known = &run.known[known];
        let image = builder.image(&ImageChoice::All);
        let options = setup.options(&known.session);
        let pages = stored_pages(&image, &options);
        let state = recover(setup, &SimDisk::from_image(&image), &known.recovery).expect("it recovers");
        let verdict = state.judged_by(&known.oracle, CrashKind::ProcessCrash);
        assert!(verdict.is_ok(), "{site}: {verdict}");
        let calls_len = known.operation.map_or(0, |operation| operation + 1);
        let call_of = |ordinal| {
            let side = Side::After;
            let moment = run.moment_of(Site::Disk { ordinal, side })?;
            run.known[moment.known].operation
        };
        let disk = run.recording.operations().take(moment.position as usize);
        Self {
            options,
            disk: disk.map(|it| (it.clone(), call_of(it.ordinal))).collect(),
            calls: run.operations[..calls_len].to_vec(),
            acknowledged: known.acknowledged,
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

    /// The events of each call.
    fn events_lens(&self) -> impl Iterator<Item = usize> {
        self.calls.iter().map(|call| match call {
            Operation::Record { events, .. } => events.len(),
            _ => 0,
        })
    }

    /// The writes to files of a role, with the directory `log` or `store`, under their final names.
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

    /// The longest run of bytes that one call wrote to one file of this directory without a gap.
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

    /// Returns true if a write of at least `bytes` to a file of this directory is followed by one at its end.
    fn writes_on_after(&self, dir: &'static str, bytes: u64) -> bool {
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

    /// For each temporary file of the store, its operations of one kind, with the numbers of their calls. A new tail is written
    /// by one call; the header of a compacted file is written twice.
    fn on_temporary_files(&self, kind: DiskOperationKind) -> impl Iterator<Item = Vec<Option<usize>>> {
        let mut files: BTreeMap<&Path, Vec<Option<usize>>> = BTreeMap::new();
        for (it, call) in self.store_calls() {
            if it.kind == kind && it.path.to_string_lossy().ends_with(".tmp") {
                files.entry(&it.path).or_default().push(call);
            }
        }
        files.into_values()
    }

    /// The most writes of entries by one compaction.
    fn copies_of_compactions(&self) -> usize {
        let writes = self.on_temporary_files(DiskOperationKind::Write);
        writes
            .map(|calls| calls.len().saturating_sub(2))
            .max()
            .unwrap_or(0)
    }

    /// The most calls that wrote to the file of one compaction.
    fn calls_of_compactions(&self) -> usize {
        let writes = self.on_temporary_files(DiskOperationKind::Write);
        let calls_len = |mut calls: Vec<_>| {
            calls.dedup();
            calls.len()
        };
        writes.map(calls_len).max().unwrap_or(0)
    }

    /// The most syncs of the file of one compaction.
    fn syncs_of_compactions(&self) -> usize {
        let syncs = self.on_temporary_files(DiskOperationKind::Sync);
        syncs.map(|calls| calls.len()).max().unwrap_or(0)
    }

    /// The most removals between two renames of files of the store.
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

    /// Returns true if a call removes a file of the store that an earlier call could have removed: one more than it did.
    fn removals_are_put_off(&self) -> bool {
        let changes = self
            .store_calls()
            .filter(|(it, _)| matches!(it.kind, DiskOperationKind::Remove | DiskOperationKind::Rename));
        let changes: Vec<_> = changes.collect();
        changes.windows(2).any(|pair| {
            let are_removals = pair.iter().all(|(it, _)| it.kind == DiskOperationKind::Remove);
            are_removals && pair[0].1 != pair[1].1
        })
    }

    /// The most pages of a shard of a table.
    fn pages_of_a_shard(&self) -> usize {
        let same = self
            .pages
            .chunk_by(|a, b| (a.table, a.shard) == (b.table, b.shard));
        same.map(<[StoredPage]>::len).max().unwrap_or(0)
    }
}

/// The pages in the store of an image, sorted; none without a store that can be read.
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

/// The sites that can show an exceeded limit: each crossing of a point outside of the loops over events, and both sides of each
/// removal of a file.
fn telling_sites(run: &Recorded) -> Vec<(Site, CrashPosition)> {
    let is_removal = |ordinal: u64| {
        let operation = run.recording.operations().nth(ordinal as usize);
        operation.is_some_and(|it| it.kind == DiskOperationKind::Remove)
    };
    let is_telling = |site: &Site| match *site {
        Site::Point { point, .. } => matches!(
            point,
            CrashPoint::WalPostAggregate | CrashPoint::CheckpointPreFlush | CrashPoint::CheckpointPostFlush
        ),
        Site::Disk { ordinal, side } => side == Side::Before && is_removal(ordinal),
        _ => false,
    };
    let sites = run.sites.iter().filter(|(site, _)| is_telling(site));
    sites.copied().collect()
}

/// The names of the thresholds in `left` that no crashed run of `sweep` exceeded. Stops when only `least` are left.
fn not_exceeded(sweep: &CrashSweep, mut left: Vec<Threshold>, least: usize) -> Vec<&'static str> {
    let setup = &sweep.setup;
    let run = Recorded::of_work(setup, &SimDisk::new());
    assert!(run.failures.is_empty(), "{:?}", run.failures);
    for (site, moment) in telling_sites(&run) {
        if left.len() == least {
            break;
        }
        let crashed = CrashedRun::new(setup, &run, site, moment);
        left.retain(|threshold| !(threshold.is_exceeded)(&crashed));
    }

    left.into_iter().map(|threshold| threshold.name).collect()
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

/// The limits that formats or arrays fix have rows too.
#[test]
fn every_listed_size_has_a_row() {
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
    // These rows need longer calls than the tiny limits.
    let too_large: Vec<_> = table::of_thousands().iter().map(|it| it.name).collect();
    let left = not_exceeded(&tiny_sweep(), thresholds, too_large.len());
    assert_eq!(left, too_large);
}

/// The rows of compactions of which several calls do a share: large calls do most of them alone.
const OF_SMALL_CALLS: [&str; 2] = ["store_share_factor", "store_removals_len_max"];

#[test]
fn crashed_runs_of_small_calls_exceed_the_share_of_a_compaction_of_one_call() {
    let mut thresholds = table::of_limits(&tiny_options(standard_schema()).limits);
    thresholds.retain(|threshold| OF_SMALL_CALLS.contains(&threshold.name));
    let sweep = CrashSweep::named("small calls", Workload::standard(SEED, 200))
        .options(|| tiny_options(standard_schema()));
    assert_eq!(not_exceeded(&sweep, thresholds, 0), [""; 0]);
}

#[test]
fn crashed_runs_exceed_the_limits_of_production() {
    // A run with two gigabytes of changed states takes too long, and so does one with compactions of many megabytes.
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
