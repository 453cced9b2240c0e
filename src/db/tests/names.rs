//! Names that a user gives: the engine never uses them as a path, and never confuses two of them.

use std::collections::BTreeSet;

use super::*;
use crate::fs::RealFiles;
use crate::testing::lab::TempDir;
use crate::testing::sim_disk::SimDiskOptions;

/// Legal names. As paths they would lead to other files.
const NAMES: [&[u8]; 16] = [
    b"/",
    b".",
    b"..",
    b"../escaped",
    b"../../escaped",
    b"/tmp/escaped",
    b"log",
    b"store",
    b"LOCK",
    b"log/00000000000000000001.wal",
    b"a/b/c",
    b"a\\b",
    b"nul\0byte",
    b"\xff\xfe",
    b"~",
    &[b'x'; 255],
];

fn named(name: &[u8]) -> Schema {
    schema().signal(Signal::new(name).half_life_ms(1000))
}

/// Makes every call that takes a name, then a checkpoint and a recovery.
fn use_name(options: &Options, path: &Path, name: &[u8]) {
    for opening in 0..2 {
        let db = TidalDb::open(path, options.clone()).unwrap();
        let signal = db.signal(name).unwrap();
        db.record(&SignalEvent::new(signal, EntityId(1), NOW_MS)).unwrap();
        if opening == 0 {
            db.create_collection(name).unwrap();
            db.add_to_collection(name, EntityId(7)).unwrap();
        }
        let collections = db.export().unwrap().collections;
        assert_eq!(collections.len(), 1);
        assert_eq!(
            (collections[0].name.as_slice(), collections[0].members.as_slice()),
            (name, &[EntityId(7)][..])
        );
        db.checkpoint().unwrap();
        if opening == 1 {
            db.remove_from_collection(name, EntityId(7)).unwrap();
            db.delete_collection(name).unwrap();
        }
        db.close().unwrap();
    }
}

/// Returns true if the path is one that the engine uses.
fn is_path_of_engine(path: &Path) -> bool {
    let Ok(below) = path.strip_prefix(PATH) else {
        return path == Path::new("/");
    };
    let text = below.to_str().unwrap();
    let is_numbered = |dir: &str, extension: &str| {
        let name = text.strip_prefix(dir).and_then(|name| name.split_at_checked(20));
        name.is_some_and(|(digits, rest)| {
            digits.bytes().all(|digit| digit.is_ascii_digit())
                && (rest == extension || rest.strip_suffix(".tmp") == Some(extension))
        })
    };
    ["", "LOCK", "log", "store"].contains(&text)
        || is_numbered("log/", ".wal")
        || is_numbered("store/", ".tdstore")
}

#[test]
fn no_name_from_a_user_becomes_a_path() {
    let paths_with = |name: &[u8]| {
        let options_of_disk = SimDiskOptions {
            records_reads: true,
            ..SimDiskOptions::default()
        };
        let disk = SimDisk::with_options(&Image::new(), options_of_disk);
        let mut options = options(&disk, Durability::EverySynced);
        options.schema = named(name);
        use_name(&options, Path::new(PATH), name);
        let recording = disk.recording();
        let paths = recording
            .operations()
            .flat_map(|operation| [Some(operation.path.clone()), operation.target.clone()]);
        paths.flatten().collect::<BTreeSet<_>>()
    };
    for name in NAMES {
        let paths = paths_with(name);
        for path in &paths {
            assert!(
                is_path_of_engine(path),
                "{}: {}",
                name.escape_ascii(),
                path.display()
            );
        }
        // A longer name takes more bytes, and perhaps more files. A name of the same length takes the same files.
        assert_eq!(
            paths,
            paths_with(&vec![b'n'; name.len()]),
            "{}",
            name.escape_ascii()
        );
    }
}

/// Tests of more than a second, which the quick set leaves out.
mod full {
    use super::*;

    #[test]
    fn on_a_real_disk_no_file_is_created_outside_of_the_database() {
        let root = TempDir::new("names");
        let files = RealFiles;
        for (index, name) in NAMES.into_iter().enumerate() {
            let path = root.path().join(index.to_string());
            let options = options(&SimDisk::new(), Durability::OperatingSystem).files(Arc::new(RealFiles));
            let options = Options {
                schema: named(name),
                ..options
            };
            use_name(&options, &path, name);
            let mut names = files.list(&path).unwrap();
            names.sort();
            assert_eq!(names, ["LOCK", "log", "store"], "{}", name.escape_ascii());
        }
        let mut dirs = files.list(root.path()).unwrap();
        dirs.sort_by_key(|name| name.parse::<usize>().unwrap());
        assert_eq!(
            dirs,
            (0..NAMES.len())
                .map(|index| index.to_string())
                .collect::<Vec<_>>()
        );
        assert!(!Path::new("/tmp/escaped").exists());
    }
}
