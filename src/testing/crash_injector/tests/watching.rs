//! The recorder, and the listener for threads that nobody watches.

use super::*;

/// Crosses points on two threads, one after the other, so that every run has the same crossings.
fn scripted() {
    cross(2);
    check_crash_point(OTHER);
    let thread = crate::threads::spawn("second", || {
        cross(1);
        check_crash_point(OTHER);
    });
    drop(thread.expect("a thread").join());
    cross(1);
}

fn points_and_ordinals(recorder: &CrossingRecorder) -> Vec<(CrashPoint, Option<u64>)> {
    recorder
        .crossings()
        .into_iter()
        .map(|crossing| (crossing.point, crossing.ordinal))
        .collect()
}

#[test]
fn a_recorder_lists_every_crossing_of_every_point_with_its_thread() {
    let recorder = CrossingRecorder::new();
    {
        let _recording = scoped_recorder(&recorder);
        scripted();
    }
    scripted();
    let expected = [
        (TARGET, Some(0)),
        (TARGET, Some(1)),
        (OTHER, Some(0)),
        (TARGET, Some(2)),
        (OTHER, Some(1)),
        (TARGET, Some(3)),
    ];
    assert_eq!(points_and_ordinals(&recorder), expected);

    let crossings = recorder.crossings();
    let on_second: Vec<bool> = crossings
        .iter()
        .map(|it| it.thread_name.as_deref() == Some("second"))
        .collect();
    assert_eq!(on_second, [false, false, false, true, true, false]);
    assert!(
        crossings
            .iter()
            .zip(&on_second)
            .all(|(it, second)| (it.thread == thread::current().id()) != *second)
    );
}

#[test]
fn every_recorded_ordinal_is_where_an_injector_fires() {
    let recorder = CrossingRecorder::new();
    {
        let _recording = scoped_recorder(&recorder);
        scripted();
    }
    for (index, crossing) in recorder.crossings().into_iter().enumerate() {
        let again = CrossingRecorder::new();
        let _recording = scoped_recorder(&again);
        let ordinal = crossing.ordinal.expect("nobody panics here");
        let action = CrashAction::call({
            let again = Arc::clone(&again);
            move |_, _| {
                assert_eq!(
                    again.crossings().len(),
                    index + 1,
                    "it fires at the crossing of that index"
                );
            }
        });
        let at_index = CrashInjector::with_action(crossing.point, ordinal, action);
        assert_eq!(run_with_crash(&at_index, scripted), Ok(()));
        assert!(at_index.has_fired(), "crossing {index}");

        let crashes = CrashInjector::new(crossing.point, ordinal);
        let here = crossing.thread == thread::current().id();
        assert_eq!(
            run_with_crash(&crashes, scripted),
            if here { Err(crossing.point) } else { Ok(()) }
        );
        assert!(crashes.has_fired(), "crossing {index}");
    }
}

#[test]
fn a_recorder_and_an_injector_come_and_go_independently() {
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

    assert_eq!(
        points_and_ordinals(&recorder),
        [(TARGET, Some(0)), (OTHER, Some(0))]
    );
    assert_eq!(injector.crossing_count(), 2);
    assert_eq!(
        (Arc::strong_count(&recorder), Arc::strong_count(&injector)),
        (1, 1)
    );
}

#[test]
fn the_crossing_that_fires_is_recorded_and_those_of_its_unwinding_have_no_ordinal() {
    let recorder = CrossingRecorder::new();
    let _recording = scoped_recorder(&recorder);
    let injector = CrashInjector::new(TARGET, 1);
    let outcome = run_with_crash(&injector, || {
        let _guard = CrossesOnDrop(OTHER);
        cross(5);
    });
    assert_eq!(outcome, Err(TARGET));
    check_crash_point(OTHER);
    let expected = [
        (TARGET, Some(0)),
        (TARGET, Some(1)),
        (OTHER, None),
        (OTHER, Some(0)),
    ];
    assert_eq!(points_and_ordinals(&recorder), expected);
}

#[test]
fn clearing_the_injector_leaves_the_recorder() {
    let recorder = CrossingRecorder::new();
    let _recording = scoped_recorder(&recorder);
    install_injector(CrashInjector::new(TARGET, 100));
    clear_injector();
    cross(1);
    assert_eq!(points_and_ordinals(&recorder), [(TARGET, Some(0))]);
}

