//! Bad input: a value at each limit is accepted. For a value past it, the error names field and value, nothing is
//! changed, and the handle continues.

use super::*;
use crate::Ring;
use crate::limits::{
    BATCH_EVENTS_MAX, CHECKPOINT_STATE_BYTES_MAX, DURATION_MS_MAX, EVENT_COHORTS_MAX,
    FRAME_PAYLOAD_BYTES_MAX, HALF_LIVES_MAX, NAME_BYTES_MAX, RING_BUCKETS_MAX, RINGS_MAX, SEGMENT_BYTES_MAX,
    SEGMENT_BYTES_MIN, SIGNALS_MAX, WEIGHT_ABS_MAX,
};
use crate::signals::ledger::validate;

const SKEW_MS: i64 = 3_600_000;
/// The signal that allows negative weights.
const SIGNED: SignalId = SignalId(2);

/// A database with a few events and a collection.
struct InputSample {
    disk: SimDisk,
    db: TidalDb,
}

impl InputSample {
    fn new() -> Self {
        let disk = SimDisk::new();
        let mut options = options(&disk, Durability::EverySynced);
        options.schema = schema().signal(Signal::new("signed").half_life_ms(1000).allow_negative_weights());
        let db = TidalDb::open(PATH, options).unwrap();
        for i in 0..5 {
            record(&db, i).unwrap();
        }
        db.create_collection("saved").unwrap();
        db.add_to_collection("saved", EntityId(1)).unwrap();
        Self { disk, db }
    }

    /// Checks that the call is refused with this text, makes no file operation, changes no state, and that the handle
    /// continues.
    fn refuses<T: std::fmt::Debug>(&self, text: &str, call: impl FnOnce(&TidalDb) -> Result<T, Error>) {
        let before = (
            self.db.export().unwrap(),
            self.db.last_sequence(),
            self.disk.operations_len(),
            content(&self.disk),
        );
        let error = call(&self.db).expect_err(text);
        assert_eq!(text_of(&error), text);
        let after = (
            self.db.export().unwrap(),
            self.db.last_sequence(),
            self.disk.operations_len(),
            content(&self.disk),
        );
        assert!(
            after.3.hash() == before.3.hash(),
            "{text}: {:?}",
            after.3.differences(&before.3)
        );
        assert_eq!(
            (after.0, after.1, after.2),
            (before.0, before.1, before.2),
            "{text}"
        );
        record(&self.db, 1).unwrap();
    }

    /// Checks that the call is accepted as one frame, and recovered after a power loss.
    fn accepts(&self, call: impl FnOnce(&TidalDb) -> Result<crate::Receipt, Error>) {
        let covered = || self.db.statistics().unwrap().checkpoint_sequence;
        let (last, covered_before) = (self.db.last_sequence(), covered());
        let sequence = call(&self.db).unwrap().sequence;
        // A call that can change many bytes makes a checkpoint first. Its marker is a frame.
        let markers_len = u64::from(covered() != covered_before);
        assert_eq!(sequence, last + 1 + markers_len);
        assert_eq!(self.db.last_sequence(), sequence);
        let state = self.db.export().unwrap();
        let mut options = options(&self.disk, Durability::EverySynced);
        options.schema = self.db.schema().clone();
        let copy = crashed(&self.disk, &ImageChoice::Synced);
        let reopened = TidalDb::open(PATH, options.files(Arc::new(copy))).unwrap();
        assert_eq!(reopened.export().unwrap(), state);
    }
}

/// The text of an error. For an event in a batch it begins with the index.
fn text_of(error: &Error) -> String {
    match error {
        Error::InBatch { index, source } => format!("event {index}: {source}"),
        other => other.to_string(),
    }
}

fn view() -> SignalEvent<'static> {
    SignalEvent::new(SignalId(0), EntityId(1), NOW_MS)
}

