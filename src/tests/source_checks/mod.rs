//! Checks of the project's own sources and manifests.
//!
//! Owns the reader of the files and the list of rules. Each rule has planted violations: changes of the sources that
//! the rule must find. The reader skips build output, so a build of one of the packages does not change the results.

mod code;
mod documents;
mod hooks;
mod imports;
pub(crate) mod limits;
mod modules;
mod names;
mod packages;
mod planted;
mod process_state;
mod seam;
mod words;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::rc::Rc;

use self::code::code_of;
use crate::testing::lab::TempDir;

/// A rule for the files of the project.
struct Rule {
    name: &'static str,
    /// Returns every violation of the rule.
    findings: fn(&Sources) -> Vec<String>,
    /// Changes that violate the rule, each as `file | part of its text | replacement | part of the finding`. If the
    /// part of the text is empty, the replacement is appended to the file, which is created if it does not exist.
    planted: &'static [&'static str],
}

const RULES: &[Rule] = &[
    limits::RULE,
    hooks::RULE,
    seam::RULE,
    imports::CIRCLES,
    imports::LAB,
    imports::LAYERS,
    modules::FILE_LENGTH,
    modules::PLACES,
    process_state::VARIABLES,
    process_state::STATICS,
    names::UNIQUE,
    packages::DEPENDENCIES,
    packages::LINTS,
    packages::SAFE_SOURCES,
    packages::OTHER_PACKAGES,
    planted::RULE,
    words::RULE,
    documents::RULE,
];

/// The sources below `src` and `tests`, `build.rs`, CONTRIBUTING.md, and every manifest, by path from the root, with `/`
/// between names. Copies share the unchanged files.
#[derive(Clone, Default)]
struct Sources(BTreeMap<String, Rc<SourceFile>>);

/// A file. Its code is computed once, for all rules.
struct SourceFile {
    text: String,
    code: OnceCell<String>,
}

impl SourceFile {
    fn new(text: String) -> Rc<Self> {
        let code = OnceCell::new();
        Rc::new(Self { text, code })
    }
}

impl Sources {
    fn read(root: &Path) -> Self {
        let mut sources = Self::default();
        sources.read_folder(root, "");
        sources
    }

    /// Reads the files of a folder that belong to the project. Skips hidden folders and folders with build output of
    /// cargo, which have the name `target` or a tag.
    #[expect(
        clippy::disallowed_methods,
        reason = "reads the crate's sources, not a database"
    )]
    fn read_folder(&mut self, root: &Path, folder: &str) {
        for entry in fs::read_dir(root.join(folder)).expect("a folder of the project") {
            let entry = entry.expect("a directory entry");
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{folder}{name}");
            if entry.file_type().expect("its type").is_dir() {
                let is_output = name == "target" || entry.path().join("CACHEDIR.TAG").exists();
                if !is_output && !name.starts_with('.') {
                    self.read_folder(root, &format!("{path}/"));
                }
            } else if is_read(&path) {
                let text = fs::read_to_string(entry.path()).expect("a text");
                self.0.insert(path, SourceFile::new(text));
            }
        }
    }

    /// The path and text of each Rust source whose path begins with `prefix`.
    fn rust<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let files = self
            .0
            .iter()
            .map(|(path, file)| (path.as_str(), file.text.as_str()));
        files.filter(move |(path, _)| path.starts_with(prefix) && is_rust(path))
    }

    /// The path below `src` and the text of each source of the crate, except its tests.
    fn crate_files(&self) -> impl Iterator<Item = (&str, &str)> {
        let files = self
            .rust("src/")
            .map(|(file, text)| (&file["src/".len()..], text));
        files.filter(|(file, _)| !is_of_tests(file))
    }

    /// The path below `src/testing` and the text of each source of the kit, except its tests.
    fn kit(&self) -> impl Iterator<Item = (&str, &str)> {
        self.crate_files()
            .filter_map(|(file, text)| Some((file.strip_prefix("testing/")?, text)))
    }

    /// The text of a file; empty if the file does not exist.
    fn text(&self, path: &str) -> &str {
        self.0.get(path).map_or("", |file| &file.text)
    }

    /// The code of a file, without comments and texts; empty if the file does not exist.
    fn code(&self, path: &str) -> &str {
        let file = self.0.get(path);
        file.map_or("", |file| file.code.get_or_init(|| code_of(&file.text)))
    }

    /// The files after a planted violation, and the expected part of the finding.
    fn with(&self, planted: &str) -> (Self, String) {
        let mut planted = planted.to_owned();
        for (form, times, text) in SHORT_FORMS {
            planted = planted.replace(form, &text.repeat(times));
        }
        let [file, from, to, expected] = planted.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("a planted violation needs four parts: {planted}");
        };
        let mut changed = self.clone();
        let text = self.text(file);
        assert!(text.contains(from), "{file} has no {from:?}");
        let text = if from.is_empty() {
            format!("{text}{to}")
        } else {
            text.replacen(from, to, 1)
        };
        changed.0.insert(file.to_owned(), SourceFile::new(text));
        (changed, expected.to_owned())
    }
}

