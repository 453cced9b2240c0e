//! The lock of an open database: a removed lock file, kills, other programs. `src/db/tests/directory.rs` tests
//! directories that cannot be locked.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, park_timeout};
use std::time::{Duration, Instant};

use tidaldb::{Background, Error, TidalDb};

use crate::processes::{ForkedChild, kill, park_forever, record_in_another_process};
use crate::runner::cases;
use crate::setup::{
    Acknowledged, assert_locked, error_chain, event, new_dir, open, open_and_work, options, per_background,
};
use crate::sys;

cases!("lock":
    after_the_lock_file_is_lost_two_handles_of_a_process_never_both_record,
    after_the_lock_file_is_lost_handles_of_two_processes_never_both_record,
    a_database_opens_at_once_after_a_kill,
    a_forked_child_holds_the_lock_until_it_ends,
    a_program_that_was_started_while_a_database_was_open_does_not_hold_the_lock,
    a_database_opens_at_once_after_a_drop_or_close_while_another_thread_starts_programs,
);

type LoseFile = fn(&Path);

/// Ways to lose the lock file.
const LOSSES: [(&str, LoseFile); 3] = [
    ("removed", |lock| fs::remove_file(lock).unwrap()),
    ("moved", |lock| {
        fs::rename(lock, lock.with_file_name("LOCK.old")).unwrap();
    }),
    ("replaced", |lock| {
        fs::remove_file(lock).unwrap();
        fs::write(lock, "").unwrap();
    }),
];

/// Loses the lock file of an open database in each of these ways. `second` then tries to record with a second handle:
/// either its open is refused, or the first handle acknowledges no further call. `second` gets the acknowledged calls
/// of the first handle.
fn without_lock_file(root: &Path, second: impl Fn(&Path, &TidalDb, &mut Acknowledged)) {
    for (loss, lose) in LOSSES {
        let path = new_dir(root, loss).join("db");
        let (first, mut acknowledged) = open_and_work(&path, options(), 0..5);
        lose(&path.join("LOCK"));
        second(&path, &first, &mut acknowledged);
        // The first handle may continue if it is the only handle.
        drop(acknowledged.work(&first, 400..420));
        drop(first);
        acknowledged.assert_at(&path);
        // The lock also works with the lock file that the last open created.
        let _db = open(&path, options());
        assert_locked(&path);
    }
}

fn assert_refused(first: &TidalDb, acknowledged: &mut Acknowledged) {
    let recorded = acknowledged.record(first, 300);
    assert!(recorded.is_err(), "two handles acknowledge events");
}

fn after_the_lock_file_is_lost_two_handles_of_a_process_never_both_record(root: &Path) {
    without_lock_file(root, |path, first, acknowledged| {
        match TidalDb::open(path, options()) {
            Err(error) => assert!(matches!(error, Error::Locked { .. }), "{}", error_chain(&error)),
            Ok(second) => {
                assert_refused(first, acknowledged);
                acknowledged.must_work(&second, 100..120);
                assert_refused(first, acknowledged);
            }
        }
    });
}

fn after_the_lock_file_is_lost_handles_of_two_processes_never_both_record(root: &Path) {
    without_lock_file(root, |path, first, acknowledged| {
        if let Ok(len) = record_in_another_process(path, 100..120) {
            acknowledged.events.extend(100..100 + len);
            assert_refused(first, acknowledged);
        }
    });
}

fn a_database_opens_at_once_after_a_kill(root: &Path) {
    let path = root.join("db");
    let mut acknowledged = Acknowledged::default();
    for round in 0..40 {
        let background = [Background::Caller, Background::OwnThreads][usize::from(round % 2 == 1)];
        let mut child = ForkedChild::start(|parent| {
            let db = open(&path, options().background(background));
            db.record(&event(round)).unwrap();
            parent.send_line("recorded");
            park_forever();
        });
        child.read_line();
        acknowledged.events.insert(round);
        kill(child.pid);
        acknowledged.assert_at(&path);
    }
}