#[test]
fn a_weight_is_finite_and_at_most_the_cap_and_negative_only_if_the_signal_allows_it() {
    let sample = InputSample::new();
    let signed = SignalEvent {
        signal: SIGNED,
        ..view()
    };
    for weight in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for event in [view(), signed] {
            let text = format!("weight is {weight}: a weight is a finite number");
            sample.refuses(&text, |db| db.record(&event.with_weight(weight)));
        }
    }
    let past = WEIGHT_ABS_MAX.next_up();
    for event in [
        view().with_weight(past),
        signed.with_weight(past),
        signed.with_weight(-past),
        view().with_weight(f64::MAX),
    ] {
        let text = format!("weight is {}: it is above the cap WEIGHT_ABS_MAX", event.weight);
        sample.refuses(&text, |db| db.record(&event));
    }
    for weight in [-1.0, -f64::MIN_POSITIVE, -WEIGHT_ABS_MAX] {
        let text = format!("weight is {weight}: the signal does not allow negative weights");
        sample.refuses(&text, |db| db.record(&view().with_weight(weight)));
    }
    for event in [
        view().with_weight(WEIGHT_ABS_MAX),
        view().with_weight(0.0),
        view().with_weight(-0.0),
        view().with_weight(f64::MIN_POSITIVE),
        signed.with_weight(WEIGHT_ABS_MAX),
        signed.with_weight(-WEIGHT_ABS_MAX),
    ] {
        sample.accepts(|db| db.record(&event));
    }
}

#[test]
fn an_event_is_at_most_the_skew_ahead_and_can_have_any_age() {
    let sample = InputSample::new();
    for at_ms in [NOW_MS + SKEW_MS + 1, i64::MAX - 1, i64::MAX] {
        let text = format!("at_ms is {at_ms}: it is further ahead of the clock than the allowed skew");
        sample.refuses(&text, |db| db.record(&SignalEvent { at_ms, ..view() }));
    }
    for (at_ms, late) in [
        (NOW_MS + SKEW_MS, 0),
        // Before the day of the first ring and within the week of the second one.
        (NOW_MS - 2 * 86_400_000, 1),
        (NOW_MS - 400 * 86_400_000, 2),
        (0, 2),
        (-1, 2),
        (i64::MIN, 2),
    ] {
        let before = sample.db.statistics().unwrap().late_drops;
        sample.accepts(|db| db.record(&SignalEvent { at_ms, ..view() }));
        assert_eq!(
            sample.db.statistics().unwrap().late_drops,
            before + late,
            "at {at_ms}"
        );
    }
    // The skew is an option, and no skew is too large.
    for (skew_ms, legal_ms) in [
        (0, NOW_MS),
        (1, NOW_MS + 1),
        (u64::MAX, i64::MAX),
        (i64::MAX as u64, i64::MAX),
    ] {
        let disk = SimDisk::new();
        let options = options(&disk, Durability::EverySynced).skew_ms_max(skew_ms);
        let db = TidalDb::open(PATH, options).unwrap();
        let at = |at_ms| db.record(&SignalEvent { at_ms, ..view() });
        at(legal_ms).unwrap();
        if let Some(past_ms) = legal_ms.checked_add(1) {
            assert!(matches!(
                at(past_ms),
                Err(Error::InvalidInput { field: "at_ms", .. })
            ));
        }
    }
}

#[test]
fn every_number_is_a_legal_id() {
    let sample = InputSample::new();
    for id in [0, u64::MAX] {
        let cohorts = [CohortId(id)];
        sample.accepts(|db| {
            db.record(
                &SignalEvent::new(SignalId(1), EntityId(id), NOW_MS)
                    .with_user(UserId(id))
                    .with_cohorts(&cohorts),
            )
        });
        let db = &sample.db;
        assert_eq!(
            db.windowed_count(EntityId(id), SignalId(1), 0, 1, NOW_MS)
                .unwrap(),
            1
        );
        let of_cohort = db.cohort_windowed_count(cohorts[0], EntityId(id), SignalId(1), 0, 1, NOW_MS);
        assert_eq!(of_cohort.unwrap(), 1);
        assert!(db.add_to_collection("saved", EntityId(id)).unwrap());
        assert!(db.collection_contains("saved", EntityId(id)).unwrap());
    }
    assert_eq!(sample.db.related(EntityId(0), 9, NOW_MS).unwrap(), []);
    sample.accepts(|db| db.forget_user(UserId(u64::MAX)));
    sample.accepts(|db| db.forget_entity(EntityId(u64::MAX)));
    sample.accepts(|db| db.forget_entity(EntityId(0)));
}

