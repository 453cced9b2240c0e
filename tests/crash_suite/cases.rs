//! The list of cases: every combination of database, point, crossing and way to die.

use std::sync::Arc;

use tidaldb::testing::CrashPoint;

use crate::disk_steps::{DiskPlan, End};
use crate::harness::Case;
use crate::input::{self, SEED};
use crate::matrix::Place;
use crate::plan::{Death, Input, Plan, Policy, Setup, Store, Which};
use crate::threads::ThreadsPlan;
use crate::{crash, crossings, disk_steps, durability, fjall_waits, refusals, threads};

/// So many plans of the threads' part kill the process at a crossing of the seed's choice, under each policy.
const THREAD_KILLS: u64 = 4;

/// What a case does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    Crash(Plan),
    Threads(ThreadsPlan),
    /// Many threads, and no crash.
    Together(Policy),
    Disk(DiskPlan),
    Durability(Policy),
    Refusals,
    FjallWaits,
}

/// Which cases there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Selection {
    /// The standard workload on every store, the sample of events, the threads, the order of syncs.
    Default,
    /// The events of a file, on the embedded store, in every combination.
    Events,
}

/// The cases of a selection.
pub(crate) fn all(selection: Selection) -> Vec<Case> {
    jobs(selection).into_iter().map(case).collect()
}

/// What the case of this name does.
pub(crate) fn find(name: &str) -> Option<Job> {
    let mut jobs = jobs(Selection::Default);
    jobs.extend(jobs_of_events());
    jobs.into_iter().find(|job| job.name() == name)
}

/// The points that the file of events never leads to, which have no cases, in words.
pub(crate) fn points_not_crossed_by_events() -> Vec<String> {
    let setup = Setup {
        store: Store::Embedded,
        policy: Policy::EverySynced,
        input: Input::Events,
    };
    // If the recording run fails every case says why.
    let crossings = crossings::of_setup(setup).unwrap_or([1; CrashPoint::ALL.len()]);
    CrashPoint::ALL
        .iter()
        .zip(crossings)
        .filter(|(_, crossings)| *crossings == 0)
        .map(|(point, _)| point.to_string())
        .collect()
}

fn jobs(selection: Selection) -> Vec<Job> {
    match selection {
        Selection::Events => {
            let not_crossed = points_not_crossed_by_events();
            jobs_of_events()
                .into_iter()
                .filter(
                    |job| !matches!(job, Job::Crash(plan) if not_crossed.contains(&plan.point.to_string())),
                )
                .collect()
        }
        Selection::Default => {
            let mut jobs = Vec::new();
            for policy in Policy::ALL {
                let setup = setup(Store::Embedded, policy, Input::Standard);
                jobs.extend(crashes(setup, &Which::ALL, &Death::ALL));
            }
            let fjall = setup(Store::Fjall, Policy::EverySynced, Input::Standard);
            jobs.extend(crashes(fjall, &[Which::Middle], &Death::ALL));
            for policy in Policy::ALL {
                let memory = setup(Store::Memory, policy, Input::Standard);
                jobs.extend(crashes(memory, &[Which::Middle], &[Death::Panic]));
            }
            let events = setup(Store::Embedded, Policy::EverySynced, Input::Events);
            jobs.extend(crashes(events, &[Which::Middle], &Death::ALL));
            for policy in Policy::ALL {
                jobs.extend(CrashPoint::ALL.map(|point| Job::Threads(ThreadsPlan::panic(policy, point))));
                jobs.push(Job::Together(policy));
                jobs.extend((0..THREAD_KILLS).map(|seed| Job::Threads(ThreadsPlan::kill(policy, seed))));
            }
            for policy in Policy::ALL {
                jobs.extend(End::ALL.map(|end| Job::Disk(DiskPlan { policy, end })));
            }
            jobs.extend(Policy::ALL.map(Job::Durability));
            jobs.extend([Job::Refusals, Job::FjallWaits]);
            jobs
        }
    }
}

