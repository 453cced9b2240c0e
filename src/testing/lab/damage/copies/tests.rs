use super::*;
use crate::testing::lab::damage::DamageCampaign;
use crate::testing::lab::damage::subject::{LOG_DIR, STORE_DIR};
use crate::testing::lab::file_format;

#[test]
fn the_copies_rotate_log_and_store_have_few_files_and_another_last_file_of_the_store_each() {
    let mut compacted_len = 0;
    for set in copy_sets(3, 1) {
        for dir in [LOG_DIR, STORE_DIR] {
            let names: Vec<_> = set.names.iter().filter(|name| name.starts_with(dir)).collect();
            assert!((2..=7).contains(&names.len()), "{}: {names:?}", set.name);
        }
        let last = |copy: &DamageSubject| {
            let path = copy.files.iter().rfind(|path| path.starts_with(STORE_DIR));
            path.and_then(|path| Some((path.clone(), copy.image.file(path)?.to_vec())))
        };
        let lasts: BTreeSet<_> = set.copies.iter().map(last).collect();
        assert_eq!(lasts.len(), set.copies.len(), "{}", set.name);
        let is_compacted = |path: &PathBuf, copy: &DamageSubject| {
            let bytes = copy.image.file(path).filter(|_| path.starts_with(STORE_DIR));
            bytes.is_some_and(|bytes| file_format::last_place(bytes) > 0)
        };
        let mut of_copies = set.copies.iter();
        compacted_len +=
            usize::from(of_copies.any(|copy| copy.files.iter().any(|path| is_compacted(path, copy))));
    }
    assert!(compacted_len > 4, "{compacted_len} sets have a compacted file");
}

#[test]
fn a_history_that_is_none_of_the_copies_and_a_part_of_one_that_is_all_there_are_findings() {
    let mut copies = copies(3, CopyOrigin::Died, HistoryEnd::Died, Durability::EverySynced);
    let stranger = copies.pop().unwrap();
    let (mut older, db, disk) = common_database(Durability::EverySynced, HistoryEnd::Died);
    older.finish(db, &disk);
    let set = CopySet::new(copies, CopyOrigin::Died, 1, 0);
    let check = |image: &Image, opened: &DamageSubject| {
        let db = opened.open(&SimDisk::from_image(&opened.image)).unwrap();
        set.check(image, &db)
    };
    let [first, second] = &set.copies[..] else {
        panic!("two are left");
    };
    assert_eq!(check(&first.image, first), Ok(OpenResult::Whole));
    assert_eq!(check(&second.image, second), Ok(OpenResult::Whole));
    assert_eq!(check(&older.image, &older), Ok(OpenResult::Shorter));
    let none = check(&Image::new(), &stranger).unwrap_err();
    assert!(none.starts_with("no history is this: copy 0: "), "{none}");
    let part = check(&first.image, &older).unwrap_err();
    assert!(part.contains("promised as synced"), "{part}");
}

#[test]
fn every_mixture_of_the_files_of_two_copies_is_one_history_or_refused() {
    let report = DamageCampaign::of_copies(2).run();
    println!("{report}");
    report.expect_clean();
    assert_eq!(report.left_out, 0);
    assert_eq!(report.kinds.len(), CopyOrigin::ALL.len());
}

#[test]
fn mixtures_of_the_files_of_three_copies_are_one_history_or_refused() {
    let report = DamageCampaign::of_copies(3).one_in(THREE_COPIES_ONE_IN).run();
    println!("{report}");
    report.expect_clean();
    assert!(report.left_out > 100_000, "the rest is the program's to try");
}

/// In the suite one of so many mixtures of three copies is tried; `tests/programs/damage.rs` tries all.
const THREE_COPIES_ONE_IN: u64 = 31;
