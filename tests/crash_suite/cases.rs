//! The list of cases: crash points, crossings and crash modes for each database, and the cases without a crash point.

use std::ffi::OsString;
use std::sync::Arc;

use tidaldb::testing::lab::process::ChildProgram;
use tidaldb::testing::plan::{CrashMode, Plan, Site};
use tidaldb::testing::sim_disk::DiskOperationKind;
use tidaldb::testing::workload::Workload;
use tidaldb::testing::{CrashPoint, CrashSweep, Finding, SweepReport};

use crate::databases::{Database, Policy, Store};
use crate::harness::{CaseCounts, CaseResult, CaseWork, SuiteCase};
use crate::input::{self, Input, SEED};
use crate::matrix::MatrixPlace;
use crate::{events, fjall_waits, inputs, refusals, threads};

/// The number of kills of a process with several threads, under each policy. A seed selects the site of each.
const THREAD_KILLS: u64 = 4;
/// The number of operations of a workload that is crashed at every disk operation: enough for rotations, checkpoints
/// and compactions.
const DISK_STEPS_LEN: usize = 60;

pub(crate) const MODES: [CrashMode; 3] = [CrashMode::Panic, CrashMode::Abort, CrashMode::Kill];

/// The crossing of a crash point at which the case crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occurrence {
    First,
    Middle,
    Last,
}

impl Occurrence {
    pub(crate) const ALL: [Self; 3] = [Self::First, Self::Middle, Self::Last];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Middle => "middle",
            Self::Last => "last",
        }
    }

    /// The index of this crossing among `crossings` of them. `crossings` is at least 1.
    pub(crate) const fn crossing(self, crossings: u64) -> u64 {
        match self {
            Self::First => 0,
            Self::Middle => crossings / 2,
            Self::Last => crossings - 1,
        }
    }
}

/// The name of a crash mode in the names of cases and in columns.
pub(crate) fn mode_name(mode: &CrashMode) -> &'static str {
    match mode {
        CrashMode::Panic => "panic",
        CrashMode::Abort => "abort",
        _ => "sigkill",
    }
}

/// All cases of a run without `--events`: the standard workloads on every store, the sample of events, several threads,
/// every disk operation, the order of writes, and command lines.
pub(crate) fn standard() -> Vec<SuiteCase> {
    let mut cases = Vec::new();
    let standard = |store, policy| Database {
        store,
        policy,
        input: Input::Standard,
    };
    for policy in Policy::ALL {
        cases.extend(crashes(
            standard(Store::Embedded, policy),
            &Occurrence::ALL,
            &MODES,
        ));
    }
    for policy in Policy::ALL {
        let sessions = Database {
            input: Input::Sessions,
            ..standard(Store::Embedded, policy)
        };
        cases.extend(crashes(sessions, &[Occurrence::Middle, Occurrence::Last], &MODES));
    }
    let fjall_sessions = Database {
        input: Input::Sessions,
        ..standard(Store::Fjall, Policy::EverySynced)
    };
    cases.extend(crashes(
        fjall_sessions,
        &[Occurrence::Middle],
        &[CrashMode::Panic, CrashMode::Kill],
    ));
    let fjall = standard(Store::Fjall, Policy::EverySynced);
    cases.extend(crashes(fjall, &[Occurrence::Middle], &MODES));
    for policy in Policy::ALL {
        let memory = standard(Store::Memory, policy);
        cases.extend(crashes(memory, &[Occurrence::Middle], &[CrashMode::Panic]));
    }
    cases.extend(events::sample_cases());
    for policy in Policy::ALL {
        cases.extend(CrashPoint::ALL.map(|point| threads_panic(policy, point)));
        cases.push(threads_to_the_end(policy));
        cases.extend((0..THREAD_KILLS).map(|seed| threads_kill(policy, seed)));
    }
    cases.extend(Policy::ALL.map(disk_steps));
    cases.extend(Policy::ALL.map(session_steps));
    cases.extend(Policy::ALL.map(synced_before_acknowledged));
    cases.push(write_order(
        "storage-before-memory",
        "storage, then memory",
        refusals::run,
    ));
    cases.push(write_order(
        "fjall-waits-for-disk",
        "fjall waits for disk",
        fjall_waits::run,
    ));
    cases.extend(inputs::cases());
    cases
}