fn a_forked_child_holds_the_lock_until_it_ends(root: &Path) {
    for (background, path) in per_background(root) {
        let mut opener = ForkedChild::start(|parent| {
            let db = open(&path, options().background(background));
            for entity in 0..5 {
                db.record(&event(entity)).unwrap();
            }
            let idle = ForkedChild::start(|_| park_forever());
            parent.send_line(&idle.pid.to_string());
            park_forever();
        });
        let idle: i32 = opener.read_line().parse().unwrap();
        kill(opener.pid);
        assert_locked(&path);
        kill(idle);
        Acknowledged::of_events(0..5).assert_at(&path);
    }
}

/// A command for the program `name`. The standard library has two ways to start it: with a user id it calls `fork`,
/// otherwise `posix_spawn`.
fn program(name: &str, sets_user: bool) -> Command {
    let mut command = Command::new(name);
    if sets_user {
        command.uid(sys::user());
    }
    command
}

/// The time limit for the kernel to close the descriptors that a new program does not inherit. It needs microseconds.
const INHERITED_LIMIT: Duration = Duration::from_secs(10);

/// Returns true if the process has a file or directory at or below `path` open.
fn has_open(pid: i32, path: &Path) -> bool {
    let mut descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    descriptors.any(|descriptor| {
        let file = fs::read_link(descriptor.unwrap().path());
        // A descriptor may have been closed since the directory was read.
        file.is_ok_and(|file| file.starts_with(path))
    })
}

fn a_program_that_was_started_while_a_database_was_open_does_not_hold_the_lock(root: &Path) {
    for sets_user in [false, true] {
        let path = root.join(sets_user.to_string());
        let mut opener = ForkedChild::start(|parent| {
            let db = open(&path, options());
            db.record(&event(0)).unwrap();
            let sleeping = program("sleep", sets_user).arg("1000").spawn();
            parent.send_line(&sleeping.unwrap().id().to_string());
            park_forever();
        });
        let sleeping: i32 = opener.read_line().parse().unwrap();
        // `spawn` may return before the kernel has closed the descriptors that the new program does not inherit.
        let begun = Instant::now();
        while has_open(sleeping, &path) {
            assert!(
                begun.elapsed() < INHERITED_LIMIT,
                "the program inherits a descriptor"
            );
            park_timeout(Duration::from_millis(1));
        }
        kill(opener.pid);
        Acknowledged::of_events(0..1).assert_at(&path);
        kill(sleeping);
    }
}

/// Between its fork and its exec a new program holds copies of all descriptors, also of the descriptor of the lock.
fn a_database_opens_at_once_after_a_drop_or_close_while_another_thread_starts_programs(root: &Path) {
    const ROUNDS: u64 = 200;
    for sets_user in [false, true] {
        let path = root.join(sets_user.to_string());
        let ended = AtomicBool::new(false);
        let programs_len = thread::scope(|scope| {
            let starter = scope.spawn(|| {
                let mut programs_len = 0_u64;
                while !ended.load(Ordering::Relaxed) {
                    let status = program("true", sets_user).status().unwrap();
                    assert!(status.success());
                    programs_len += 1;
                }
                programs_len
            });
            let refused = (0..ROUNDS).find_map(|round| match TidalDb::open(&path, options()) {
                Err(error) => Some(format!("round {round}: {}", error_chain(&error))),
                Ok(db) if round % 2 == 0 => db.close().err().map(|error| error_chain(&error)),
                Ok(_) => None,
            });
            ended.store(true, Ordering::Relaxed);
            let programs_len = starter.join().unwrap();
            assert_eq!(refused, None, "{programs_len} programs were started");
            programs_len
        });
        assert!(
            programs_len > ROUNDS / 10,
            "only {programs_len} programs were started"
        );
    }
}
