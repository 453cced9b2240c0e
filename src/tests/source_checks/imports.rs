//! Rules for the imports between files of the crate, except its tests.
//!
//! A name that is imported through a re-export counts as imported from the file that defines it. A module that
//! re-exports names of its parts does not import from them.

use std::collections::{BTreeMap, BTreeSet};

use super::code::is_part_of_word;
use super::{Rule, Sources};

pub(super) const LAB: Rule = Rule {
    name: "the modules of the kit that a user's test needs do not import the project's own campaigns",
    findings: |sources| {
        let imports = Imports::read(sources);
        let paths = imports.paths.iter().filter(|(file, path, _)| {
            let is_of_user = file.starts_with("testing/") && !file.starts_with("testing/lab/");
            is_of_user && path.starts_with(&["testing".to_owned(), "lab".to_owned()])
        });
        paths
            .map(|(file, path, _)| format!("{file} imports {}", path.join("::")))
            .collect()
    },
    planted: &[
        "src/testing/plan/text.rs |  | use super::super::lab::TempDir;\n | plan/text.rs imports testing::lab::TempDir",
        "src/testing/faults/mod.rs |  | use crate::testing::{lab, Plan};\n | faults/mod.rs imports testing::lab",
        "src/testing/model/list.rs |  | fn f() { crate::testing::lab::TempDir::new(\"\"); }\n | list.rs imports testing::lab",
    ],
};

pub(super) const CIRCLES: Rule = Rule {
    name: "files of the crate do not import from one another in a circle",
    findings: |sources| {
        let edges = Imports::read(sources).edges();
        let mut circles = BTreeSet::new();
        for &file in edges.keys() {
            let back = |other: &&str| reachable(&edges, other).contains(file);
            let circle: BTreeSet<_> = reachable(&edges, file).into_iter().filter(back).collect();
            if !circle.is_empty() {
                circles.insert(format!(
                    "a circle: {}",
                    circle.into_iter().collect::<Vec<_>>().join(" ")
                ));
            }
        }
        circles.into_iter().collect()
    },
    planted: &[
        "src/testing/crash_injector/point.rs |  | use super::{\n    unwatched::UnwatchedListener,\n};\n | crash_injector/point.rs",
        "src/testing/crash_injector/recorder.rs |  | use crate::testing::scoped_recorder;\n | recorder.rs testing/crash_injector/slot.rs",
    ],
};

/// The layers of the engine, the lowest first. A file imports from its own layer and from lower ones.
const ENGINE_LAYERS: [&str; 10] = [
    "error receipt ids event clock limits torn_tail sync",
    "codec decay cells intact",
    "fs",
    "owner poison schema options",
    "wal storage",
    "signals/hot signals/warm",
    "states",
    "cohort entities",
    "signals/ledger signals/checkpoint",
    "db",
];

/// The layer of a file of the engine; `None` for the root and for the module that only holds parts of two layers.
fn layer_of(file: &str) -> Option<usize> {
    let is_in = |part: &str| {
        let rest = file.strip_prefix(part);
        rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    };
    ENGINE_LAYERS.iter().position(|layer| layer.split(' ').any(is_in))
}

pub(super) const LAYERS: Rule = Rule {
    name: "files of the engine import from their own layer and from lower ones, and CONTRIBUTING.md shows the layers",
    findings: |sources| {
        let edges = Imports::read(sources).edges();
        let mut findings = Vec::new();
        let top_down: Vec<_> = ENGINE_LAYERS.iter().rev().copied().collect();
        let drawing = format!("```text\n{}\n```", top_down.join("\n"));
        if !sources.text("CONTRIBUTING.md").contains(&drawing) {
            findings.push("CONTRIBUTING.md shows other layers".to_owned());
        }
        let renames = sources.crate_files().filter(|(file, _)| {
            let code = sources.code(&format!("src/{file}"));
            ["crate as ", "super as ", "extern crate"]
                .iter()
                .any(|rename| code.contains(rename))
        });
        findings.extend(renames.map(|(file, _)| format!("{file} renames the crate or a module above it")));
        for (&file, targets) in &edges {
            let Some(layer) = layer_of(file) else {
                let is_placed = file.starts_with("testing/") || matches!(file, "lib.rs" | "signals/mod.rs");
                findings.extend((!is_placed).then(|| format!("{file} is in no layer")));
                continue;
            };
            // The rule for hooks checks each mention of the kit.
            for target in targets.iter().filter(|target| !target.starts_with("testing/")) {
                if layer_of(target).is_none_or(|below| below > layer) {
                    findings.push(format!("{file} imports from {target}"));
                }
            }
        }
        findings
    },
    planted: &[
        "src/states/mod.rs |  | use crate::cohort::CohortEntity;\n | states/mod.rs imports from cohort/mod.rs",
        "src/schema/mod.rs |  | use crate::entities::CoEngagementIndex;\n | schema/mod.rs imports from entities/co_engagement.rs",
        "src/wal/log.rs |  | use crate::db;\n | wal/log.rs imports from db/mod.rs",
        "src/wal/log.rs |  | fn f(db: &crate::db::TidalDb) {}\n | wal/log.rs imports from db/handle.rs",
        "src/wal/log.rs |  | fn f() { super::super::db::TidalDb::open(); }\n | wal/log.rs imports from db/handle.rs",
        "src/wal/log.rs |  | use crate as root;\n | wal/log.rs renames the crate",
        "src/new.rs |  | use crate::Error;\n | new.rs is in no layer",
        "CONTRIBUTING.md | cohort entities\n |  | CONTRIBUTING.md shows other layers",
    ],
};

