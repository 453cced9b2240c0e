//! The comparison of crash modes: every mode must leave the bytes that the process had written.
//!
//! It crashes at one site in these ways: an image of the recorded run; a failure of the device; a panic that unwinds through
//! every destructor, on the simulated disk and on real files; a child process that is killed; a child that aborts. All of
//! them must leave the same files, byte for byte, and recover to the same state. Otherwise images do not show real crashes: a fault of the kit, or the
//! work is not deterministic.

use std::path::Path;

use super::bounds::Bounds;
use super::case::{Case, Runner, recovery_session};
use super::child::Orders;
use super::crash::{fail_device, panic_at};
use super::files::{die_if_child, die_in_child, real_disk};
use super::finding::{Failure, FailureKind, Finding};
use super::heartbeat::Heartbeat;
use super::journal::{Journal, OracleSnapshot};
use super::memory::SweepMemory;
use super::recover::open;
use super::replay::{compare_panic, recorded, same_image};
use super::setup::Setup;
use super::state::RecoveredState;
use crate::fs::RealFiles;
use crate::testing::plan::{Crash, CrashMode, Plan, Site};
use crate::testing::process::ChildProgram;
use crate::testing::sim_disk::{Image, ImageChoice};
use crate::testing::temp_dir::TempDir;
use crate::testing::workload::Session;

/// Crash modes that left the same.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[must_use]
pub struct ModeComparison {
    /// The modes that were tried on real files. Empty in the kit's own child process.
    pub modes: Vec<CrashMode>,
    /// The events that every mode kept.
    pub events: u64,
}

/// Compares the modes at the one site of `plan`, or acts as the child of such a comparison.
pub(crate) fn compare(setup: &Setup, plan: &Plan, test: &str) -> Result<ModeComparison, Box<Finding>> {
    let of_mode = |site, mode| Plan {
        crashes: vec![Crash { site, mode }],
        ..plan.clone()
    };
    let site = match &plan.crashes[..] {
        [Crash { site, mode }] if mode.keeps_writes() => *site,
        _ => {
            let message = "crash modes are compared for a plan with one crash, which is no power loss";
            let failure = Failure::new(FailureKind::NeverReached, message);
            return Err(Box::new(setup.finding(plan.clone(), failure)));
        }
    };
    // A test may compare several plans. Its child is there for one of them.
    die_if_child(setup, |orders| {
        let of_plan = |mode| *orders == of_mode(site, mode);
        [CrashMode::Kill, CrashMode::Abort].into_iter().any(of_plan)
    });
    if Orders::of_this_process().is_some() {
        return Ok(ModeComparison {
            modes: Vec::new(),
            events: 0,
        });
    }
    let mut modes = vec![CrashMode::Panic, CrashMode::Kill];
    modes.extend(matches!(site, Site::Point { .. }).then_some(CrashMode::Abort));
    let compared = compare_with_image(setup, site, &modes, |mode, dir| {
        let journal = Journal::new(OracleSnapshot::first(setup.oracle()));
        if mode == CrashMode::Panic {
            let disk = real_disk(dir)?;
            let mut home = setup.on_disk_below(&disk, &dir.join("db"), Session::first());
            return panic_at(setup, site, &mut home, &journal, None);
        }
        let orders = Orders {
            dir: dir.to_path_buf(),
            plan: of_mode(site, mode),
        };
        die_in_child(&ChildProgram::this_test(test), &orders, &journal)
    });
    compared.map_err(|failure| {
        Box::new(Finding {
            of_comparison: true,
            ..setup.finding(plan.clone(), failure)
        })
    })
}

/// Builds the image at `site`, lets `crash` leave real files in each mode, and compares.
fn compare_with_image(
    setup: &Setup,
    site: Site,
    modes: &[CrashMode],
    crash: impl Fn(CrashMode, &Path) -> Result<(), Failure>,
) -> Result<ModeComparison, Failure> {
    let run = recorded(setup)?;
    let (builder, known) = run.at(site)?;
    let runner = Runner {
        setup,
        run: &run,
        memory: &SweepMemory::new(Bounds::default()),
        heartbeat: &Heartbeat::default(),
    };
    let mode = CrashMode::Kill;
    let judged = runner.run(&builder, &Case::in_run(&run, Crash { site, mode }, known), false);
    if let Some(failure) = judged.failures.into_iter().next() {
        return Err(failure);
    }
    let Some((state, verdict)) = judged.state else {
        unreachable!("a case without a failure has a state")
    };
    fail_device(setup, &run, site)?;
    compare_panic(setup, site, &builder)?;
    let image = builder.image(&ImageChoice::All);
    for mode in modes {
        let dir = TempDir::try_new("compare").map_err(io_failure)?;
        crash(mode.clone(), dir.path())?;
        let left = Image::read_from(&RealFiles, dir.path()).map_err(io_failure)?;
        same_image(&image, format_args!("{mode} on real files"), &left)?;
        let session = recovery_session(&run.known[known], image.hash());
        let home = setup.on_files(&dir.path().join("db"), session);
        let db = open(setup, &home)?;
        if !RecoveredState::of(&db)?.is_same(&state.state) {
            let message = format_args!("the files that {mode} left recover to another state than the image");
            return Err(Failure::new(FailureKind::ModesDisagree, message));
        }
    }
    Ok(ModeComparison {
        modes: modes.to_vec(),
        events: verdict.counts.recovered,
    })
}

fn io_failure(error: std::io::Error) -> Failure {
    Failure::new(FailureKind::CannotGoOn, error)
}
