//! Ways to die that must be the same: what the process leaves is what it had written, however it ended.
//!
//! The same plan ends as image of the recorded run, as panic that unwinds through every destructor, on a simulated disk
//! and on real files, as device that fails, and as child process that is killed, or aborts, at the exact place. All of
//! them must leave the same files, byte for byte, and recover to the same state. If they do not, no image tells anything
//! of real crashes: that is a fault of the kit, or the work is not the same in every run.

use std::env;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::panic::{catch_unwind, panic_any, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use super::driver::Journal;
use super::one;
use super::record::{Recorded, do_work};
use super::recover::{State, failure_of, recover};
use super::report::Finding;
use super::setup::{DB_DIR, Setup};
use crate::fs::RealFiles;
use crate::testing::oracle::{Death, Oracle};
use crate::testing::plan::{Crash, Plan, Site};
use crate::testing::sim_disk::{Image, ImageChoice, SimDiskOptions};
use crate::testing::verdict::{Failure, FailureKind, run_to_crash};
use crate::testing::{CrashAction, CrashInjector, CrashSweep, SimDisk, scoped_injector};
use crate::threads;

/// How the kit's own child process knows itself: its value is the directory and the plan. The only environment variable
/// of the kit.
const CHILD_VARIABLE: &str = "TIDALDB_TESTING_CHILD";
/// What a child prints when it stands at its place.
const PARKED: &str = "tidaldb-testing: parked";
/// How long a child may take.
const CHILD_TIME: Duration = Duration::from_secs(60);

/// A way to die.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// The image of the recorded run.
    Image,
    /// A panic that unwinds, on the simulated disk.
    Unwind,
    /// A panic that unwinds, on real files.
    UnwindOnFiles,
    /// The device fails, and every call returns early.
    DeviceFails,
    /// `SIGKILL` of a child process that stands at the place.
    Kill,
    /// A child process that aborts at the place. Of crash points alone.
    Abort,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Image => "image",
            Self::Unwind => "unwinding panic",
            Self::UnwindOnFiles => "unwinding panic on real files",
            Self::DeviceFails => "failing device",
            Self::Kill => "SIGKILL",
            Self::Abort => "abort",
        })
    }
}

/// Deaths that left the same.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Agreement {
    /// The ways that were tried. None in the kit's own child process, which is there for one of them only.
    pub ways: Vec<Way>,
    /// Events that every one of them kept.
    pub events: u64,
}

impl Plan {
    /// Runs the plan once for each [`Way`] to die, with the standard options, and compares what is left.
    ///
    /// `test` is the full name of the calling test, `concat!(module_path!(), "::name_of_the_test")`: the child is this
    /// test binary, run for that test alone. Call it before anything that a child should not do too.
    ///
    /// # Errors
    /// [`Finding`] if one of them leaves other files or another state than the image says, does not reach the place, or
    /// leaves a state that was not promised; or if the plan has not exactly one crash, or its image is not `all`.
    pub fn agree(&self, test: &str) -> Result<Agreement, Box<Finding>> {
        CrashSweep::of_work(self.work.clone()).agree(self, test)
    }
}

impl CrashSweep {
    /// As [`Plan::agree`], with this sweep's options, storage and files.
    ///
    /// # Errors
    /// As there.
    pub fn agree(&self, plan: &Plan, test: &str) -> Result<Agreement, Box<Finding>> {
        let setup = self.setup.for_plan(plan);
        if let Ok(value) = env::var(CHILD_VARIABLE) {
            be_child(&setup, plan, &value);
            return Ok(Agreement {
                ways: Vec::new(),
                events: 0,
            });
        }
        agree(&setup, plan, test).map_err(|failure| {
            Box::new(Finding {
                of_own_sweep: !setup.is_standard(),
                of_comparison: true,
                ..Finding::new(plan.clone(), failure)
            })
        })
    }
}

/// What one way left: files and the state they recover to.
struct Left {
    image: Image,
    state: State,
}

fn agree(setup: &Setup, plan: &Plan, test: &str) -> Result<Agreement, Failure> {
    let [
        Crash {
            site,
            image: ImageChoice::All,
        },
    ] = plan.crashes[..]
    else {
        let message = "ways to die are compared of plans with one crash, which leaves everything written";
        return Err(Failure::new(FailureKind::NeverReached, message));
    };
    let run = Recorded::of_work(setup, &SimDisk::new());
    if let Some(failure) = run.failures.first() {
        return Err(failure.clone());
    }
    let (builder, known) = one::stand_at(&run, site)?;
    let image = builder.image(&ImageChoice::All);
    let state = recover(setup, &SimDisk::from_image(&image))?;
    let verdict = state.judged_by(&run.known[known].oracle, Death::ProcessCrash);
    if !verdict.is_ok() {
        return Err(failure_of(&verdict));
    }
    let expected = Left { image, state };
    // This one compares by itself.
    one::die(setup, &run, site)?;
    let mut ways = vec![Way::Image, Way::DeviceFails];
    expected.compare(Way::Unwind, &unwind(setup, site)?)?;
    ways.push(Way::Unwind);
    let mut on_files = vec![Way::UnwindOnFiles, Way::Kill];
    on_files.extend(matches!(site, Site::Point { .. }).then_some(Way::Abort));
    for way in on_files {
        let dir = TempDir::new()?;
        match way {
            Way::UnwindOnFiles => unwind_on(setup, site, &real_disk(&dir.0)?, &dir.0.join("db"))?,
            _ => die_in_child(plan, test, &dir.0, way)?,
        }
        expected.compare(way, &left_in(setup, &dir.0)?)?;
        ways.push(way);
    }
    Ok(Agreement {
        ways,
        events: verdict.counts.recovered,
    })
}