/// The cases that crash a database at every crash point.
fn crashes(database: Database, occurrences: &[Occurrence], modes: &[CrashMode]) -> Vec<SuiteCase> {
    let mut cases = Vec::new();
    for point in CrashPoint::ALL {
        for &occurrence in occurrences {
            for mode in modes {
                cases.push(crash(database, point, occurrence, mode.clone()));
            }
        }
    }
    cases
}

fn crash(database: Database, point: CrashPoint, occurrence: Occurrence, mode: CrashMode) -> SuiteCase {
    let (policy, column) = (database.policy.name(), mode_name(&mode));
    let name = format!(
        "{}/{policy}/{point}/{}/{column}",
        database.name(),
        occurrence.name()
    );
    let case_name = name.clone();
    let body = move || {
        let sweep = database.sweep();
        let crossings = database.crossed()?.count(point);
        if crossings == 0 {
            return Err(format!("the run never crosses {point}; {}", database.crossed()?));
        }
        let crossing = occurrence.crossing(crossings);
        let plan = sweep.plan().crash(Site::Point { point, crossing }, mode.clone());
        crash_on_files(&sweep, &plan, &case_name, &[])
    };
    SuiteCase {
        name,
        place: place(database.name(), &point.to_string(), policy, column),
        work: CaseWork::Workload(database.input.to_string()),
        body: Arc::new(body),
    }
}

/// Runs one plan on real files, with this program as the child process. `start` holds further arguments of the child.
pub(crate) fn crash_on_files(
    sweep: &CrashSweep,
    plan: &Plan,
    case_name: &str,
    start: &[OsString],
) -> CaseResult<CaseCounts> {
    let arguments = ["--child".into(), case_name.into()];
    let child = ChildProgram::this_program(arguments.iter().chain(start));
    let crashed = sweep
        .crash_on_files(plan, &child)
        .map_err(|finding| finding_text(&finding))?;
    Ok(CaseCounts {
        counts: crashed.counts,
    })
}

pub(crate) fn finding_text(finding: &Finding) -> String {
    // A replay line cannot replay a plan on real files, so the text has none. The name of the case repeats the case.
    format!("{}\n{}", finding.failure, finding.plan)
}

pub(crate) fn place(table: &str, row: &str, group: &str, column: &str) -> MatrixPlace {
    MatrixPlace {
        table: table.to_owned(),
        row: row.to_owned(),
        group: group.to_owned(),
        column: column.to_owned(),
    }
}

/// One of several threads panics at a crash point.
fn threads_panic(policy: Policy, point: CrashPoint) -> SuiteCase {
    let site = Site::Point {
        point,
        crossing: threads::crossing_max(point) / 2,
    };
    let name = format!("{}/{}/{point}/panic", threads::NAME, policy.name());
    threads_case(
        name,
        policy,
        &point.to_string(),
        "panic",
        1,
        site,
        CrashMode::Panic,
    )
}

/// The process is killed while one of its threads is at a crash point. The seed selects the site.
fn threads_kill(policy: Policy, seed: u64) -> SuiteCase {
    let (point, crossing) = threads::site_of_seed(seed * 3 + policy as u64);
    let name = format!("{}/{}/seed-{seed}/sigkill", threads::NAME, policy.name());
    let site = Site::Point { point, crossing };
    threads_case(
        name,
        policy,
        &point.to_string(),
        "sigkill",
        1,
        site,
        CrashMode::Kill,
    )
}

/// Several threads work until their end, without a crash.
fn threads_to_the_end(policy: Policy) -> SuiteCase {
    let name = format!("{}/{}/no-crash", threads::NAME, policy.name());
    let rounds = threads::ROUNDS;
    threads_case(
        name,
        policy,
        "no crash",
        "close",
        rounds,
        Site::End,
        CrashMode::Kill,
    )
}

