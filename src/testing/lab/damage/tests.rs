use super::cases::{ByteChange, Damage, DamageCase};
use super::check::{AfterOpen, OpenResult, check_image, check_refusal, check_state, promised_minimum};
use super::structure::{FileStructure, PromisedPosition};
use super::subject::HistoryEnd;
use super::subject::{DB_DIR, DamageSubject, LOG_DIR, STORE_DIR};
use super::*;
use crate::Durability;
use crate::testing::SimDisk;
use crate::testing::lab::file_format::FileKind;
use crate::testing::process::{ChildProgram, ChildSide};
use crate::testing::sim_disk::Image;
use crate::{Error, TidalDb};

/// The tests cover one of this number of damages within a file; `tests/programs/damage.rs` covers all.
const ONE_IN: u64 = 127;

fn subject(seed: u64) -> DamageSubject {
    let workload = Damages::standard(seed, 40).workload_for(HistoryEnd::Crashed);
    DamageSubject::new(
        &workload,
        &single::options(),
        Durability::EverySynced,
        HistoryEnd::Crashed,
    )
}

fn opened(subject: &DamageSubject, image: &Image) -> TidalDb {
    subject.open(&SimDisk::from_image(image)).unwrap()
}

#[test]
fn the_damaged_databases_have_segments_store_files_a_checkpoint_and_data_of_every_kind() {
    for subject in Damages::standard(7, 60).subjects() {
        let len = |dir| subject.files.iter().filter(|path| path.starts_with(dir)).count();
        let is_closed = subject.end == HistoryEnd::Closed;
        assert!(len(LOG_DIR) >= if is_closed { 1 } else { 5 }, "{}", subject.name);
        assert!(len(STORE_DIR) >= 2, "{}", subject.name);
        let db = opened(&subject, &subject.image);
        assert!(db.recovery_report().checkpoint_sequence > 0, "{}", subject.name);
        let export = db.export().unwrap();
        let lens = [
            export.signals.len(),
            export.cohorts.len(),
            export.collections.len(),
            export.user_rings.len(),
            export.related.len(),
        ];
        assert!(lens.iter().all(|len| *len > 1), "{}: {lens:?}", subject.name);
    }
}

#[test]
fn a_state_of_another_history_and_a_state_before_a_promise_are_findings() {
    let (database, other) = (subject(7), subject(8));
    let check =
        |image: &Image, db: &TidalDb| check_state(&database, promised_minimum(&database, image.files()), db);
    let db = opened(&database, &database.image);
    assert_eq!(check(&database.image, &db), Ok(OpenResult::Whole));
    let wrong = check(&database.image, &opened(&other, &other.image)).unwrap_err();
    assert!(wrong.contains("the state differs"), "{wrong}");
    let old = opened(&database, &database.older[5]);
    assert_eq!(check(&database.older[5], &old), Ok(OpenResult::Shorter));
    let short = check(&database.image, &old).unwrap_err();
    assert!(short.contains("promised as synced"), "{short}");
}

#[test]
fn a_refusal_that_changed_files_or_names_no_position_is_a_finding() {
    let database = subject(7);
    let mut image = database.image.clone();
    image.insert_file(format!("{DB_DIR}/LOCK"), []);
    let disk = SimDisk::from_image(&image);
    let refusal = |sequence, path: &str| Error::Corrupt {
        path: path.into(),
        offset: 80,
        sequence,
        what: "a test",
    };
    let segment = "/db/log/00000000000000000001.wal";
    assert_eq!(
        check_refusal(&disk, &image, &refusal(Some(1), segment)),
        Ok("Corrupt")
    );
    assert!(check_refusal(&disk, &image, &refusal(None, segment)).is_err());
    assert!(check_refusal(&disk, &image, &refusal(Some(1), "/etc")).is_err());
    assert!(check_refusal(&disk, &image, &Error::Closed).is_err());
    let changed = check_refusal(&disk, &database.older[1], &refusal(Some(1), segment)).unwrap_err();
    assert!(changed.contains("but files changed"), "{changed}");
}

