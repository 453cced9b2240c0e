//! The rule for names in CONTRIBUTING.md: files and folders that it names exist, and every other name, also in a filter of
//! tests, is a word of a source, or its beginning.

use std::collections::BTreeSet;

use super::code::is_part_of_word;
use super::{Rule, Sources};

pub(super) const RULE: Rule = Rule {
    name: "CONTRIBUTING.md names existing files, functions and types only",
    findings,
    planted: &[
        "CONTRIBUTING.md |  | See `sweep/no_such_file.rs`. | sweep/no_such_file.rs does not exist",
        "CONTRIBUTING.md |  | See `src/no_such_folder`. | src/no_such_folder does not exist",
        "CONTRIBUTING.md |  | Call `no_such_function`. | no_such_function does not occur",
        "CONTRIBUTING.md |  | Call `CrashSweep::no_such_function`. | no_such_function does not occur",
        "CONTRIBUTING.md |  | Run `cargo test --lib no_such::test`. | no_such does not occur",
    ],
};

fn findings(sources: &Sources) -> Vec<String> {
    let text = sources.text("CONTRIBUTING.md");
    let words = words_of(sources);
    let mut findings = Vec::new();
    for name in names(text) {
        if is_path(name) {
            let below = format!("{}/", name.trim_end_matches('/'));
            let exists = sources.rust("").any(|(file, _)| {
                file == name || file.ends_with(&format!("/{name}")) || file.starts_with(&below)
            });
            findings.extend((!exists).then(|| format!("{name} does not exist")));
        } else if !name.contains('/') && extension(name) != Some("toml") {
            let parts = name.split([':', '.']);
            let missing = parts.map(|part| part.trim_end_matches("()"));
            let missing = missing.filter(|part| !is_known(part, &words));
            findings.extend(missing.map(|part| format!("{part} does not occur in any source")));
        }
    }
    findings
}

/// The names between backticks, and the filters of commands that run tests.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let mut is_in_fence = false;
    let lines = text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_in_fence ^= is_fence;
        !is_in_fence && !is_fence
    });
    // Every second part is between backticks.
    let quoted = lines.flat_map(|line| line.split('`').skip(1).step_by(2));
    quoted.flat_map(|quoted| {
        let is_test = quoted.starts_with("cargo test");
        let filters = quoted
            .split(' ')
            .filter(move |word| is_test && word.contains("::"));
        let name = Some(quoted).filter(|quoted| is_name(quoted));
        filters.chain(name)
    })
}

fn is_name(quoted: &str) -> bool {
    let is_letter = |letter: char| is_part_of_word(letter) || ":/.".contains(letter);
    quoted.trim_end_matches("()").chars().all(is_letter) && !quoted.starts_with('.') && quoted != "cargo"
}

/// Returns true for the path of a Rust source, and of a folder of sources. `NAME` in a path stands for any name.
fn is_path(name: &str) -> bool {
    let is_folder = name.starts_with("src/") && !name.contains('.');
    (is_folder || extension(name) == Some("rs")) && !name.contains("NAME")
}

fn extension(name: &str) -> Option<&str> {
    name.rsplit_once('.').map(|(_, extension)| extension)
}

/// All words of the sources.
fn words_of(sources: &Sources) -> BTreeSet<&str> {
    let texts = sources
        .rust("")
        .filter(|(file, _)| *file != "src/tests/source_checks/documents.rs");
    texts
        .flat_map(|(_, text)| text.split(|letter| !is_part_of_word(letter)))
        .collect()
}

/// Returns true if a word of the sources is `part` or begins with it, as a filter of tests may do.
fn is_known(part: &str, words: &BTreeSet<&str>) -> bool {
    let next = words.range(part..).next();
    part.is_empty() || next.is_some_and(|word| word.starts_with(part))
}
