//! A crash between any two operations on the disk, where no crash point is: on a simulated disk, from one run.
//!
//! At every instant of a short run two images are recovered: everything written, as the death of the process leaves it,
//! and only what was synced, as a power loss may. Each must hold what was promised at that instant, take a few calls more,
//! and hold those too when it is opened again.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use tidaldb::testing::oracle::Death;
use tidaldb::testing::sim_disk::{Image, ImageChoice, Side, SimDisk};
use tidaldb::{Options, TidalDb};

use crate::account::Account;
use crate::home::with_policy;
use crate::input::{self, Operations};
use crate::outcome::{Checked, Counts, Failure, Outcome, ensure};
use crate::plan::{Input, Policy};

/// Where the database is on its disk.
const DIR: &str = "/database";
/// So many operations are enough for rotations, checkpoints and compactions.
const RUN_LEN: usize = 60;
/// So many are called on each recovered image.
const MORE_LEN: usize = 4;

/// How all instants of a run under a policy end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DiskPlan {
    pub(crate) policy: Policy,
    pub(crate) end: End,
}

/// What takes the database away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The process dies: everything written is there.
    ProcessCrash,
    /// The power fails: only what was synced is there.
    PowerLoss,
}

impl End {
    pub(crate) const ALL: [Self; 2] = [Self::ProcessCrash, Self::PowerLoss];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ProcessCrash => "process",
            Self::PowerLoss => "power",
        }
    }

    const fn choice(self) -> ImageChoice {
        match self {
            Self::ProcessCrash => ImageChoice::All,
            Self::PowerLoss => ImageChoice::Synced,
        }
    }

    const fn death(self) -> Death {
        match self {
            Self::ProcessCrash => Death::ProcessCrash,
            Self::PowerLoss => Death::PowerLoss,
        }
    }
}

impl fmt::Display for DiskPlan {
    /// The name of its case.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "disk-steps/{}/{}", self.policy.name(), self.end.name())
    }
}

/// Carries out a plan.
pub(crate) fn run(plan: DiskPlan) -> Outcome {
    let mut counts = Counts::default();
    let failure = crash_everywhere(plan, &mut counts).err();
    Outcome { counts, failure }
}

/// What was promised once so many disk operations were done.
struct Moment<'a> {
    disk_operations: u64,
    account: Account<'a>,
}

fn crash_everywhere(plan: DiskPlan, counts: &mut Counts) -> Checked<()> {
    let operations = input::operations(Input::Standard)?;
    let disk = SimDisk::new();
    let moments = record(plan, operations, &disk)?;
    let recording = disk.recording();
    let mut images = recording.images();
    let mut before = None;
    for position in 0..=recording.len() {
        images
            .seek(position, Side::Before)
            .map_err(|error| Failure::of("looking for an instant", &error))?;
        let at = moments.partition_point(|moment| moment.disk_operations <= position) - 1;
        let image = images.image(&plan.end.choice());
        if before == Some((at, image.hash())) {
            continue;
        }
        before = Some((at, image.hash()));
        let mut account = moments[at].account.clone();
        let recovered = recover(plan, operations, &image, &mut account);
        *counts += account.counts();
        recovered.map_err(|failure| {
            let next = recording.operations().nth(position as usize);
            let next = next.map_or_else(|| "the end".to_owned(), ToString::to_string);
            failure.with(format!(
                "plan: crash in operation {at}, after {position} disk operations, before {next}"
            ))
        })?;
    }
    Ok(())
}

/// Runs the workload, and notes what was promised when. The first moment is before everything.
fn record<'a>(plan: DiskPlan, operations: &'a Operations, disk: &SimDisk) -> Checked<Vec<Moment<'a>>> {
    let mut account = Account::new(&operations.all, operations.oracle(plan.policy.durability()));
    let mut moments = vec![Moment {
        disk_operations: 0,
        account: account.clone(),
    }];
    let db = open(plan, operations, disk).map_err(|failure| failure.with("the first time"))?;
    for index in 0..RUN_LEN {
        account.begin(index)?;
        moments.push(Moment {
            disk_operations: disk.operations_len(),
            account: account.clone(),
        });
        account.call_begun(&db, index)?;
        account.note_durable(db.durable_sequence());
    }
    Ok(moments)
}

fn recover(plan: DiskPlan, operations: &Operations, image: &Image, account: &mut Account<'_>) -> Checked<()> {
    let disk = SimDisk::from_image(image);
    let db = open(plan, operations, &disk)?;
    account.compare(plan.end.death(), &db, "after the crash")?;
    for index in operations.run_len..operations.run_len + MORE_LEN {
        account.call(&db, index)?;
    }
    drop(db);
    let db = open(plan, operations, &disk)?;
    account.compare(Death::ProcessCrash, &db, "after going on and reopening")?;
    ensure!(disk.refused_calls_len() == 0, "the disk refused calls");
    Ok(())
}

fn open(plan: DiskPlan, operations: &Operations, disk: &SimDisk) -> Checked<TidalDb> {
    let options: Options = with_policy(operations.options(), plan.policy).files(Arc::new(disk.clone()));
    TidalDb::open(Path::new(DIR), options).map_err(|error| Failure::of("opening", &error))
}