type Edges<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// The files that a file imports from, directly or through others.
fn reachable<'a>(edges: &Edges<'a>, file: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<_> = edges.get(file).into_iter().flatten().copied().collect();
    while let Some(file) = next.pop() {
        if reached.insert(file) {
            next.extend(edges.get(file).into_iter().flatten());
        }
    }
    reached
}

/// The imports of the crate's files, tests excepted.
struct Imports<'a> {
    /// The file of each module, by the path of the module.
    modules: BTreeMap<Vec<String>, &'a str>,
    /// A file, the path of an import, and true if it is a re-export.
    paths: Vec<(&'a str, Vec<String>, bool)>,
}

impl<'a> Imports<'a> {
    fn read(sources: &'a Sources) -> Self {
        let modules: BTreeMap<_, _> = sources
            .crate_files()
            .map(|(file, _)| (module_of(file), file))
            .collect();
        let mut paths = Vec::new();
        for (file, _) in sources.crate_files() {
            let code = sources.code(&format!("src/{file}")).replace('\n', " ");
            for (path, is_public) in paths_in(&code) {
                let path = absolute(&modules, &module_of(file), &path);
                paths.extend(path.map(|path| (file, path, is_public)));
            }
        }
        Self { modules, paths }
    }

    fn edges(&self) -> Edges<'a> {
        let mut edges = Edges::new();
        for (file, path, is_public) in &self.paths {
            let is_own_part = *is_public && path.starts_with(&module_of(file));
            let target = self
                .file_of(path, 9)
                .filter(|target| target != file && !is_own_part);
            edges.entry(*file).or_default().extend(target);
        }
        edges
    }

    /// The file that defines the name at the end of a path. Follows at most `re_exports_max` re-exports.
    fn file_of(&self, path: &[String], re_exports_max: usize) -> Option<&'a str> {
        let len = (0..=path.len())
            .rev()
            .find(|len| self.modules.contains_key(&path[..*len]))?;
        let file = self.modules[&path[..len]];
        let Some(name) = path.get(len) else {
            return Some(file);
        };
        let exported = self
            .paths
            .iter()
            .find(|(from, path, is_public)| *from == file && *is_public && path.last() == Some(name));
        match exported.filter(|_| re_exports_max > 0) {
            Some((_, path, _)) => self.file_of(path, re_exports_max - 1),
            None => Some(file),
        }
    }
}

/// The path of a file's module.
fn module_of(file: &str) -> Vec<String> {
    let parts = file.trim_end_matches(".rs").split('/').map(str::to_owned);
    let mut parts: Vec<_> = parts.collect();
    parts.pop_if(|last| last == "mod" || last == "lib");
    parts
}

/// The path from the root of the crate of a path in a module; `None` outside of the crate.
fn absolute(
    modules: &BTreeMap<Vec<String>, &str>,
    module: &[String],
    path: &[String],
) -> Option<Vec<String>> {
    let ups = path.iter().take_while(|part| *part == "super").count();
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some([module, &path[1..]].concat()),
        "super" => Some([module.get(..module.len().checked_sub(ups)?)?, &path[ups..]].concat()),
        first => {
            let child = [module, &[first.to_owned()]].concat();
            modules.contains_key(&child).then(|| [module, path].concat())
        }
    }
}

/// The paths in the code of a file without line ends, and true for each that is a re-export.
pub(super) fn paths_in(code: &str) -> Vec<(Vec<String>, bool)> {
    let mut paths = Vec::new();
    for item in code.split(';') {
        let (before, tree) = item.rsplit_once("use ").unwrap_or((item, ""));
        let is_public = before
            .trim_end()
            .rsplit([' ', '}'])
            .next()
            .is_some_and(|it| it.starts_with("pub"));
        paths.extend(paths_of(tree).into_iter().map(|path| (path, is_public)));
        paths.extend(qualified_paths(before).map(|path| (path, false)));
    }
    paths
}

/// The paths of several names in code without imports.
pub(super) fn qualified_paths(code: &str) -> impl Iterator<Item = Vec<String>> {
    let paths = code.split(|letter| !is_part_of_word(letter) && letter != ':');
    let paths = paths
        .map(|path| path.trim_start_matches("::"))
        .filter(|path| path.contains("::"))
        .map(|path| path.split("::").map(str::to_owned).collect::<Vec<_>>());
    paths.filter(|path| path.iter().all(|name| !name.is_empty()))
}

/// The paths of an import tree, for example of `a::{b, c::d as e}`.
fn paths_of(tree: &str) -> Vec<Vec<String>> {
    let Some((front, rest)) = tree.split_once('{') else {
        let name = tree.split(" as ").next().unwrap_or_default();
        let parts = name.split("::").map(str::trim).filter(|part| !part.is_empty());
        let path: Vec<_> = parts.map(str::to_owned).collect();
        return if path.is_empty() { Vec::new() } else { vec![path] };
    };
    let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
    let front: Vec<_> = paths_of(front).concat();
    let mut depth = 0;
    let branches = inner.split(|letter| {
        depth += i32::from(letter == '{') - i32::from(letter == '}');
        letter == ',' && depth == 0
    });
    let branches = branches.flat_map(paths_of);
    branches
        .map(|branch| [&front[..], &branch[..]].concat())
        .collect()
}