/// Regression: the deletion of a collection with a name of more than 255 bytes panicked in debug builds and poisoned
/// the handle.
#[test]
fn a_name_of_a_collection_has_1_to_255_bytes_of_any_value_and_is_unique() {
    let sample = InputSample::new();
    sample.refuses(
        "collection name is empty: a name must have at least one byte",
        |db| db.create_collection(""),
    );
    let long = [b'n'; NAME_BYTES_MAX + 1];
    sample.refuses("collection name: 256 is over the limit of 255", |db| {
        db.create_collection(long)
    });
    sample.refuses("collection \"saved\" exists already", |db| {
        db.create_collection("saved")
    });
    for name in [&b""[..], &long, b"save", b"saved ", b"saved\0", b"\xff"] {
        let text = format!(
            "the database has no collection {:?}",
            String::from_utf8_lossy(name)
        );
        sample.refuses(&text, |db| db.add_to_collection(name, EntityId(1)));
        sample.refuses(&text, |db| db.remove_from_collection(name, EntityId(1)));
        sample.refuses(&text, |db| db.delete_collection(name));
        sample.refuses(&text, |db| db.collection_members(name));
    }
    // Names that begin with other names, separators of paths and texts, and bytes that are not UTF-8.
    let longest = [0xff; NAME_BYTES_MAX];
    let names = [
        &b"a"[..],
        b"ab",
        b"a\0",
        b"\0",
        b"\0\0",
        b".",
        b"..",
        b"/",
        b"../../etc",
        b"\xff",
        &longest[..NAME_BYTES_MAX - 1],
        &longest,
    ];
    for (entity, name) in (10..).zip(names) {
        sample.db.create_collection(name).unwrap();
        sample.db.add_to_collection(name, EntityId(entity)).unwrap();
    }
    for (entity, name) in (10..).zip(names) {
        assert_eq!(
            sample.db.collection_members(name).unwrap(),
            [EntityId(entity)],
            "{name:?}"
        );
    }
    let image = content(&sample.disk);
    let paths: Vec<_> = image
        .files()
        .map(|(path, _)| path.to_path_buf())
        .chain(image.dirs().map(Path::to_path_buf))
        .collect();
    let is_ours = |name: &str| {
        let digits = name.trim_end_matches(".wal").trim_end_matches(".tdstore");
        ["db", "log", "store", "LOCK", "/"].contains(&name)
            || digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    for part in paths.iter().flat_map(|path| path.iter()) {
        assert!(
            is_ours(part.to_str().unwrap()),
            "a name became a path: {}",
            part.display()
        );
    }
}

#[test]
fn a_signal_that_is_not_in_the_schema_is_refused_by_every_call() {
    let sample = InputSample::new();
    let unknown = SignalId(3);
    for signal in [unknown, SignalId(u16::MAX)] {
        let text = format!("the schema has no signal \"{signal}\"");
        let event = SignalEvent { signal, ..view() };
        sample.refuses(&text, |db| db.record(&event));
        sample.refuses(&format!("event 1: {text}"), |db| {
            db.record_batch(&[view(), event])
        });
        sample.refuses(&text, |db| db.score(EntityId(1), signal, 0, NOW_MS));
        sample.refuses(&text, |db| db.windowed_count(EntityId(1), signal, 0, 1, NOW_MS));
        sample.refuses(&text, |db| {
            db.cohort_score(CohortId(7), EntityId(1), signal, 0, NOW_MS)
        });
        sample.refuses(&text, |db| {
            db.cohort_windowed_count(CohortId(7), EntityId(1), signal, 0, 1, NOW_MS)
        });
    }
    for name in [&b"vie"[..], b"views", b"", b"\xff"] {
        let text = format!("the schema has no signal {:?}", String::from_utf8_lossy(name));
        sample.refuses(&text, |db| db.signal(name));
    }
    let (entity, signal) = (EntityId(1), SignalId(0));
    sample.db.score(entity, signal, 1, NOW_MS).unwrap();
    sample.db.windowed_count(entity, signal, 1, 7, NOW_MS).unwrap();
    for (field, value, error) in [
        (
            "half_life_index",
            2,
            sample.db.score(entity, signal, 2, NOW_MS).map(drop),
        ),
        (
            "ring_index",
            2,
            sample.db.windowed_count(entity, signal, 2, 1, NOW_MS).map(drop),
        ),
        (
            "buckets_len",
            8,
            sample.db.windowed_count(entity, signal, 1, 8, NOW_MS).map(drop),
        ),
    ] {
        let begin = format!("{field} is {value}: ");
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with(&begin), "{error}");
    }
}

