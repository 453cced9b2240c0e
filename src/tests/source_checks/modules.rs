//! The rules for the length of files, and for the places of modules and of their tests.
//!
//! A module with parts is a folder with `mod.rs`. The tests of the files in a folder are in its `tests.rs` or in its folder
//! `tests`.

use std::collections::BTreeSet;

use super::{Rule, Sources, is_of_tests};

/// Modules whose file is beside their folder. The contract fixes the places of these files.
const FILES_BESIDE_FOLDERS: [&str; 2] = ["src/db/collections.rs", "src/entities/co_engagement.rs"];

/// The largest number of lines of a file.
pub(super) const LINES_MAX: usize = 600;

pub(super) const FILE_LENGTH: Rule = Rule {
    name: "no file has more than six hundred lines",
    findings: |sources| {
        let lengths = sources.rust("").map(|(file, text)| (file, text.lines().count()));
        let long = lengths.filter(|(_, lines_len)| *lines_len > LINES_MAX);
        long.map(|(file, lines_len)| format!("{file} has {lines_len} lines"))
            .collect()
    },
    planted: &[
        "tests/peers/src/long.rs |  | <many lines> | tests/peers/src/long.rs has 601 lines",
        "src/lib.rs |  | <many lines> | src/lib.rs has",
    ],
};

pub(super) const PLACES: Rule = Rule {
    name: "a module with parts is a folder with `mod.rs`, and the tests of a folder are in its `tests`",
    findings: |sources: &Sources| {
        let folders: BTreeSet<&str> = sources
            .rust("src/")
            .flat_map(|(file, _)| file.match_indices('/').map(|(end, _)| &file[..end]))
            .collect();
        let mut findings = Vec::new();
        for (file, _) in sources.rust("src/") {
            let module = file.trim_end_matches(".rs");
            if folders.contains(module) && !FILES_BESIDE_FOLDERS.contains(&file) {
                findings.push(format!("{file} is beside its folder"));
            }
            let code: String = sources.code(file).split_whitespace().collect();
            let has_tests = code.contains("#[test]") || code.contains("::test]");
            if has_tests && !is_of_tests(file) {
                findings.push(format!("{file} holds tests"));
            }
            if code.contains("#[path=") || code.contains(",path=") {
                findings.push(format!("{file} declares a module at another path"));
            }
        }
        findings
    },
    planted: &[
        "src/decay/part.rs |  | fn f() {} | src/decay.rs is beside its folder",
        "src/decay.rs |  | #[test]\nfn f() {}\n | src/decay.rs holds tests",
        "src/decay.rs |  | #[test] #[should_panic]\nfn f() {}\n | src/decay.rs holds tests",
        "src/decay.rs |  | #[cfg_attr(test, path = \"x.rs\")]\nmod x;\n | src/decay.rs declares a module at another path",
        "src/decay.rs |  | #[path = \"x.rs\"]\nmod x;\n | src/decay.rs declares a module at another path",
    ],
};