impl Left {
    fn compare(&self, way: Way, other: &Self) -> Result<(), Failure> {
        let differences = self.image.differences(&other.image);
        let what = if differences.is_empty() && self.state == other.state {
            return Ok(());
        } else if differences.is_empty() {
            "the same files recover to another state".to_owned()
        } else {
            differences.join("; ")
        };
        let message = format_args!("{} and {way} leave other things: {what}", Way::Image);
        Err(Failure::new(FailureKind::DeathsDisagree, message))
    }
}

/// What is in the directory, and the state that the database in it recovers to.
fn left_in(setup: &Setup, dir: &Path) -> Result<Left, Failure> {
    let image = Image::read_from(&RealFiles, dir).map_err(io_failure)?;
    // Recovers on the real files.
    let files = setup.wrapped(Arc::new(RealFiles));
    let db = setup.open(&files, &dir.join("db"));
    let db =
        db.map_err(|error| Failure::new(FailureKind::Refused, crate::testing::text::error_chain(&error)))?;
    let state = State::of(&db)?;
    Ok(Left { image, state })
}

fn real_disk(dir: &Path) -> Result<SimDisk, Failure> {
    SimDisk::over(Arc::new(RealFiles), dir, SimDiskOptions::default()).map_err(io_failure)
}

fn io_failure(error: io::Error) -> Failure {
    Failure::new(FailureKind::CannotGoOn, error)
}

fn unwind(setup: &Setup, site: Site) -> Result<Left, Failure> {
    let disk = SimDisk::new();
    unwind_on(setup, site, &disk, Path::new(DB_DIR))?;
    let image = disk.image(&ImageChoice::All);
    if let Some(path) = disk.locks_held().first() {
        let message = format_args!("the lock {} is held after the panic", path.display());
        return Err(Failure::new(FailureKind::LeftBehind, message));
    }
    let state = recover(setup, &disk)?;
    Ok(Left { image, state })
}

/// What a planned panic inside the disk unwinds with.
struct PlannedDeath;

/// Works on `disk` until a panic at `site` unwinds out of it.
fn unwind_on(setup: &Setup, site: Site, disk: &SimDisk, dir: &Path) -> Result<(), Failure> {
    let never = |message: String| Failure::new(FailureKind::NeverReached, message);
    match site {
        Site::Point { point, crossing } => {
            let crashed = run_to_crash(point, crossing, || work(setup, disk, dir, |_| {}));
            crashed.map(drop).map_err(|not| never(not.to_string()))
        }
        Site::Disk { ordinal, side } => {
            let at = (Some(ordinal), side);
            let die = |disk: &SimDisk| {
                disk.observe(move |call| {
                    if (call.ordinal, call.side) == at {
                        // Unlike `panic_any` this prints nothing.
                        resume_unwind(Box::new(PlannedDeath));
                    }
                });
            };
            let outcome = catch_unwind(std::panic::AssertUnwindSafe(|| work(setup, disk, dir, die)));
            disk.observe(|_| {});
            match outcome {
                Err(payload) if payload.is::<PlannedDeath>() => Ok(()),
                Err(payload) => panic_any(payload),
                Ok(()) => Err(never(format!("no disk operation came to {site}"))),
            }
        }
        Site::End => Err(never("the end is no place to die at".to_owned())),
    }
}

/// Does the work below `dir`; `prepare` is called when the disk is ready.
fn work(setup: &Setup, disk: &SimDisk, dir: &Path, prepare: impl FnOnce(&SimDisk)) {
    let oracle = Oracle::new(&setup.options().schema, setup.durability);
    let journal = Journal::of(disk, oracle);
    prepare(disk);
    let files = setup.files_of(disk);
    // What it comes to is judged by what is left.
    do_work(setup, disk, dir, &journal, &files).ok();
}