fn threads_case(
    name: String,
    policy: Policy,
    row: &str,
    column: &str,
    rounds: usize,
    site: Site,
    mode: CrashMode,
) -> SuiteCase {
    let case_name = name.clone();
    let body = move || {
        let sweep = threads::sweep(policy);
        let plan = sweep.plan().crash(site, mode.clone());
        let mut sum = CaseCounts::default();
        for _ in 0..rounds {
            sum.counts += crash_on_files(&sweep, &plan, &case_name, &[])?.counts;
        }
        Ok(sum)
    };
    SuiteCase {
        place: place(threads::NAME, row, policy.name(), column),
        work: CaseWork::Workload(threads::work_as_text()),
        name,
        body: Arc::new(body),
    }
}

/// A crash before and after every disk operation of a short workload, on a simulated disk. The image has all writes, as
/// after a kill of the process, or only the synced ones, as after a power loss.
fn disk_steps(policy: Policy) -> SuiteCase {
    let body = move || {
        let operations = &input::operations(Input::Standard).all[..DISK_STEPS_LEN];
        let report = sweep_of(policy, operations).images_max(2).run();
        outcome_of(&report)
    };
    SuiteCase {
        name: format!("disk-steps/{}/kill-and-power-loss", policy.name()),
        place: place("disk steps", "every disk operation", policy.name(), "kill, power"),
        work: CaseWork::Workload(Input::Standard.to_string()),
        body: Arc::new(body),
    }
}

/// The same for a workload in several sessions, some of which end by a power loss, and with images that have some of
/// the writes that were not synced.
fn session_steps(policy: Policy) -> SuiteCase {
    let body = move || {
        let sweep = CrashSweep::sessions(SEED, DISK_STEPS_LEN).durability(policy.durability());
        let report = sweep.images_max(4).depth(0).faults_max(0).shrink(false).run();
        outcome_of(&report)
    };
    SuiteCase {
        name: format!("session-steps/{}/kill-and-power-loss", policy.name()),
        place: place("disk steps", "of several sessions", policy.name(), "kill, power"),
        work: CaseWork::Workload(Input::Sessions.to_string()),
        body: Arc::new(body),
    }
}

/// After each acknowledged call the content that the policy promises is synced. The recording run of a sweep checks
/// this.
fn synced_before_acknowledged(policy: Policy) -> SuiteCase {
    let body = move || {
        let operations = &input::operations(Input::Standard).all;
        let sweep = sweep_of(policy, operations).images_max(1);
        let report = sweep.continue_after_recovery(false).run();
        // Each disk operation has two sites, before and after it.
        let operations_len = |kind| {
            let segments = report
                .sites
                .iter()
                .filter(|site| site.description.contains(".wal"));
            segments.filter(|site| site.kind == Some(kind)).count() / 2
        };
        let renamed = operations_len(DiskOperationKind::Rename);
        let removed = operations_len(DiskOperationKind::Remove);
        if renamed < 4 || removed < 2 {
            return Err(format!(
                "the workload is too small: {renamed} segments were created, {removed} were removed"
            ));
        }
        outcome_of(&report)
    };
    let name = format!("write-order/{}/synced-before-acknowledged", policy.name());
    SuiteCase {
        place: place("write order", "synced, acknowledged", policy.name(), "no crash"),
        work: CaseWork::Workload(Input::Standard.to_string()),
        name,
        body: Arc::new(body),
    }
}

fn sweep_of(policy: Policy, operations: &[tidaldb::testing::workload::Operation]) -> CrashSweep {
    let workload = Workload {
        operations: operations.to_vec(),
    };
    CrashSweep::of(workload)
        .durability(policy.durability())
        .depth(0)
        .faults_max(0)
        .shrink(false)
}

fn outcome_of(report: &SweepReport) -> CaseResult<CaseCounts> {
    if !report.is_ok() {
        return Err(report.to_string());
    }
    Ok(CaseCounts {
        counts: report.counts,
    })
}

fn write_order(name: &str, row: &str, body: fn() -> CaseResult<CaseCounts>) -> SuiteCase {
    let policy = Policy::EverySynced.name();
    SuiteCase {
        name: format!("write-order/{policy}/{name}"),
        place: place("write order", row, policy, "no crash"),
        work: CaseWork::Workload(format!("the standard workload of seed {SEED:#x}")),
        body: Arc::new(body),
    }
}
