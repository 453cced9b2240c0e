//! One crash of one database by one caller, and what must hold after it.

use tidaldb::testing::oracle;
use tidaldb::testing::workload::Operation;
use tidaldb::testing::{CrashInjector, CrashPoint, CrossingRecorder, run_with_crash, scoped_recorder};
use tidaldb::{EntityId, Error, Options, RecoveryReport, SignalId, TidalDb};

use crate::account::{Account, Calls};
use crate::common::TempDir;
use crate::crossings::{self, count, in_words};
use crate::home::{Home, with_policy};
use crate::input::{self, Operations};
use crate::outcome::{Checked, Counts, Failure, Outcome, ensure};
use crate::parent::{self, Sentence};
use crate::plan::{Death, Plan, Which};

/// Carries out a plan.
pub(crate) fn run(plan: Plan) -> Outcome {
    let operations = match input::operations(plan.setup.input) {
        Ok(operations) => operations,
        Err(failure) => {
            return Outcome {
                counts: Counts::default(),
                failure: Some(failure),
            };
        }
    };
    let mut account = Account::new(&operations.all, operations.oracle(plan.setup.policy.durability()));
    let failure = crash_and_recover(plan, operations, &mut account).err();
    Outcome {
        counts: account.counts(),
        failure,
    }
}

fn crash_and_recover(plan: Plan, operations: &Operations, account: &mut Account<'_>) -> Checked<()> {
    let (fire_after, crossings) = crossings::of_plan(plan)?;
    let dir = TempDir::new("crash-suite");
    let home = Home::new(dir.path(), plan.setup.store);
    let options = || with_policy(operations.options(), plan.setup.policy);
    let crash = match plan.death {
        Death::Panic => panic(plan, fire_after, &home, options(), operations.run(), account),
        Death::Abort | Death::Sigkill => {
            let sentence = Sentence {
                name: &plan.to_string(),
                point: plan.point,
                fire_after,
                death: plan.death,
            };
            parent::run(&sentence, &home, |line| account.hear(line))
        }
    };
    crash
        .and_then(|()| go_on(&home, options, &operations.all, account, Some(plan.point)))
        .map_err(|failure| {
            let failure = failure.with(format!(
                "plan: crash at crossing {} of {crossings} of {}",
                fire_after + 1,
                plan.point
            ));
            let failure = account.last_heard().into_iter().fold(failure, Failure::with);
            failure.with(dir.keep())
        })
}

/// Reopens and compares, goes on writing, closes, reopens and compares again. If the crash was that of one caller at a
/// point, what holds at the point is compared too.
pub(crate) fn go_on(
    home: &Home,
    options: impl Fn() -> Options,
    operations: &[Operation],
    account: &mut Account<'_>,
    point: Option<CrashPoint>,
) -> Checked<()> {
    let cut_short = account.on_their_way();
    let acknowledged = account.acknowledged();
    let db = reopen(home, options())?;
    let found = account.compare(oracle::Death::ProcessCrash, &db, "after the crash")?;
    if let Some(point) = point {
        check_what_holds(point, acknowledged, found, db.recovery_report())?;
    }
    for index in cut_short {
        // So that what follows finds the collections it was made for. An event is not recorded again.
        if operations[index].is_collection_change() {
            account.call(&db, index)?;
        }
    }
    for index in account.left() {
        account.call(&db, index)?;
    }
    db.close().map_err(|error| Failure::of("closing", &error))?;
    account.closed(db.durable_sequence());
    drop(db);
    let db = reopen(home, options())?;
    let replayed = db.recovery_report().events_replayed;
    ensure!(
        replayed == 0,
        "{replayed} events were replayed after closing in order"
    );
    account.compare(
        oracle::Death::ProcessCrash,
        &db,
        "after going on, closing and reopening",
    )?;
    ensure!(account.counts().acknowledged > 0, "no event was compared");
    Ok(())
}

/// Compares what was found with what each point stands for: at most, a call in flight may be there or not; at a point,
/// it is known which.
fn check_what_holds(
    point: CrashPoint,
    acknowledged: Calls,
    found: Calls,
    report: &RecoveryReport,
) -> Checked<()> {
    let mut expected = acknowledged;
    match point {
        CrashPoint::WalPreAggregate
        | CrashPoint::WalPostAggregate
        | CrashPoint::SignalAggregationUpdate
        | CrashPoint::CohortLedgerUpdate
        | CrashPoint::CoEngagementUpdate => expected.frames += 1,
        CrashPoint::CollectionIndexUpdate => expected.collection_changes += 1,
        CrashPoint::CheckpointPreFlush => ensure!(
            report.frames_replayed > 0,
            "at {point} nothing was replayed: the new checkpoint is there before it is written"
        ),
        CrashPoint::CheckpointPostFlush => ensure!(
            report.frames_replayed == 0 && report.last_sequence == report.checkpoint_sequence,
            "at {point} the checkpoint covers {} and the log ends with {}: the new checkpoint is not there, or its \
             marker is",
            report.checkpoint_sequence,
            report.last_sequence
        ),
    }
    ensure!(
        found == expected,
        "at {point} {expected:?} must be there and {found:?} are found"
    );
    Ok(())
}