#[test]
fn the_promises_and_lengths_of_a_segment_are_read_up_to_its_first_invalid_frame() {
    let database = subject(7);
    let path = database
        .files
        .iter()
        .rfind(|path| path.starts_with(LOG_DIR))
        .unwrap();
    let bytes = database.image.file(path).unwrap();
    let structure = FileStructure::of(FileKind::Segment, bytes, database.id);
    let last = opened(&database, &database.image).last_sequence();
    // Every event is synced, so each frame promises its predecessor.
    assert!(structure.promises.contains(&PromisedPosition::Frames(last - 1)));
    assert!(structure.lengths.len() >= 3, "{structure:?}");
    let mut flipped = bytes.to_vec();
    flipped[86] ^= 1;
    let damaged = FileStructure::of(FileKind::Segment, &flipped, database.id);
    assert_eq!(
        damaged.lengths.len(),
        1,
        "no length is read after an invalid frame"
    );
    assert_eq!(damaged.promises.len() + 1, structure.promises.len());
    let foreign = FileStructure::of(FileKind::Segment, bytes, database.id + 1);
    assert!(foreign.promises.is_empty() && foreign.lengths.is_empty());
}

#[test]
fn a_campaign_stops_at_its_time_limit_and_counts_the_untested_damages() {
    let report = DamageCampaign::standard(7, 20).time(Duration::ZERO).run();
    assert_eq!(report.total(), DamageCounts::default());
    assert!(report.left_out > 10_000, "{report}");
}

/// Two cases. The case with the odd number never ends.
struct HangingCases;

impl CaseSet for HangingCases {
    fn len(&self) -> u64 {
        2
    }

    fn left_out(&self) -> u64 {
        0
    }

    fn image(&self, number: u64) -> Image {
        let mut image = Image::new();
        image.insert_file("/number", number.to_le_bytes());
        image
    }

    fn check(&self, number: u64, _: &Image, _: AfterOpen) -> Result<OpenResult, String> {
        while !number.is_multiple_of(2) {
            std::thread::park();
        }
        Ok(OpenResult::Whole)
    }

    fn kind(&self, _: u64) -> &'static str {
        "kind"
    }

    fn text(&self, number: u64) -> String {
        format!("case {number}")
    }
}

#[test]
fn a_case_that_hangs_is_a_finding_with_its_number() {
    let runner = CaseRunner {
        case_time: Duration::from_millis(200),
        ..CaseRunner::default()
    };
    let report = runner.run(vec![Box::new(HangingCases)], |_| {});
    assert_eq!(report.total().whole, 1);
    assert_eq!(
        report.findings,
        ["case 1: hangs: no end after 200ms; its thread still runs"]
    );
}

#[test]
fn a_campaign_without_cases_fails() {
    let report = DamageReport::default();
    let failed = std::panic::catch_unwind(|| report.expect_clean());
    assert!(failed.is_err());
}

#[test]
fn no_forged_length_makes_the_open_allocate_more_memory_than_the_files_need() {
    // The memory of the child is limited: an allocation of a forged length of 2 GiB ends it.
    const MEMORY_BYTES_MAX: u64 = 400 << 20;
    if ChildSide::orders().is_some() {
        open_forged_lengths();
        ChildSide::answer("opened");
        return;
    }
    let program = ChildProgram::calling_test().expect("the harness names the thread");
    let child = program.memory_bytes_max(MEMORY_BYTES_MAX).start("").unwrap();
    let end = child.wait(Duration::from_secs(120)).unwrap();
    assert!(end.status.success(), "{end}");
    assert_eq!(end.answers, ["opened"]);
}

/// Opens a third of the files of one database with a forged length of 2 GiB or more.
fn open_forged_lengths() {
    let database = subject(7);
    let all = Damage::all(&database).into_iter();
    let is_long = |damage: &Damage| {
        let Damage::Bytes { change, .. } = damage else {
            return false;
        };
        matches!(change, ByteChange::Length { value, .. } if *value >= 1 << 31)
    };
    let long = all.filter(is_long);
    let mut opened = 0;
    for first in long.step_by(3) {
        let case = DamageCase { first, second: None };
        let checked = check_image(&database, &case.apply(&database), AfterOpen::Reopen);
        assert!(checked.is_ok(), "{}: {checked:?}", case.text(&database));
        opened += 1;
    }
    assert!(opened > 100);
}

/// Tests of more than a second, which the quick set leaves out.
mod full {
    use super::*;

    #[test]
    fn every_kind_of_damage_opens_to_a_legal_prefix_or_is_refused_with_its_position() {
        let report = DamageCampaign::standard(7, 60).one_in(ONE_IN).run();
        println!("{report}");
        report.expect_clean();
        assert_eq!(report.kinds.len(), 10);
        assert!(
            report.left_out > 200_000,
            "tests/programs/damage.rs tests the others"
        );
    }
}