#[test]
fn cohorts_of_an_event_events_of_a_batch_and_bytes_of_a_frame_are_limited() {
    let sample = InputSample::new();
    let cohorts = [CohortId(1); EVENT_COHORTS_MAX + 1];
    let (many, too_many) = (view().with_cohorts(&cohorts[1..]), view().with_cohorts(&cohorts));
    sample.refuses("cohorts of an event: 65 is over the limit of 64", |db| {
        db.record(&too_many)
    });
    sample.refuses("event 2: cohorts of an event: 65 is over the limit of 64", |db| {
        db.record_batch(&[view(), many, too_many])
    });
    sample.accepts(|db| db.record(&many));

    sample.refuses("events is empty: a batch holds at least one event", |db| {
        db.record_batch(&[])
    });
    let batch = vec![view(); BATCH_EVENTS_MAX + 1];
    sample.refuses("events of a batch: 65537 is over the limit of 65536", |db| {
        db.record_batch(&batch)
    });
    let last_is_bad: Vec<_> = batch[2..]
        .iter()
        .copied()
        .chain([view().with_weight(f64::NAN)])
        .collect();
    sample.refuses("event 65535: weight is NaN: a weight is a finite number", |db| {
        db.record_batch(&last_is_bad)
    });
    sample.accepts(|db| db.record_batch(&batch[1..]));

    // A header of 8 bytes and 40,000 events of 28 bytes. Cohorts of 8 bytes each fill the rest of the frame.
    let fitting = FRAME_PAYLOAD_BYTES_MAX - 8 - 40_000 * 28;
    let (full, left) = (fitting / (8 * EVENT_COHORTS_MAX), fitting / 8 % EVENT_COHORTS_MAX);
    let mut frame = vec![view(); 40_000];
    frame[..full].fill(many);
    frame[full] = view().with_cohorts(&cohorts[..left]);
    validate::events(sample.db.schema(), &frame, NOW_MS, 0).unwrap();
    frame[full + 1] = view().with_user(UserId(1));
    sample.refuses("bytes of a frame: 16777224 is over the limit of 16777216", |db| {
        db.record_batch(&frame)
    });
}

/// Checks that an open with the options of `past` is refused with this text before any file operation, and that an open
/// with the options of `at` succeeds.
fn refuses_options(text: &str, past: impl Fn(Options) -> Options, at: &[&dyn Fn(Options) -> Options]) {
    let disk = SimDisk::new();
    let error = TidalDb::open(PATH, past(options(&disk, Durability::EverySynced))).unwrap_err();
    assert_eq!(error.to_string(), text);
    assert_eq!(disk.operations_len(), 0, "{text}");
    for at in at {
        let db = TidalDb::open(PATH, at(options(&SimDisk::new(), Durability::EverySynced)))
            .unwrap_or_else(|error| panic!("at the limit of {text}: {error}"));
        db.close().unwrap();
    }
}

#[test]
fn an_option_outside_its_limits_is_refused_before_any_file_operation() {
    refuses_options(
        "segment_bytes_max is 511: it is below SEGMENT_BYTES_MIN",
        |options| options.segment_bytes_max(SEGMENT_BYTES_MIN - 1),
        &[&|options| options.segment_bytes_max(SEGMENT_BYTES_MIN)],
    );
    refuses_options(
        "segment_bytes_max: 1073741825 is over the limit of 1073741824",
        |options| options.segment_bytes_max(SEGMENT_BYTES_MAX + 1),
        &[&|options| options.segment_bytes_max(SEGMENT_BYTES_MAX)],
    );
    refuses_options(
        "store_segment_bytes_max is 511: it is below SEGMENT_BYTES_MIN",
        |options| options.store_segment_bytes_max(SEGMENT_BYTES_MIN - 1),
        &[&|options| options.store_segment_bytes_max(SEGMENT_BYTES_MIN)],
    );
    refuses_options(
        "store_segment_bytes_max: 1073741825 is over the limit of 1073741824",
        |options| options.store_segment_bytes_max(SEGMENT_BYTES_MAX + 1),
        &[&|options| options.store_segment_bytes_max(SEGMENT_BYTES_MAX)],
    );
    refuses_options(
        "preallocate_bytes: 1073741825 is over the limit of 1073741824",
        |options| options.preallocate_bytes(SEGMENT_BYTES_MAX + 1),
        // A segment is never longer than its limit, also with a larger preallocation.
        &[
            &|options| options.preallocate_bytes(SEGMENT_BYTES_MAX),
            &|options| options.preallocate_bytes(0),
        ],
    );
    refuses_options(
        "checkpoint_log_bytes is 0: it must be at least 1",
        |options| options.checkpoint_log_bytes(0),
        &[&|options| options.checkpoint_log_bytes(1), &|options| {
            options.checkpoint_log_bytes(u64::MAX)
        }],
    );
    refuses_options(
        "checkpoint_state_bytes: 536870913 is over the limit of 536870912",
        |options| options.checkpoint_state_bytes(CHECKPOINT_STATE_BYTES_MAX + 1),
        &[&|options| options.checkpoint_state_bytes(CHECKPOINT_STATE_BYTES_MAX)],
    );
    refuses_options(
        "checkpoint_state_bytes is 0: it must be at least 1",
        |options| options.checkpoint_state_bytes(0),
        &[&|options| options.checkpoint_state_bytes(1)],
    );
    let every = |interval_ms| Durability::SyncedEvery { interval_ms };
    refuses_options(
        "interval_ms is 0: it must be at least 1",
        |options| options.durability(every(0)),
        &[&|options| options.durability(every(1)), &|options| {
            options.durability(every(u64::MAX))
        }],
    );
}

