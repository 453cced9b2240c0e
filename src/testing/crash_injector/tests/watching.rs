//! The recorder, and the listener for crossings on unwatched threads.

use super::*;

/// Crosses points on two threads, one after the other, so that every run has the same crossings.
fn cross_on_two_threads() {
    cross(2);
    check_crash_point(OTHER);
    drop(on_watched_thread("second", || {
        cross(1);
        check_crash_point(OTHER);
    }));
    cross(1);
}

fn points_and_ordinals(crossings: Vec<Crossing>) -> Vec<(CrashPoint, Option<u64>)> {
    crossings.into_iter().map(|it| (it.point, it.ordinal)).collect()
}

/// The recorded crossings of `body`.
fn recorded(body: impl FnOnce()) -> Vec<Crossing> {
    let recorder = CrossingRecorder::new();
    let recording = scoped_recorder(&recorder);
    body();
    drop(recording);
    recorder.crossings()
}

#[test]
fn a_recorder_lists_every_crossing_of_every_point_with_its_thread() {
    let recorder = CrossingRecorder::new();
    let recording = scoped_recorder(&recorder);
    cross_on_two_threads();
    drop(recording);
    cross_on_two_threads();
    let here = thread::current().id();
    let on_second = |it: &Crossing| it.thread != here && it.thread_name.as_deref() == Some("second");
    let crossings = recorder.crossings();
    let listed: Vec<_> = crossings
        .iter()
        .map(|it| (it.point, it.ordinal, on_second(it)))
        .collect();
    let expected = [
        (TARGET, Some(0), false),
        (TARGET, Some(1), false),
        (OTHER, Some(0), false),
        (TARGET, Some(2), true),
        (OTHER, Some(1), true),
        (TARGET, Some(3), false),
    ];
    assert_eq!(listed, expected);
}

#[test]
fn an_injector_fires_at_every_recorded_ordinal() {
    for (index, crossing) in recorded(cross_on_two_threads).into_iter().enumerate() {
        let again = CrossingRecorder::new();
        let _recording = scoped_recorder(&again);
        let ordinal = crossing.ordinal.expect("no panic");
        let in_action = Arc::clone(&again);
        let action = CrashAction::call(move |_, _| {
            assert_eq!(in_action.crossings_len(), index + 1, "crossing {index}");
        });
        let at_index = CrashInjector::with_action(crossing.point, ordinal, action);
        assert_eq!(run_with_crash(&at_index, cross_on_two_threads), Ok(()));
        assert!(at_index.has_fired(), "crossing {index}");

        let crashes = CrashInjector::new(crossing.point, ordinal);
        let is_here = crossing.thread == thread::current().id();
        let expected = if is_here { Err(crossing.point) } else { Ok(()) };
        assert_eq!(run_with_crash(&crashes, cross_on_two_threads), expected);
        assert!(crashes.has_fired(), "crossing {index}");
    }
}

#[test]
fn a_recorder_and_an_injector_can_be_installed_and_removed_independently() {
    let recorder = CrossingRecorder::new();
    let injector = CrashInjector::new(TARGET, 100);

    let recording = scoped_recorder(&recorder);
    let installed = scoped_injector(&injector);
    cross(1);
    check_crash_point(OTHER);
    drop(recording);
    cross(1);
    check_crash_point(OTHER);
    drop(installed);
    cross(1);

    let crossings = points_and_ordinals(recorder.crossings());
    assert_eq!(crossings, [(TARGET, Some(0)), (OTHER, Some(0))]);
    assert_eq!(injector.crossing_count(), 2);
    assert_eq!(
        (Arc::strong_count(&recorder), Arc::strong_count(&injector)),
        (1, 1)
    );

    let crossings = recorded(|| {
        install_injector(CrashInjector::new(TARGET, 100));
        clear_injector();
        cross(1);
    });
    assert_eq!(points_and_ordinals(crossings), [(TARGET, Some(0))]);
}