#[test]
fn recorders_on_parallel_threads_do_not_hear_of_one_another() {
    let recorders: Vec<_> = (0..4).map(|_| CrossingRecorder::new()).collect();
    thread::scope(|scope| {
        for (index, recorder) in recorders.iter().enumerate() {
            scope.spawn(move || {
                let _recording = scoped_recorder(recorder);
                cross(index as u64);
            });
        }
    });
    let counts: Vec<_> = recorders
        .iter()
        .map(|recorder| recorder.crossings().len())
        .collect();
    assert_eq!(counts, [0, 1, 2, 3]);
}

#[test]
fn ordinals_are_gapless_over_all_threads() {
    let recorder = CrossingRecorder::new();
    {
        let _recording = scoped_recorder(&recorder);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(inherit(|| cross(50)));
            }
        });
    }
    let ordinals: Vec<_> = recorder
        .crossings()
        .into_iter()
        .map(|crossing| crossing.ordinal)
        .collect();
    assert_eq!(ordinals, (0..200).map(Some).collect::<Vec<_>>());
}

#[test]
fn a_recorder_knows_whether_it_watches_the_thread_that_asks() {
    let recorder = CrossingRecorder::new();
    let other = CrossingRecorder::new();
    assert!(!recorder.watches_this_thread());
    let _recording = scoped_recorder(&recorder);
    assert!(recorder.watches_this_thread() && !other.watches_this_thread());

    let (watched, unwatched) = thread::scope(|scope| {
        let watched = scope.spawn(inherit(|| recorder.watches_this_thread()));
        let unwatched = scope.spawn(|| recorder.watches_this_thread());
        (
            watched.join().expect("no panic"),
            unwatched.join().expect("no panic"),
        )
    });
    assert!(watched && !unwatched);

    let _other = scoped_recorder(&other);
    assert!(!recorder.watches_this_thread(), "replaced");
}

/// What the listener heard from threads of that name: tests run in parallel, and it hears their threads as
/// well.
fn heard_from(listener: &UnwatchedListener, name: &str) -> Vec<(CrashPoint, Option<u64>)> {
    let heard = listener
        .heard()
        .into_iter()
        .filter(|crossing| crossing.thread_name.as_deref() == Some(name));
    heard.map(|crossing| (crossing.point, crossing.ordinal)).collect()
}

fn on_a_thread_nobody_watches(name: &str, body: impl FnOnce() + Send + 'static) {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(body);
    spawned.expect("a thread").join().expect("no crash there");
}

#[test]
fn a_listener_hears_crossings_on_threads_that_nobody_watches() {
    let listener = UnwatchedListener::new();
    let injector = CrashInjector::new(TARGET, 0);
    let outcome = run_with_crash(&injector, || {
        on_a_thread_nobody_watches("nobody watches", || {
            cross(2);
            check_crash_point(OTHER);
        });
    });
    assert_eq!(outcome, Ok(()));
    assert!(!injector.has_fired());
    assert_eq!(
        heard_from(&listener, "nobody watches"),
        [(TARGET, None), (TARGET, None), (OTHER, None)]
    );
}

#[test]
fn a_listener_hears_nothing_of_watched_threads() {
    let listener = UnwatchedListener::new();
    on_a_thread_nobody_watches("somebody watches", || {
        let _installed = scoped_injector(&CrashInjector::new(TARGET, 100));
        cross(1);
        check_crash_point(OTHER);
        clear_injector();
        let _recording = scoped_recorder(&CrossingRecorder::new());
        check_crash_point(OTHER);
    });
    assert_eq!(heard_from(&listener, "somebody watches"), []);
}

#[test]
fn a_listener_hears_only_what_comes_between_its_making_and_its_end() {
    on_a_thread_nobody_watches("in between", || cross(1));
    let first = UnwatchedListener::new();
    on_a_thread_nobody_watches("in between", || check_crash_point(OTHER));
    let second = UnwatchedListener::new();
    on_a_thread_nobody_watches("in between", || cross(1));
    assert_eq!(heard_from(&first, "in between"), [(OTHER, None), (TARGET, None)]);
    drop(first);
    on_a_thread_nobody_watches("in between", || cross(1));
    assert_eq!(
        heard_from(&second, "in between"),
        [(TARGET, None), (TARGET, None)]
    );
}