fn jobs_of_events() -> Vec<Job> {
    Policy::ALL
        .into_iter()
        .flat_map(|policy| {
            crashes(
                setup(Store::Embedded, policy, Input::Events),
                &Which::ALL,
                &Death::ALL,
            )
        })
        .collect()
}

fn setup(store: Store, policy: Policy, input: Input) -> Setup {
    Setup { store, policy, input }
}

fn crashes(setup: Setup, which: &[Which], deaths: &[Death]) -> Vec<Job> {
    let mut jobs = Vec::new();
    for point in CrashPoint::ALL {
        for &which in which {
            for &death in deaths {
                jobs.push(Job::Crash(Plan {
                    setup,
                    point,
                    which,
                    death,
                }));
            }
        }
    }
    jobs
}

impl Job {
    /// The name of its case.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Crash(plan) => plan.to_string(),
            Self::Threads(plan) => plan.to_string(),
            Self::Disk(plan) => plan.to_string(),
            Self::Together(policy) => format!("threads/{}/no-crash", policy.name()),
            Self::Durability(policy) => format!("write-order/{}/synced-before-acknowledged", policy.name()),
            Self::Refusals => "write-order/every-synced/storage-before-memory".to_owned(),
            Self::FjallWaits => "write-order/every-synced/fjall-waits-for-disk".to_owned(),
        }
    }

    fn place(&self) -> Place {
        let place = |table: &str, row: String, group: &str, column: &str| Place {
            table: table.to_owned(),
            row,
            group: group.to_owned(),
            column: column.to_owned(),
        };
        let order =
            |row: &str, policy: Policy| place("write order", row.to_owned(), policy.name(), "no crash");
        match self {
            Self::Crash(plan) => {
                let setup = plan.setup;
                let (policy, death) = (setup.policy.name(), plan.death.name());
                place(setup.name(), plan.point.to_string(), policy, death)
            }
            Self::Threads(plan) => place("threads", plan.row(), plan.policy.name(), plan.death.name()),
            Self::Together(policy) => place("threads", "no crash".to_owned(), policy.name(), "close"),
            Self::Disk(plan) => place(
                "disk steps",
                "every disk operation".to_owned(),
                plan.policy.name(),
                plan.end.name(),
            ),
            Self::Durability(policy) => order("synced, acknowledged", *policy),
            Self::Refusals => order("storage, then memory", Policy::EverySynced),
            Self::FjallWaits => order("fjall waits for disk", Policy::EverySynced),
        }
    }

    fn operations_len(&self) -> u32 {
        let input = match self {
            Self::Crash(plan) => plan.setup.input,
            _ => Input::Standard,
        };
        // An input that cannot be read is no work.
        input::operations(input).map_or(0, |operations| operations.all.len() as u32)
    }

    /// What is done, in words, for whoever reads of a failure.
    fn plan(&self) -> String {
        match self {
            Self::Crash(Plan { setup, .. }) => match setup.input {
                Input::Standard => format!("workload: the standard one of seed {SEED:#x}"),
                Input::Events => format!("workload: the events of {}", input::events_path().display()),
            },
            Self::Threads(plan) => plan.in_words(),
            Self::Together(_) => threads::workload_in_words(),
            Self::Disk(_) | Self::Durability(_) | Self::Refusals => {
                format!("workload: the standard one of seed {SEED:#x}")
            }
            Self::FjallWaits => "workload: single writes".to_owned(),
        }
    }
}

fn case(job: Job) -> Case {
    Case {
        name: job.name(),
        place: job.place(),
        plan: job.plan(),
        operations_len: job.operations_len(),
        body: Arc::new(move || match &job {
            Job::Crash(plan) => crash::run(*plan),
            Job::Threads(plan) => threads::run(plan),
            Job::Disk(plan) => disk_steps::run(*plan),
            Job::Together(policy) => threads::run_to_the_end(*policy),
            Job::Durability(policy) => durability::run(*policy),
            Job::Refusals => refusals::run(),
            Job::FjallWaits => fjall_waits::run(),
        }),
    }
}