#[test]
fn a_schema_outside_its_limits_is_refused_before_any_file_operation() {
    let with = |signal: Signal| {
        move |options: Options| Options {
            schema: Schema::new().signal(signal.clone()),
            ..options
        }
    };
    let named = |len: usize| Signal::new(vec![0xfe; len]).half_life_ms(1);
    let lives = |len: usize| (0..len).fold(Signal::new("s"), |signal, _| signal.half_life_ms(1));
    let rings = |len: usize, bucket_ms, buckets| {
        Signal::new("s")
            .half_life_ms(1)
            .rings(vec![Ring { bucket_ms, buckets }; len])
    };
    let duration = |ms| Signal::new("s").half_life_ms(ms);
    refuses_options(
        "signal name is empty: a name must have at least one byte",
        with(named(0)),
        &[&with(named(1))],
    );
    refuses_options(
        "signal name: 256 is over the limit of 255",
        with(named(NAME_BYTES_MAX + 1)),
        &[&with(named(NAME_BYTES_MAX))],
    );
    refuses_options(
        "half_lives_ms is empty: a signal needs at least one half-life",
        with(lives(0)),
        &[&with(lives(1))],
    );
    refuses_options(
        "half-lives of a signal: 17 is over the limit of 16",
        with(lives(HALF_LIVES_MAX + 1)),
        &[&with(lives(HALF_LIVES_MAX))],
    );
    refuses_options(
        "window rings of a signal: 9 is over the limit of 8",
        with(rings(RINGS_MAX + 1, 1, 1)),
        &[&with(rings(RINGS_MAX, 1, 1)), &with(rings(0, 1, 1))],
    );
    refuses_options(
        "buckets is 0: a ring needs at least one bucket",
        with(rings(1, 1, 0)),
        &[&with(rings(1, 1, 1))],
    );
    refuses_options(
        "buckets of a ring: 4097 is over the limit of 4096",
        with(rings(1, 1, RING_BUCKETS_MAX as u32 + 1)),
        &[&with(rings(1, 1, RING_BUCKETS_MAX as u32))],
    );
    for (field, signal) in [
        ("half_life_ms", Box::new(duration) as Box<dyn Fn(u64) -> Signal>),
        ("bucket_ms", Box::new(move |ms| rings(1, ms, 1))),
    ] {
        refuses_options(
            &format!("{field} is 0: a duration must be at least one millisecond"),
            with(signal(0)),
            &[&with(signal(1))],
        );
        refuses_options(
            &format!("{field}: 31622400000001 is over the limit of 31622400000000"),
            with(signal(DURATION_MS_MAX + 1)),
            &[&with(signal(DURATION_MS_MAX))],
        );
    }
    let signals = |len: usize| {
        move |options: Options| Options {
            schema: (0..len).fold(Schema::new(), |schema, number| {
                schema.signal(Signal::new(number.to_string()).half_life_ms(1))
            }),
            ..options
        }
    };
    refuses_options(
        "signals of a schema: 1025 is over the limit of 1024",
        signals(SIGNALS_MAX + 1),
        &[&signals(SIGNALS_MAX)],
    );
}
