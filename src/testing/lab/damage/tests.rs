use super::anatomy::{Anatomy, PromisedPosition};
use super::cases::{ByteChange, Damage, DamageCase};
use super::judge::{AfterOpen, OpenResult, check_refusal, check_state, floor_of_files, judge};
use super::subject::HistoryEnd;
use super::subject::{DB_DIR, DamageSubject, LOG_DIR, STORE_DIR};
use super::*;
use crate::Durability;
use crate::testing::SimDisk;
use crate::testing::lab::file_format::FileKind;
use crate::testing::process::{ChildProgram, ChildSide};
use crate::testing::sim_disk::Image;
use crate::{Error, TidalDb};

/// In the suite one of so many damages of single places is tried; `tests/programs/damage.rs` tries all.
const ONE_IN: u64 = 127;

fn subject(seed: u64) -> DamageSubject {
    let workload = Damages::standard(seed, 40).workload_for(HistoryEnd::Died);
    DamageSubject::new(
        &workload,
        &single::options(),
        Durability::EverySynced,
        HistoryEnd::Died,
    )
}

fn opened(subject: &DamageSubject, image: &Image) -> TidalDb {
    subject.open(&SimDisk::from_image(image)).unwrap()
}

#[test]
fn what_is_damaged_has_several_segments_and_store_files_a_checkpoint_and_every_structure() {
    for subject in Damages::standard(7, 60).subjects() {
        let len = |dir| subject.files.iter().filter(|path| path.starts_with(dir)).count();
        let is_closed = subject.name.ends_with("Closed");
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
fn a_state_of_another_history_and_one_below_a_promise_are_findings() {
    let (mine, other) = (subject(7), subject(8));
    let check = |image: &Image, db: &TidalDb| check_state(&mine, floor_of_files(&mine, image.files()), db);
    let db = opened(&mine, &mine.image);
    assert_eq!(check(&mine.image, &db), Ok(OpenResult::Whole));
    let wrong = check(&mine.image, &opened(&other, &other.image)).unwrap_err();
    assert!(wrong.contains("and not to its state"), "{wrong}");
    let old = opened(&mine, &mine.older[5]);
    assert_eq!(check(&mine.older[5], &old), Ok(OpenResult::Shorter));
    let short = check(&mine.image, &old).unwrap_err();
    assert!(short.contains("promised as synced"), "{short}");
}

#[test]
fn a_refusal_that_changed_something_or_does_not_say_where_is_a_finding() {
    let mine = subject(7);
    let mut image = mine.image.clone();
    image.insert_file(format!("{DB_DIR}/LOCK"), []);
    let disk = SimDisk::from_image(&image);
    let refusal = |sequence, path: &str| Error::Corrupt {
        path: path.into(),
        offset: 80,
        sequence,
        what: "it is",
    };
    let segment = "/db/log/00000000000000000001.wal";
    assert_eq!(
        check_refusal(&disk, &image, &refusal(Some(1), segment)),
        Ok("Corrupt")
    );
    assert!(check_refusal(&disk, &image, &refusal(None, segment)).is_err());
    assert!(check_refusal(&disk, &image, &refusal(Some(1), "/etc")).is_err());
    assert!(check_refusal(&disk, &image, &Error::Closed).is_err());
    let changed = check_refusal(&disk, &mine.older[1], &refusal(Some(1), segment)).unwrap_err();
    assert!(changed.contains("and yet changed"), "{changed}");
}

#[test]
fn a_segment_says_what_it_promises_and_where_its_lengths_are() {
    let mine = subject(7);
    let path = mine.files.iter().rfind(|path| path.starts_with(LOG_DIR)).unwrap();
    let bytes = mine.image.file(path).unwrap();
    let anatomy = Anatomy::of(FileKind::Segment, bytes, mine.id);
    let last = opened(&mine, &mine.image).last_sequence();
    // Every event is synced, so each frame promises the one before it.
    assert!(anatomy.promises.contains(&PromisedPosition::Frames(last - 1)));
    assert!(anatomy.lengths.len() >= 3, "{anatomy:?}");
    let mut flipped = bytes.to_vec();
    flipped[86] ^= 1;
    let damaged = Anatomy::of(FileKind::Segment, &flipped, mine.id);
    assert_eq!(damaged.lengths.len(), 1, "nothing follows a bad frame");
    assert_eq!(damaged.promises.len() + 1, anatomy.promises.len());
    let nothing = Anatomy::of(FileKind::Segment, bytes, mine.id + 1);
    assert!(nothing.promises.is_empty() && nothing.lengths.is_empty());
}

#[test]
fn a_campaign_stops_in_time_and_says_what_it_left_out() {
    let report = DamageCampaign::standard(7, 20).time(Duration::ZERO).run();
    assert_eq!(report.total(), DamageCounts::default());
    assert!(report.left_out > 10_000, "{report}");
}

/// Cases of which the one with an odd number never ends.
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

    fn judge(&self, number: u64, _: &Image, _: AfterOpen) -> Result<OpenResult, String> {
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
fn a_case_that_hangs_is_a_finding_that_names_it() {
    let runner = CaseRunner {
        case_time: Duration::from_millis(200),
        ..CaseRunner::default()
    };
    let report = runner.run(vec![Box::new(HangingCases)], |_| {});
    assert_eq!(report.total().whole, 1);
    assert_eq!(
        report.findings,
        ["case 1: hangs: no end after 200ms; its thread is left behind"]
    );
}

#[test]
fn a_campaign_that_tests_nothing_fails() {
    let report = DamageReport::default();
    let failed = std::panic::catch_unwind(|| report.expect_clean());
    assert!(failed.is_err());
}

#[test]
fn no_forged_length_takes_memory_that_the_files_do_not_fill() {
    // The child has little memory to spare: an allocation of a forged length of 2 GiB ends it.
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

/// All lengths of half their type's range and more, in one database.
fn open_forged_lengths() {
    let mine = subject(7);
    let all = Damage::all(&mine).into_iter();
    let long = all.filter(|damage| matches!(damage, Damage::Bytes { change: ByteChange::Length { value, .. }, .. } if *value >= 1 << 31));
    let mut opened = 0;
    for first in long.step_by(3) {
        let case = DamageCase { first, second: None };
        let judged = judge(&mine, &case.apply(&mine), AfterOpen::Reopen);
        assert!(judged.is_ok(), "{}: {judged:?}", case.text(&mine));
        opened += 1;
    }
    assert!(opened > 100);
}

/// Tests of more than a second, which the quick set leaves out.
mod full {
    use super::*;

    #[test]
    fn every_kind_of_damage_opens_to_a_legal_prefix_or_is_refused_with_the_place() {
        let report = DamageCampaign::standard(7, 60).one_in(ONE_IN).run();
        println!("{report}");
        report.expect_clean();
        assert_eq!(report.kinds.len(), 10);
        assert!(report.left_out > 200_000, "the rest is the program's to try");
    }
}
