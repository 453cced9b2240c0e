//! Rules for dependencies and unsafe code: the crate is safe Rust and uses only the standard library. Code that needs
//! more is in a separate package, which no build of the crate includes.

use std::rc::Rc;

use super::code::is_part_of_word;
use super::{Rule, SourceFile, Sources};

const MANIFEST: &str = "Cargo.toml";
/// Levels of a lint that weaken `forbid`.
const LEVELS: [&str; 3] = ["allow", "warn", "deny"];

pub(super) const DEPENDENCIES: Rule = Rule {
    name: "the crate depends on no other crate, and its tests on fjall alone",
    findings: |sources| {
        let wrong = |(section, lines): (&str, Vec<&str>)| {
            let is_allowed = match section {
                "[dependencies]" => lines.is_empty(),
                "[dev-dependencies]" => lines.len() == 1 && lines[0].starts_with("fjall = "),
                // Dependencies of a platform, of a build script or of one crate in its own section, and patches.
                other => !["dependencies", "patch", "replace"]
                    .iter()
                    .any(|word| other.contains(word)),
            };
            (!is_allowed).then(|| format!("{section} {lines:?}"))
        };
        sections(sources.text(MANIFEST))
            .into_iter()
            .filter_map(wrong)
            .collect()
    },
    planted: &[
        "Cargo.toml |  | [target.'cfg(unix)'.dependencies]\nlibc = \"0.2\"\n | [target.'cfg(unix)'.dependencies]",
        "Cargo.toml |  | [build-dependencies]\ncc = \"1\"\n | [build-dependencies]",
        "Cargo.toml |  | [dependencies.serde]\nversion = \"1\"\n | [dependencies.serde]",
        "Cargo.toml |  | [patch.crates-io]\nfjall = { path = \"x\" }\n | [patch.crates-io]",
        "Cargo.toml |  | [workspace.dependencies]\nserde = \"1\"\n | [workspace.dependencies]",
        "Cargo.toml | [dependencies]\n | [dependencies]\nlibc = \"0.2\"\n | [dependencies] [\"libc",
        "Cargo.toml | fjall =  | serde = \"1\"\nfjall =  | [dev-dependencies] [\"serde",
    ],
};

pub(super) const LINTS: Rule = Rule {
    name: "the manifest forbids unsafe code, and the crate has no build script, which the lints would not check",
    findings: |sources| {
        let mut wrong = Vec::new();
        let lints = section(sources.text(MANIFEST), "[lints.rust]");
        if !lints.is_some_and(|lines| lines.contains(&r#"unsafe_code = "forbid""#)) {
            wrong.push("unsafe_code is not forbidden".to_owned());
        }
        if sources.0.contains_key("build.rs") {
            wrong.push("the crate has a build script".to_owned());
        }
        wrong
    },
    planted: &[
        "Cargo.toml | unsafe_code = \"forbid\" | unsafe_code = \"deny\" | unsafe_code is not forbidden",
        "build.rs |  | fn main() {}\n | the crate has a build script",
    ],
};

pub(super) const SAFE_SOURCES: Rule = Rule {
    name: "no source of the crate has unsafe code or weakens the lint",
    findings: |sources| {
        let mut wrong = Vec::new();
        // A separate package may need unsafe code for the interface of a peer.
        let is_own = |(file, _): &(&str, &str)| !is_of_other_package(sources, file);
        for (file, text) in sources.rust("").filter(is_own) {
            wrong.extend(
                lines_with_unsafe(sources.code(file))
                    .into_iter()
                    .map(|line| format!("{file}:{line} has unsafe code")),
            );
            let weakens = |level: &&&str| text.contains(&format!("{level}({}_code", "unsafe"));
            let level = LEVELS.iter().find(weakens);
            wrong.extend(level.map(|level| format!("{file} weakens the lint to {level}")));
        }
        wrong
    },
    planted: &[
        concat!(
            "src/new.rs |  | // ",
            "unsafe",
            "\n",
            "unsafe",
            "_code\nlet b = ",
            "unsafe",
            " { a };\n | src/new.rs:3 has unsafe code"
        ),
        concat!(
            "tests/new/main.rs |  | #![allow(",
            "unsafe",
            "_code)]\n | tests/new/main.rs weakens the lint to allow"
        ),
    ],
};

pub(super) const OTHER_PACKAGES: Rule = Rule {
    name: "every other package is below tests and is a separate workspace",
    findings: |sources| {
        let manifests = sources.0.iter().filter(|(file, _)| file.ends_with("/Cargo.toml"));
        let is_wrong = |(path, file): &(&String, &Rc<SourceFile>)| {
            let workspace = section(&file.text, "[workspace]");
            !path.starts_with("tests/") || workspace.is_none_or(|lines| !lines.is_empty())
        };
        manifests.filter(is_wrong).map(|(file, _)| file.clone()).collect()
    },
    planted: &[
        "tests/new/Cargo.toml |  | [package]\n | tests/new/Cargo.toml",
        "tests/new/Cargo.toml |  | [workspace]\nmembers = []\n | tests/new/Cargo.toml",
        "other/Cargo.toml |  | [workspace]\n | other/Cargo.toml",
    ],
};

/// The sections of a manifest, each with its lines without comments and empty lines.
fn sections(manifest: &str) -> Vec<(&str, Vec<&str>)> {
    let mut sections = vec![("", Vec::new())];
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            sections.push((line, Vec::new()));
        } else if !line.is_empty()
            && !line.starts_with('#')
            && let Some((_, lines)) = sections.last_mut()
        {
            lines.push(line);
        }
    }
    sections
}

/// The lines of one section of a manifest.
fn section<'a>(manifest: &'a str, name: &str) -> Option<Vec<&'a str>> {
    let found = sections(manifest)
        .into_iter()
        .find(|(section, _)| *section == name);
    found.map(|(_, lines)| lines)
}

/// Returns true if a folder around the file, except the root, has a manifest.
fn is_of_other_package(sources: &Sources, file: &str) -> bool {
    let folders = file.match_indices('/').map(|(end, _)| &file[..end]);
    folders
        .into_iter()
        .any(|folder| sources.0.contains_key(&format!("{folder}/Cargo.toml")))
}

/// The numbers of the lines of code with the word `unsafe`.
fn lines_with_unsafe(code: &str) -> Vec<usize> {
    let has_word =
        |(_, line): &(usize, &str)| line.split(|it| !is_part_of_word(it)).any(|word| word == "unsafe");
    let lines = (1..).zip(code.lines()).filter(has_word);
    lines.map(|(number, _)| number).collect()
}
