//! The rule for the names of types: each name has one meaning in the whole crate and its tests.

use std::collections::BTreeMap;

use super::Rule;

pub(super) const UNIQUE: Rule = Rule {
    name: "no name of a type is declared twice in the crate and its tests",
    findings: |sources| {
        let mut counts = BTreeMap::new();
        let own = ["src/", "tests/"]
            .into_iter()
            .flat_map(|folder| sources.rust(folder));
        for (file, text) in own {
            if !file.starts_with("tests/peers/") && !file.starts_with("tests/fuzz/") {
                for name in text.lines().filter_map(declared_type) {
                    *counts.entry(name).or_insert(0) += 1;
                }
            }
        }
        let twice = counts.into_iter().filter(|(_, count)| *count > 1);
        twice
            .map(|(name, _)| format!("{name} is declared twice"))
            .collect()
    },
    planted: &[
        "tests/support/new.rs |  | pub(crate) struct TidalDb;\n | TidalDb is declared twice",
        "src/new.rs |  | fn f() {\n    enum CrashPoint {}\n}\n | CrashPoint is declared twice",
        "src/new.rs |  | type WriteBatch<T> = Vec<T>;\n | WriteBatch is declared twice",
        "src/new.rs |  | pub(in crate::testing) trait FileRole {}\n | FileRole is declared twice",
    ],
};

/// The type that a line declares. An indented alias is an associated type.
fn declared_type(line: &str) -> Option<&str> {
    let is_visibility = |word: &&str| word.starts_with("pub") || word.ends_with(')');
    let mut words = line.split_whitespace().skip_while(is_visibility);
    let is_type = match words.next()? {
        "struct" | "enum" | "trait" | "union" => true,
        "type" => !line.starts_with(' '),
        _ => false,
    };
    let name = words
        .next()?
        .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .next()?;
    (is_type && name.starts_with(char::is_uppercase)).then_some(name)
}
