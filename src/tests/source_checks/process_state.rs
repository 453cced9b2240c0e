//! Rules for the state of the process: statics of the kit, and environment variables.
//!
//! The kit works in parallel tests without any set-up. It has no process-wide state that one test could change for
//! another. It reads one environment variable, which it sets for its own child processes.

use super::{Rule, difference};

pub(super) const VARIABLES: Rule = Rule {
    name: "the crate reads no environment variable except the orders of the kit's child processes",
    findings: |sources| {
        let words = ["env::var", "env::set_var", "option_env!"];
        let found = matching_lines(sources.crate_files(), &words);
        difference(
            &found,
            &["testing/process/child.rs: let orders = env::var_os(ORDERS)?;"],
        )
    },
    planted: &[
        "src/testing/plan/mod.rs |  | let seed = env::var(\"SEED\");\n | env::var(\"SEED\"); is not listed",
        "src/db/open.rs |  | let seed = std::env::var(\"SEED\");\n | env::var(\"SEED\"); is not listed",
        "src/testing/process/child.rs | env::var_os(ORDERS) | other() | is listed but missing",
    ],
};

/// The legal statics: counters for unique names of directories, injectors and scheduled runs; state of one thread; the
/// listeners for crossings of threads without an injector; and an empty database, which is made once and never changes.
const STATIC_ITEMS: &[&str] = &[
    "crash_injector/injector.rs: static NEXT: AtomicU64",
    "crash_injector/slot.rs: static WATCHED_POINTS: Cell<u8>",
    "crash_injector/slot.rs: static SLOT: ManuallyDrop<RefCell<ThreadSlot>>",
    "crash_injector/slot.rs: static CLEAR_AT_THREAD_END: ClearSlotOnDrop",
    "crash_injector/unwatched.rs: pub(super) static LISTENING: AtomicBool",
    "crash_injector/unwatched.rs: static LISTENERS: Mutex<Vec<Arc<UnwatchedCrossings>>>",
    "lab/decoder/database.rs: static NEW: OnceLock<(StoredPairs, Image)>",
    "scheduler/scheduled_thread.rs: static IS_SCHEDULED: Cell<bool>",
    "scheduler/scheduled_thread.rs: static CURRENT: RefCell<Option<ScheduledThread>>",
    "scheduler/scheduled_thread.rs: static RUNS: AtomicU64",
    "temp_dir.rs: static NEXT: AtomicU64",
    "workload/clock.rs: static NOW_MS: Cell<i64>",
    "workload/session.rs: static SESSION_NUMBER: Cell<u32>",
];

pub(super) const STATICS: Rule = Rule {
    name: "the kit has no process-wide state by which one test could affect another",
    findings: |sources| {
        let mut lines = matching_lines(sources.kit(), &["static "]);
        let starts = [": static ", ") static ", "pub static "];
        lines.retain(|line| starts.iter().any(|start| line.contains(start)));
        let item = |line: String| line.split(" = ").next().unwrap_or_default().to_owned();
        difference(&lines.into_iter().map(item).collect::<Vec<_>>(), STATIC_ITEMS)
    },
    planted: &[
        "src/testing/temp_dir.rs |  | pub(crate) static SEEN: Bool = NO;\n | static SEEN: Bool is not listed",
        "src/testing/temp_dir.rs |  | static NEXT: AtomicU64 = ZERO;\n | static NEXT: AtomicU64 is not listed",
    ],
};

/// The lines of code that contain one of `words`, as `file: line`.
fn matching_lines<'a>(files: impl Iterator<Item = (&'a str, &'a str)>, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (file, text) in files {
        let code = text.lines().map(str::trim).filter(|line| !line.starts_with("//"));
        let matching = code.filter(|line| words.iter().any(|word| line.contains(word)));
        found.extend(matching.map(|line| format!("{file}: {line}")));
    }
    found
}
