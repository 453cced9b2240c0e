//! The rule for the seam in `src/sync.rs`, the only file of the engine that names the standard library's locks, condition
//! variables, atomics and threads.
//!
//! For each import the seam has a line for production builds and a line for test builds, with the same names. The line
//! for production builds imports from the standard library. The kit and all tests may use the standard library directly.

use std::collections::BTreeSet;

use super::Rule;
use super::hooks::TEST_CFG;
use super::imports::{paths_in, qualified_paths};

pub(super) const FILE: &str = "src/sync.rs";
/// The cfg line of production builds.
pub(super) const PRODUCTION_CFG: &str = r#"#[cfg(not(any(test, feature = "test-utils")))]"#;
const TRACK_CALLER: &str = r#"#[cfg_attr(any(test, feature = "test-utils"), track_caller)]"#;
/// The module of the kit that may replace names of the standard library.
const TEST_MODULE: &str = "crate::testing::scheduler::primitives::";

/// The crates of the standard library.
const LIBRARIES: [&str; 3] = ["std", "core", "alloc"];
/// The guarded modules of the standard library.
const GUARDED: [&str; 3] = ["sync", "thread", "hint"];
/// The names in them that are allowed in each file.
const ALLOWED: [&[&str]; 4] = [
    &["sync", "Arc"],
    &["sync", "Weak"],
    &["sync", "atomic", "Ordering"],
    &["hint", "black_box"],
];

pub(super) const RULE: Rule = Rule {
    name: "the engine names locks, condition variables, atomics and threads of the standard library in `src/sync.rs` alone",
    findings: |sources| {
        let mut findings = BTreeSet::new();
        let is_engine = |file: &str| !file.starts_with("testing/") && file != "sync.rs";
        for (file, _) in sources.crate_files().filter(|(file, _)| is_engine(file)) {
            let code = sources.code(&format!("src/{file}")).replace('\n', " ");
            let names_library = |item: &&str| LIBRARIES.iter().any(|library| item.contains(library));
            for item in code.split(';').filter(names_library) {
                let paths = paths_in(item).into_iter().map(|(path, _)| path);
                let paths = paths.chain(qualified_paths(item)).filter(|path| is_guarded(path));
                findings.extend(paths.map(|path| format!("{file} names {}", path.join("::"))));
            }
        }
        findings.into_iter().collect()
    },
    planted: &[
        "src/wal/log.rs |  | use std::sync::{Arc, Mutex};\n | wal/log.rs names std::sync::Mutex",
        "src/wal/log.rs |  | use std::{io, sync::{\n    atomic::AtomicU64,\n    mpsc as queue,\n}};\n | names std::sync::mpsc",
        "src/wal/log.rs |  | use std::{io, sync::atomic::{AtomicU64, Ordering}};\n | names std::sync::atomic::AtomicU64",
        "src/wal/log.rs |  | use core::sync::atomic::AtomicU8;\n | names core::sync::atomic::AtomicU8",
        "src/wal/log.rs |  | use std::sync::PoisonError;\n | names std::sync::PoisonError",
        "src/wal/log.rs |  | use std::sync::*;\n | names std::sync::*",
        "src/wal/log.rs |  | use std::{io, thread};\n | names std::thread",
        "src/wal/log.rs |  | use std::sync::{self, Arc};\n | names std::sync::self",
        "src/wal/log.rs |  | use std::hint;\n | names std::hint",
        "src/wal/log.rs |  | use std as library;\n | names std",
        "src/wal/log.rs |  | fn f() { std::thread::spawn(g); }\n | names std::thread::spawn",
        "src/wal/log.rs |  | fn f() { ::std::hint::spin_loop(); }\n | names std::hint::spin_loop",
        "src/wal/log.rs |  | fn f() { let pause = std::sync::Barrier::new(2); }\n | names std::sync::Barrier::new",
        "src/wal/log.rs |  | static ONCE: std::sync::LazyLock<u8> = std::sync::LazyLock::new(f);\n | names std::sync::LazyLock",
    ],
};

/// Returns true for a path to a guarded name, or to a module from which such a name can be reached.
fn is_guarded(path: &[String]) -> bool {
    let Some((root, names)) = path.split_first() else {
        return false;
    };
    let is_library = LIBRARIES.contains(&root.as_str());
    let is_guarded = names
        .first()
        .is_none_or(|name| ["*", "self"].contains(&name.as_str()) || GUARDED.contains(&name.as_str()));
    let is_allowed = ALLOWED
        .iter()
        .any(|allowed| names.iter().take(allowed.len()).eq(allowed.iter()));
    is_library && is_guarded && !is_allowed
}

/// The lines of `src/sync.rs`. A legal line of the seam becomes an empty line. rustfmt may put either line of a pair first.
pub(super) fn without_seam(mut lines: Vec<&str>) -> Vec<&str> {
    for first in 0..lines.len() {
        let halves = match lines[first..] {
            [PRODUCTION_CFG, production, TEST_CFG, test, ..]
            | [TEST_CFG, test, PRODUCTION_CFG, production, ..] => Some((production, test)),
            _ => None,
        };
        if let Some((production, test)) = halves
            && let Some(names) = imported_names(production, &["std::"])
            && imported_names(test, &["std::", TEST_MODULE]) == Some(names)
        {
            lines[first..first + 4].fill("");
        }
        if let [TRACK_CALLER, function, ..] = lines[first..]
            && (function.starts_with("pub(crate) fn ") || function.starts_with("fn "))
        {
            lines[first] = "";
        }
    }
    lines
}

/// The names of an import from one of `modules`; `None` for any other line, and for an import with new names.
fn imported_names<'a>(line: &'a str, modules: &[&str]) -> Option<&'a str> {
    let tree = line.strip_prefix("pub(crate) use ")?.strip_suffix(';')?;
    let path = modules.iter().find_map(|module| tree.strip_prefix(module))?;
    let (_, names) = path.rsplit_once("::").unwrap_or(("", path));
    let is_plain = !names.contains(" as ") && !names.contains('*');
    is_plain.then_some(names)
}
