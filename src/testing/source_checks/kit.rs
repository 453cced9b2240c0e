//! Rules for the length of files, and for the state of the kit.
//!
//! The kit works in parallel tests without a word: it keeps no state of the process, and the environment tells it nothing
//! but, in a child that it started itself, that it is one.

use super::{Rule, Sources};

/// No file has more lines.
const LINES_MAX: usize = 600;
const TOO_MANY_LINES: &str = match std::str::from_utf8(&[b'\n'; LINES_MAX + 1]) {
    Ok(text) => text,
    Err(_) => "",
};

pub(super) const FILE_LENGTH: Rule = Rule {
    name: "no file has more than six hundred lines",
    findings: |sources| {
        let lengths = sources.rust("").map(|(file, text)| (file, text.lines().count()));
        let long = lengths.filter(|(_, lines_len)| *lines_len > LINES_MAX);
        long.map(|(file, lines_len)| format!("{file} has {lines_len} lines"))
            .collect()
    },
    planted: &[
        (
            "tests/peers/src/long.rs",
            "",
            TOO_MANY_LINES,
            "tests/peers/src/long.rs has 601 lines",
        ),
        ("src/lib.rs", "", TOO_MANY_LINES, "src/lib.rs has"),
    ],
};

pub(super) const VARIABLES: Rule = Rule {
    name: "the kit reads no variable but those by which its children know themselves",
    findings: |sources| {
        let found = lines_of_the_kit(sources, &["env::var", "env::set_var", "option_env!"]);
        difference(&found, &["process/child.rs: let orders = env::var_os(ORDERS)?;"])
    },
    planted: &[
        (
            "src/testing/plan/mod.rs",
            "",
            "fn f() { std::env::var(\"SEED\"); }\n",
            "plan/mod.rs: fn f() { std::env::var(\"SEED\"); } is not listed",
        ),
        (
            "src/testing/process/child.rs",
            "env::var_os(ORDERS)",
            "other()",
            "is listed and not there",
        ),
    ],
};

/// Numbers that make names of directories and injectors differ; state of one thread; the listeners for crossings that no
/// thread watches, wherever they are; and an empty database, which is made once and never changes.
pub(super) const STATICS: Rule = Rule {
    name: "the kit keeps no state of the process by which one test could notice another one",
    findings: |sources| {
        let is_item = |line: &String| {
            let (_, code) = line.split_once(": ").expect("a file and a line");
            code.starts_with("static ") || code.contains(") static ") || code.contains("pub static ")
        };
        let lines = lines_of_the_kit(sources, &["static "])
            .into_iter()
            .filter(is_item);
        let items: Vec<_> = lines
            .map(|line| {
                line.split_once(" = ")
                    .map_or(line.as_str(), |(item, _)| item)
                    .to_owned()
            })
            .collect();
        difference(
            &items,
            &[
                "crash_injector/injector.rs: static NEXT: AtomicU64",
                "crash_injector/slot.rs: static INTEREST: Cell<u8>",
                "crash_injector/slot.rs: static SLOT: ManuallyDrop<RefCell<ThreadSlot>>",
                "crash_injector/slot.rs: static AT_THREAD_END: EmptySlot",
                "crash_injector/unwatched.rs: pub(super) static LISTENING: AtomicBool",
                "crash_injector/unwatched.rs: static LISTENERS: Mutex<Vec<Arc<HeardCrossings>>>",
                "lab/decoder/database.rs: static NEW: OnceLock<(Pairs, Image)>",
                "sweep/replay.rs: static NEXT: AtomicU64",
                "temp_dir.rs: static NEXT: AtomicU64",
                "workload/clock.rs: static NOW_MS: Cell<i64>",
            ],
        )
    },
    planted: &[
        (
            "src/testing/sweep/shrink.rs",
            "",
            "pub(crate) static SEEN: AtomicBool = FALSE;\n",
            "sweep/shrink.rs: pub(crate) static SEEN: AtomicBool is not listed",
        ),
        (
            "src/testing/temp_dir.rs",
            "",
            "static NEXT: AtomicU64 = ZERO;\n",
            "temp_dir.rs: static NEXT: AtomicU64 is not listed",
        ),
    ],
};

/// The lines of the kit, but for its tests, that hold one of `words`, as `file: line`.
fn lines_of_the_kit(sources: &Sources, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (file, text) in sources.rust("src/testing/") {
        let file = &file["src/testing/".len()..];
        if format!("/{file}").contains("/tests") || file.starts_with("source_checks/") {
            continue;
        }
        let code = text.lines().map(str::trim).filter(|line| !line.starts_with("//"));
        let holds = code.filter(|line| words.iter().any(|word| line.contains(word)));
        found.extend(holds.map(|line| format!("{file}: {line}")));
    }
    found
}

/// The lines that are found and not listed as often, and those that are listed and not found.
fn difference(found: &[String], listed: &[&str]) -> Vec<String> {
    let mut missing = listed.to_vec();
    let mut wrong = Vec::new();
    for line in found {
        match missing.iter().position(|listed| listed == line) {
            Some(place) => drop(missing.remove(place)),
            None => wrong.push(format!("{line} is not listed")),
        }
    }
    wrong.extend(
        missing
            .iter()
            .map(|line| format!("{line} is listed and not there")),
    );
    wrong
}