fn reopen(home: &Home, options: Options) -> Checked<TidalDb> {
    home.open(options)
        .map_err(|error| Failure::of("reopening", &error))
}

/// Runs until the injected panic, which it catches, and looks at what the panic left of the handle and its files.
fn panic(
    plan: Plan,
    fire_after: u64,
    home: &Home,
    options: Options,
    run: &[Operation],
    account: &mut Account<'_>,
) -> Checked<()> {
    let injector = CrashInjector::new(plan.point, fire_after);
    let recorder = CrossingRecorder::new();
    let _recording = scoped_recorder(&recorder);
    let mut opened = None;
    let outcome = run_with_crash(&injector, || {
        let db = opened.insert(
            home.open(options)
                .map_err(|error| Failure::of("opening", &error))?,
        );
        for index in 0..run.len() {
            account.call(db, index)?;
        }
        Ok::<(), Failure>(())
    });
    let crossed = recorder.crossings();
    match outcome {
        Err(point) if point == plan.point => {}
        Err(point) => return Err(Failure::new(format!("crashed at {point}, not at {}", plan.point))),
        Ok(Err(failure)) => {
            return Err(failure.with(format!("crossed until then: {}", in_words(count(&crossed)))));
        }
        Ok(Ok(())) => {
            let reason = if injector.has_fired() {
                "the crash was swallowed"
            } else {
                "did not crash"
            };
            return Err(Failure::new(format!(
                "{reason}; crossed: {}",
                in_words(count(&crossed))
            )));
        }
    }
    let last = crossed
        .last()
        .filter(|crossing| crossing.point == plan.point && crossing.ordinal == Some(fire_after));
    ensure!(
        last.is_some() && injector.crossing_count() == fire_after + 1,
        "crashed at crossing {} instead of {}; crossed: {}",
        injector.crossing_count(),
        fire_after + 1,
        in_words(count(&crossed))
    );
    let db = opened.ok_or_else(|| Failure::new("crashed while opening an empty directory"))?;
    check_what_is_left(plan, home, db, account)
}

/// Writes are refused, reads too where memory is half, and neither that nor dropping the handle changes a file.
fn check_what_is_left(plan: Plan, home: &Home, db: TidalDb, account: &Account<'_>) -> Checked<()> {
    let before = home.files()?;
    for (call, operation) in [
        ("record", one_event()),
        ("forget_entity", Operation::ForgetEntity(EntityId(1))),
        (
            "create_collection",
            Operation::CreateCollection(b"after".to_vec()),
        ),
        ("sync", Operation::Sync),
        ("checkpoint", Operation::Checkpoint),
    ] {
        expect_poisoned(call, operation.apply(&db))?;
    }
    if leaves_memory_half(plan.point) {
        expect_poisoned("export", db.export())?;
        expect_poisoned("score", db.score(EntityId(1), SignalId(0), 0, 0))?;
        expect_poisoned("collections", db.collections())?;
    } else {
        account.compare_live(&db)?;
    }
    if plan.which == Which::Middle {
        expect_poisoned("close", db.close())?;
    }
    drop(db);
    ensure!(
        home.files()? == before,
        "the poisoned handle changed files on its way out"
    );
    Ok(())
}

fn one_event() -> Operation {
    Operation::record(vec![tidaldb::testing::workload::Event {
        entity: EntityId(1),
        signal: SignalId(0),
        weight: 1.0,
        at_ms: 0,
        user: None,
        cohorts: Vec::new(),
    }])
}

fn expect_poisoned<T>(call: &str, result: Result<T, Error>) -> Checked<()> {
    match result {
        Err(Error::Poisoned { .. }) => Ok(()),
        Err(error) => Err(Failure::of(
            &format!("{call} on the handle that panicked failed, but not as poisoned"),
            &error,
        )),
        Ok(_) => Err(Failure::new(format!(
            "{call} succeeded on the handle that panicked"
        ))),
    }
}

/// Whether a panic at the point leaves memory behind the log or storage. At the two of the checkpoint it is whole.
fn leaves_memory_half(point: CrashPoint) -> bool {
    !matches!(
        point,
        CrashPoint::CheckpointPreFlush | CrashPoint::CheckpointPostFlush
    )
}