/// Short forms in planted violations: the form, and the number of repetitions and the text that replace it.
const SHORT_FORMS: [(&str, usize, &str); 6] = [
    ("<cfg>", 1, hooks::TEST_CFG),
    ("<production cfg>", 1, seam::PRODUCTION_CFG),
    ("<hook>", 1, hooks::HOOK),
    ("<many lines>", modules::LINES_MAX + 1, "\n"),
    ("<many comments with what>", 300, "// what\n"),
    ("<many comments with nobody>", 60, "// nobody\n"),
];

fn is_rust(path: &str) -> bool {
    path.rsplit_once('.')
        .is_some_and(|(_, extension)| extension == "rs")
}

/// Returns true if a source below `src` belongs to the tests of its folder.
fn is_of_tests(file: &str) -> bool {
    let mut names = file.rsplit('/');
    names.next() == Some("tests.rs") || names.any(|folder| folder == "tests")
}

fn is_read(path: &str) -> bool {
    let is_of_crate = path.starts_with("src/") || path.starts_with("tests/") || path == "build.rs";
    matches!(path, "Cargo.toml" | "CONTRIBUTING.md")
        || path.ends_with("/Cargo.toml")
        || (is_of_crate && is_rust(path))
}

/// A message for each found line that is not listed, and for each listed line that is not found. Repeated lines count.
fn difference(found: &[String], listed: &[&str]) -> Vec<String> {
    let mut missing = listed.to_vec();
    let mut wrong = Vec::new();
    for line in found {
        match missing.iter().position(|listed| listed == line) {
            Some(place) => drop(missing.remove(place)),
            None => wrong.push(format!("{line} is not listed")),
        }
    }
    let missing = missing.iter().map(|line| format!("{line} is listed but missing"));
    wrong.extend(missing);
    wrong
}

#[test]
fn the_project_violates_no_rule_and_each_planted_violation_is_found() {
    let sources = Sources::read(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(sources.rust("src/").count() > 100 && sources.rust("tests/").count() > 50);
    for rule in RULES {
        let findings = (rule.findings)(&sources);
        assert!(findings.is_empty(), "{}:\n{}", rule.name, findings.join("\n"));
        assert!(!rule.planted.is_empty(), "{}", rule.name);
        for planted in rule.planted {
            let (changed, expected) = sources.with(planted);
            let findings = (rule.findings)(&changed);
            let is_found = findings.iter().any(|finding| finding.contains(&expected));
            assert!(is_found, "{}: {expected:?} is not among {findings:?}", rule.name);
        }
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "makes files outside of any database")]
fn build_output_and_hidden_folders_are_not_read() {
    let dir = TempDir::new("sources");
    let own = [
        "CONTRIBUTING.md",
        "Cargo.toml",
        "src/a/b.rs",
        "tests/peers/Cargo.toml",
        "tests/peers/src/main.rs",
        "x/Cargo.toml",
    ];
    let foreign = [
        ".hidden/src/a.rs",
        "notes.rs",
        "target/debug/build/Cargo.toml",
        "tests/data/golden",
        "tests/peers/built/CACHEDIR.TAG",
        "tests/peers/built/debug/build/bindgen.rs",
        "tests/peers/target/debug/build/bindgen.rs",
        "x/y.rs",
    ];
    for file in own.iter().chain(&foreign) {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("the folder is created");
        fs::write(path, "").expect("the file is written");
    }
    let sources = Sources::read(dir.path());
    assert_eq!(sources.0.into_keys().collect::<Vec<_>>(), own);
}
