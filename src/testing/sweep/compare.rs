//! The comparison of crash modes: after a crash in any mode the files must hold exactly the bytes that the process
//! wrote.
//!
//! The comparison makes the crash at one site in these ways:
//! - an image of the recorded run,
//! - a failure of the device,
//! - a panic that unwinds through every destructor, on the simulated disk and on real files,
//! - the kill of a child process,
//! - the abort of a child process.
//!
//! All of them must leave the same files, byte for byte, and recover to the same state. Otherwise the images differ
//! from real crashes: either the kit has a bug, or the work is not deterministic.

use std::path::Path;

use super::bounds::Bounds;
use super::case::{Case, Runner, recovery_session};
use super::child::Orders;
use super::crash::{fail_device, panic_at};
use super::files::{crash_if_child, crash_in_child, real_disk};
use super::finding::{Failure, FailureKind, Finding};
use super::heartbeat::Heartbeat;
use super::journal::{Journal, OracleSnapshot};
use super::recover::open;
use super::replay::{check_same_image, compare_panic, record_work};
use super::setup::Setup;
use super::shared::SharedResults;
use super::state::RecoveredState;
use crate::fs::RealFiles;
use crate::testing::plan::{Crash, CrashMode, Plan, Site};
use crate::testing::process::ChildProgram;
use crate::testing::sim_disk::{Image, ImageChoice};
use crate::testing::temp_dir::TempDir;
use crate::testing::workload::Session;

/// The result of a comparison in which all crash modes left the same files.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[must_use]
pub struct ModeComparison {
    /// The modes that crashed on real files. Empty in a child process of the comparison.
    pub modes: Vec<CrashMode>,
    /// The number of events that were recovered after the crash in every mode.
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
            let message =
                "a comparison of crash modes needs a plan with one crash, which is not a power loss";
            let failure = Failure::new(FailureKind::NeverReached, message);
            return Err(Box::new(setup.finding(plan.clone(), failure)));
        }
    };
    // A test may compare several plans. The child process runs only one of them.
    crash_if_child(setup, |orders| {
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
            let mut location = setup.location_in_dir_of_disk(&disk, &dir.join("db"), Session::first());
            return panic_at(setup, site, &mut location, &journal, None);
        }
        let orders = Orders {
            dir: dir.to_path_buf(),
            plan: of_mode(site, mode),
        };
        crash_in_child(&ChildProgram::this_test(test), &orders, &journal)
    });
    compared.map_err(|failure| {
        Box::new(Finding {
            is_mode_comparison: true,
            ..setup.finding(plan.clone(), failure)
        })
    })
}

/// Builds the image at `site`, calls `crash` for each mode to leave real files, and compares the files with the image.
fn compare_with_image(
    setup: &Setup,
    site: Site,
    modes: &[CrashMode],
    crash: impl Fn(CrashMode, &Path) -> Result<(), Failure>,
) -> Result<ModeComparison, Failure> {
    let run = record_work(setup)?;
    let (builder, snapshot_index) = run.builder_at(site)?;
    let runner = Runner {
        setup,
        run: &run,
        shared: &SharedResults::new(Bounds::default()),
        heartbeat: &Heartbeat::default(),
    };
    let mode = CrashMode::Kill;
    let outcome = runner.run(
        &builder,
        &Case::in_run(&run, Crash { site, mode }, snapshot_index),
        false,
    );
    if let Some(failure) = outcome.failures.into_iter().next() {
        return Err(failure);
    }
    let Some((state, verdict)) = outcome.state else {
        unreachable!("a case without a failure has a state")
    };
    fail_device(setup, &run, site)?;
    compare_panic(setup, site, &builder)?;
    let image = builder.image(&ImageChoice::All);
    for mode in modes {
        let dir = TempDir::try_new("compare").map_err(io_failure)?;
        crash(mode.clone(), dir.path())?;
        let left = Image::read_from(&RealFiles, dir.path()).map_err(io_failure)?;
        check_same_image(&image, format_args!("{mode} on real files"), &left)?;
        let session = recovery_session(&run.snapshots[snapshot_index], image.hash());
        let location = setup.location_on_files(&dir.path().join("db"), session);
        let db = open(setup, &location)?;
        if !RecoveredState::of(&db)?.is_same(&state.state) {
            let message =
                format_args!("the files after the crash mode {mode} recover to another state than the image");
            return Err(Failure::new(FailureKind::ModesDisagree, message));
        }
    }
    Ok(ModeComparison {
        modes: modes.to_vec(),
        events: verdict.counts.recovered,
    })
}

fn io_failure(error: std::io::Error) -> Failure {
    Failure::new(FailureKind::CannotContinue, error)
}
