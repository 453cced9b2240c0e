use super::*;
use crate::testing::lab::damage::DamageCampaign;
use crate::testing::lab::damage::subject::{LOG_DIR, STORE_DIR};
use crate::testing::lab::file_format;

#[test]
fn each_copy_has_several_segments_and_store_files_and_a_different_last_store_file() {
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
fn a_foreign_history_and_a_prefix_shorter_than_promised_are_findings() {
    let mut copies = copies(
        3,
        CopyOrigin::Crashed,
        HistoryEnd::Crashed,
        Durability::EverySynced,
    );
    let other = copies.pop().unwrap();
    let (mut older, db, disk) = common_database(Durability::EverySynced, HistoryEnd::Crashed);
    older.finish(db, &disk);
    let set = CopySet::new(copies, CopyOrigin::Crashed, 1, 0);
    let check = |image: &Image, opened: &DamageSubject| {
        let db = opened.open(&SimDisk::from_image(&opened.image)).unwrap();
        set.check_histories(image, &db)
    };
    let [first, second] = &set.copies[..] else {
        panic!("two of three copies remain");
    };
    assert_eq!(check(&first.image, first), Ok(OpenResult::Whole));
    assert_eq!(check(&second.image, second), Ok(OpenResult::Whole));
    assert_eq!(check(&older.image, &older), Ok(OpenResult::Shorter));
    let foreign = check(&Image::new(), &other).unwrap_err();
    assert!(
        foreign.starts_with("no history has this state: copy 0: "),
        "{foreign}"
    );
    let shorter = check(&first.image, &older).unwrap_err();
    assert!(shorter.contains("promised as synced"), "{shorter}");
}

#[test]
fn every_mixture_of_two_copies_recovers_one_history_or_is_refused() {
    let report = DamageCampaign::of_copies(2).run();
    println!("{report}");
    report.expect_clean();
    assert_eq!(report.left_out, 0);
    assert_eq!(report.kinds.len(), CopyOrigin::ALL.len());
}

#[test]
fn a_mixture_of_three_copies_recovers_one_history_or_is_refused() {
    let report = DamageCampaign::of_copies(3).one_in(THREE_COPIES_ONE_IN).run();
    println!("{report}");
    report.expect_clean();
    assert!(
        report.left_out > 100_000,
        "tests/programs/damage.rs tests the others"
    );
}

/// The test covers one of this number of mixtures of three copies; `tests/programs/damage.rs` covers all.
const THREE_COPIES_ONE_IN: u64 = 31;