/// The child's part: does the work of its plan and stands still, or aborts, at its site.
fn be_child(setup: &Setup, plan: &Plan, value: &str) {
    let mut lines = value.splitn(3, '\n');
    let (Some(way), Some(dir), Some(line)) = (lines.next(), lines.next(), lines.next()) else {
        panic!("{CHILD_VARIABLE} is set to something that no parent sets it to");
    };
    // A test may compare several plans; the child is there for one.
    if line != plan.to_string() {
        return;
    }
    let dir = PathBuf::from(dir);
    let disk = match real_disk(&dir) {
        Ok(disk) => disk,
        Err(failure) => panic!("{failure}"),
    };
    let Some(Crash { site, .. }) = plan.crashes.first().cloned() else {
        panic!("the plan has no crash")
    };
    let dir = dir.join("db");
    match site {
        Site::Point { point, crossing } => {
            let action = if way == "abort" {
                CrashAction::Abort
            } else {
                CrashAction::call(|_, _| park())
            };
            let injector = CrashInjector::with_action(point, crossing, action);
            let _installed = scoped_injector(&injector);
            work(setup, &disk, &dir, |_| {});
        }
        Site::Disk { ordinal, side } => work(setup, &disk, &dir, |disk| {
            disk.observe(move |call| {
                if (call.ordinal, call.side) == (Some(ordinal), side) {
                    park();
                }
            });
        }),
        Site::End => {}
    }
    panic!("the child came to the end of its work and not to {site}");
}

/// Tells the parent and waits to be killed. The end of input ends an orphan.
fn park() {
    let mut out = io::stdout();
    writeln!(out, "\n{PARKED}").and_then(|()| out.flush()).ok();
    io::stdin().read_to_end(&mut Vec::new()).ok();
    end();
}

#[expect(
    clippy::disallowed_methods,
    reason = "the kit's own child has nobody left to report to"
)]
fn end() -> ! {
    std::process::exit(3)
}

/// Lets a child die at the site of `plan`, with its files in `dir`.
fn die_in_child(plan: &Plan, test: &str, dir: &Path, way: Way) -> Result<(), Failure> {
    // The harness names tests without the name of the crate.
    let name = test.split_once("::").map_or(test, |(_, name)| name);
    let executable = env::current_exe().map_err(io_failure)?;
    let mut child = Command::new(executable)
        .args([name, "--exact", "--nocapture", "--include-ignored"])
        .env(
            CHILD_VARIABLE,
            format!(
                "{}\n{}\n{plan}",
                if way == Way::Abort { "abort" } else { "park" },
                dir.display()
            ),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(io_failure)?;
    let said = listen(&mut child)?;
    if way == Way::Kill {
        child.kill().map_err(io_failure)?;
    }
    let status = child.wait().map_err(io_failure)?;
    let died = match way {
        Way::Kill => said.parked,
        _ => !said.parked && !status.success() && said.text.contains("CrashInjector: simulated crash"),
    };
    if died {
        return Ok(());
    }
    let message = format_args!(
        "the child for {way}, test {name:?}, ended with {status} before it came to the place: {}",
        said.text.trim()
    );
    Err(Failure::new(FailureKind::NeverReached, message))
}

struct Said {
    parked: bool,
    text: String,
}

/// Reads what the child prints until it stands or ends.
fn listen(child: &mut Child) -> Result<Said, Failure> {
    let (sender, receiver) = mpsc::channel();
    let (out, error) = (child.stdout.take(), child.stderr.take());
    let reading = threads::spawn("tidaldb-child", move || {
        let mut text = String::new();
        let mut parked = false;
        for line in out.into_iter().flat_map(|out| BufReader::new(out).lines()) {
            let Ok(line) = line else { break };
            parked |= line == PARKED;
            if parked {
                break;
            }
            text.push_str(&line);
            text.push('\n');
        }
        if !parked && let Some(mut error) = error {
            error.read_to_string(&mut text).ok();
        }
        sender.send(Said { parked, text }).ok();
    })
    .map_err(io_failure)?;
    let Ok(said) = receiver.recv_timeout(CHILD_TIME) else {
        child.kill().and_then(|()| child.wait()).ok();
        let message = format_args!("the child did not come to the place in {CHILD_TIME:?}");
        return Err(Failure::new(FailureKind::Hang, message));
    };
    reading.join().ok();
    Ok(said)
}

/// A directory of the kit, removed when dropped.
struct TempDir(PathBuf);

impl TempDir {
    fn new() -> Result<Self, Failure> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let unique = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("tidaldb-agree-{}-{unique}", std::process::id()));
        crate::fs::FileAccess::create_dir(&RealFiles, &path).map_err(io_failure)?;
        Ok(Self(path))
    }
}

impl Drop for TempDir {
    #[expect(
        clippy::disallowed_methods,
        reason = "the kit's own directory, whatever is in it"
    )]
    fn drop(&mut self) {
        // One that stays is no reason to fail.
        std::fs::remove_dir_all(&self.0).ok();
    }
}
