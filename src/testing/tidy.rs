//! Reads the crate's own sources and holds them to what is said of all of them.
//!
//! The kit works in parallel tests without a word: it keeps no state of the process, and is told nothing by the
//! environment but, in a child that it started itself, that it is one.

use std::collections::BTreeMap;
use std::path::Path;

use super::hook_rule::read_sources;

/// No file has more lines.
const LINES_MAX: usize = 600;

fn sources(folders: &[&str]) -> BTreeMap<String, String> {
    let mut sources = BTreeMap::new();
    for folder in folders {
        read_sources(Path::new(env!("CARGO_MANIFEST_DIR")), folder, &mut sources);
    }
    assert!(sources.len() > 100, "the sources are read");
    sources
}

/// The lines of the kit, but for its tests, that hold one of `words`, as `file: line`.
fn lines_of_the_kit(words: &[&str]) -> Vec<String> {
    let is_of_kit = |file: &str| {
        let is_test = file.contains("/tests") || file.ends_with("/tidy.rs") || file.contains("/hook_rule");
        file.starts_with("src/testing/") && !is_test
    };
    let mut found = Vec::new();
    for (file, text) in sources(&["src"]).iter().filter(|(file, _)| is_of_kit(file)) {
        let code = text.lines().map(str::trim).filter(|line| !line.starts_with("//"));
        let holds = code.filter(|line| words.iter().any(|word| line.contains(word)));
        found.extend(holds.map(|line| format!("{}: {line}", &file["src/testing/".len()..])));
    }
    found
}

#[test]
fn no_file_has_more_than_six_hundred_lines() {
    for (file, text) in sources(&["src", "tests"]) {
        let lines_len = text.lines().count();
        assert!(lines_len <= LINES_MAX, "{file} has {lines_len} lines");
    }
}

#[test]
fn the_kit_reads_no_variable_but_those_by_which_its_children_know_themselves() {
    assert_eq!(
        lines_of_the_kit(&["env::var", "env::set_var", "option_env!"]),
        [
            "process/child.rs: let orders = env::var_os(ORDERS)?;",
            "sweep/agree.rs: if let Ok(value) = env::var(CHILD_VARIABLE) {",
        ]
    );
}

/// Numbers that make names of directories and injectors differ; what belongs to a thread; who asked to hear of crossings
/// that nobody watches, wherever they are; and an empty database, which is made once and never changes.
#[test]
fn the_kit_keeps_nothing_of_the_process_that_a_test_could_tell_another_one_by() {
    let is_item = |line: &String| {
        let (_, code) = line.split_once(": ").expect("a file and a line");
        code.starts_with("static ") || code.contains(") static ") || code.contains("pub static ")
    };
    let mut found = lines_of_the_kit(&["static "]);
    found.retain(is_item);
    let names: Vec<_> = found
        .iter()
        .map(|line| line.split_once(" = ").map_or(line.as_str(), |(item, _)| item))
        .collect();
    assert_eq!(
        names,
        [
            "crash_injector/injector.rs: static NEXT: AtomicU64",
            "crash_injector/slot.rs: static INTEREST: Cell<u8>",
            "crash_injector/slot.rs: static SLOT: ManuallyDrop<RefCell<Slot>>",
            "crash_injector/slot.rs: static AT_THREAD_END: EmptySlot",
            "crash_injector/unwatched.rs: pub(super) static LISTENING: AtomicBool",
            "crash_injector/unwatched.rs: static LISTENERS: Mutex<Vec<Arc<Heard>>>",
            "lab/decoder/database.rs: static NEW: OnceLock<(Pairs, Image)>",
            "sweep/agree.rs: static NEXT: AtomicU64",
            "sweep/one.rs: static NEXT: AtomicU64",
            "temp_dir.rs: static NEXT: AtomicU64",
            "workload/clock.rs: static NOW_MS: Cell<i64>",
        ]
    );
}