#[test]
fn the_crossing_that_fires_is_recorded_and_crossings_during_the_unwinding_have_no_ordinal() {
    let crossings = recorded(|| {
        let outcome = run_with_crash(&CrashInjector::new(TARGET, 1), || {
            let _guard = CrossesOnDrop(OTHER);
            cross(5);
        });
        assert_eq!(outcome, Err(TARGET));
        check_crash_point(OTHER);
    });
    let expected = [
        (TARGET, Some(0)),
        (TARGET, Some(1)),
        (OTHER, None),
        (OTHER, Some(0)),
    ];
    assert_eq!(points_and_ordinals(crossings), expected);
}

#[test]
fn a_recorder_does_not_record_crossings_on_parallel_threads() {
    let counts = thread::scope(|scope| {
        let threads = [0, 1, 2, 3].map(|times| scope.spawn(move || recorded(|| cross(times)).len()));
        threads.map(|thread| thread.join().expect("no panic"))
    });
    assert_eq!(counts, [0, 1, 2, 3]);
}

#[test]
fn the_ordinals_of_all_threads_together_have_no_gaps() {
    let crossings = recorded(|| {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(inherit(|| cross(50)));
            }
        });
    });
    let ordinals = crossings.into_iter().map(|crossing| crossing.ordinal);
    assert!(ordinals.eq((0..200).map(Some)));
}

#[test]
fn a_recorder_watches_only_the_threads_with_the_recorder_in_their_slot() {
    let recorder = CrossingRecorder::new();
    let other = CrossingRecorder::new();
    assert!(!recorder.watches_this_thread());
    let _recording = scoped_recorder(&recorder);
    assert!(recorder.watches_this_thread() && !other.watches_this_thread());

    thread::scope(|scope| {
        let watched = scope.spawn(inherit(|| recorder.watches_this_thread()));
        let unwatched = scope.spawn(|| recorder.watches_this_thread());
        assert!(watched.join().expect("no panic") && !unwatched.join().expect("no panic"));
    });

    let _other = scoped_recorder(&other);
    assert!(!recorder.watches_this_thread(), "replaced");
}

/// The listener's crossings on threads with this name. The listener also records threads of tests that run in parallel.
fn crossings_on(listener: &UnwatchedListener, name: &str) -> Vec<(CrashPoint, Option<u64>)> {
    let mut crossings = listener.crossings();
    crossings.retain(|crossing| crossing.thread_name.as_deref() == Some(name));
    points_and_ordinals(crossings)
}

#[test]
fn a_listener_records_crossings_on_unwatched_threads_only() {
    let listener = UnwatchedListener::new();
    let injector = CrashInjector::new(TARGET, 0);
    let outcome = run_with_crash(&injector, || {
        on_unwatched_thread("unwatched", || {
            cross(2);
            check_crash_point(OTHER);
        });
    });
    assert_eq!((outcome, injector.has_fired()), (Ok(()), false));
    let expected = [(TARGET, None), (TARGET, None), (OTHER, None)];
    assert_eq!(crossings_on(&listener, "unwatched"), expected);

    on_unwatched_thread("watched", || {
        let _installed = scoped_injector(&CrashInjector::new(TARGET, 100));
        cross(1);
        check_crash_point(OTHER);
        clear_injector();
        let _recording = scoped_recorder(&CrossingRecorder::new());
        check_crash_point(OTHER);
    });
    assert_eq!(crossings_on(&listener, "watched"), []);
}

#[test]
fn a_listener_records_only_crossings_between_its_creation_and_its_drop() {
    let cross_unwatched = |point| on_unwatched_thread("in between", move || check_crash_point(point));
    cross_unwatched(TARGET);
    let first = UnwatchedListener::new();
    cross_unwatched(OTHER);
    let second = UnwatchedListener::new();
    cross_unwatched(TARGET);
    assert_eq!(
        crossings_on(&first, "in between"),
        [(OTHER, None), (TARGET, None)]
    );
    drop(first);
    cross_unwatched(TARGET);
    assert_eq!(
        crossings_on(&second, "in between"),
        [(TARGET, None), (TARGET, None)]
    );
}
