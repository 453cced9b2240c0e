//! Reads the crate's own manifest and sources and holds them to the rule for what it consists of: safe Rust and the
//! standard library. What may bring in anything else has a package of its own, which nobody builds by accident.

use std::fs;
use std::path::{Path, PathBuf};

/// The sections of a manifest, each with its lines but for comments and empty ones.
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

/// What of a manifest breaks the rule that the crate depends on nothing, and its tests on `fjall` alone.
fn wrong_dependencies(manifest: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for (section, lines) in sections(manifest) {
        let is_allowed = match section {
            "[dependencies]" => lines.is_empty(),
            "[dev-dependencies]" => lines.len() == 1 && lines[0].starts_with("fjall = "),
            // Of a platform, of a build script, of a patch, of one crate in its own section.
            other => {
                !other.contains("dependencies") && !other.contains("patch") && !other.contains("replace")
            }
        };
        if !is_allowed {
            wrong.push(format!("{section} {lines:?}"));
        }
    }
    wrong
}

/// The lines of a source that have the word in their code, not in a comment or a string.
fn lines_with_unsafe(source: &str) -> Vec<usize> {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    let has_word = |(_, line): &(usize, &str)| {
        let code = line.split("//").next().unwrap_or_default();
        // Every second part lies between quotes; no source here has a raw string with that word.
        code.split('"')
            .step_by(2)
            .any(|part| part.split(|letter| !is_part(letter)).any(|word| word == "unsafe"))
    };
    let lines = (1..).zip(source.lines());
    lines.filter(has_word).map(|(number, _)| number).collect()
}

/// The files below `dir` with this name or extension, without what cargo makes.
#[expect(
    clippy::disallowed_methods,
    reason = "reads the crate's sources, not a database"
)]
fn files(dir: &Path, is_wanted: &dyn Fn(&Path) -> bool, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("the crate's files") {
        let path = entry.expect("a directory entry").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            files(&path, is_wanted, found);
        } else if is_wanted(&path) {
            found.push(path);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "reads the crate's sources, not a database"
)]
fn text(path: &Path) -> String {
    fs::read_to_string(path).expect("a file of the crate")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_crate_depends_on_nothing_and_forbids_unsafe_code() {
    let manifest = text(&root().join("Cargo.toml"));
    assert_eq!(wrong_dependencies(&manifest), Vec::<String>::new());
    let lints = sections(&manifest)
        .into_iter()
        .find(|(name, _)| *name == "[lints.rust]");
    assert!(lints.is_some_and(|(_, lines)| lines.contains(&r#"unsafe_code = "forbid""#)));
    assert!(
        !root().join("build.rs").exists(),
        "a build script would be code that the lints of the crate do not see"
    );
}

#[test]
fn no_source_of_the_crate_has_unsafe_code_or_allows_it() {
    let mut sources = Vec::new();
    for folder in ["src", "tests"] {
        let is_source = |path: &Path| path.extension().is_some_and(|extension| extension == "rs");
        files(&root().join(folder), &is_source, &mut sources);
    }
    // A peer's interface may leave its own package no choice.
    sources.retain(|path| {
        let below = path.ancestors().take_while(|dir| *dir != root());
        below.skip(1).all(|dir| !dir.join("Cargo.toml").exists())
    });
    assert!(sources.len() > 100, "the sources are read");
    for path in sources {
        let text = text(&path);
        assert_eq!(
            lines_with_unsafe(&text),
            Vec::<usize>::new(),
            "{}",
            path.display()
        );
        let allows = ["allow", "warn", "deny"].map(|level| format!("{level}({}_code", "unsafe"));
        assert!(
            !allows.iter().any(|allow| text.contains(allow)),
            "{} weakens the lint",
            path.display()
        );
    }
}

#[test]
fn every_other_package_is_a_workspace_of_its_own() {
    let mut manifests = Vec::new();
    files(root(), &|path| path.ends_with("Cargo.toml"), &mut manifests);
    assert!(manifests.contains(&root().join("Cargo.toml")));
    for path in manifests
        .into_iter()
        .filter(|path| *path != root().join("Cargo.toml"))
    {
        assert!(path.starts_with(root().join("tests")), "{}", path.display());
        let text = text(&path);
        let workspace = sections(&text)
            .into_iter()
            .find(|(name, _)| *name == "[workspace]");
        assert_eq!(
            workspace.map(|(_, lines)| lines.len()),
            Some(0),
            "{}",
            path.display()
        );
    }
}

#[test]
fn what_breaks_the_rule_is_found() {
    let legal = "[package]\nname = \"x\"\n\n[dependencies]\n\n[dev-dependencies]\nfjall = \"3\"\n";
    assert!(wrong_dependencies(legal).is_empty());
    for addition in [
        "[target.'cfg(unix)'.dependencies]\nlibc = \"0.2\"\n",
        "[build-dependencies]\ncc = \"1\"\n",
        "[dependencies.serde]\nversion = \"1\"\n",
        "[patch.crates-io]\nfjall = { path = \"x\" }\n",
        "[workspace.dependencies]\nserde = \"1\"\n",
    ] {
        assert_eq!(
            wrong_dependencies(&format!("{legal}\n{addition}")).len(),
            1,
            "{addition}"
        );
    }
    let more = legal.replace("[dependencies]\n", "[dependencies]\nlibc = \"0.2\"\n");
    assert_eq!(wrong_dependencies(&more).len(), 1);
    let more = legal.replace("fjall", "serde = \"1\"\nfjall");
    assert_eq!(wrong_dependencies(&more).len(), 1);

    let word = "unsafe";
    let source =
        format!("let a = 1; // {word} in a comment\nlet b = \"{word}\";\n{word} {{ a }}\n{word}_code\n");
    assert_eq!(lines_with_unsafe(&source), [3]);
}
