//! Inheriting the slot, through `inherit` and through the engine's own `spawn`.

use std::sync::mpsc;

use super::*;

#[test]
fn an_inherited_crash_ends_its_thread_with_the_typed_payload() {
    let injector = CrashInjector::new(TARGET, 1);
    let outcome = run_with_crash(&injector, || {
        cross(1);
        let spawned = thread::Builder::new().spawn(inherit(|| cross(1)));
        let payload = spawned
            .expect("a thread")
            .join()
            .expect_err("the crash was there");
        crash_of(&payload).map(|crash| (crash.point(), crash.crossings()))
    });
    // On another thread: the closure's own result.
    assert_eq!((outcome, injector.has_fired()), (Ok(Some((TARGET, 2))), true));
}

#[test]
fn a_thread_that_inherits_outside_any_run_panics_with_the_text() {
    let injector = CrashInjector::new(TARGET, 0);
    let _installed = scoped_injector(&injector);
    let payload = on_watched_thread("text", || cross(1)).expect_err("it fires");
    assert_eq!(panic_text(&*payload), TEXT);
}

#[test]
fn a_thread_inherits_every_run_its_spawner_is_inside_of() {
    let outer = CrashInjector::new(TARGET, 0);
    let inner = CrashInjector::new(OTHER, 0);
    let joined = run_with_crash(&outer, || {
        run_with_crash(&inner, || {
            let outer = Arc::clone(&outer);
            on_watched_thread("outer", move || outer.maybe_crash(TARGET))
        })
    });
    let payload = joined
        .expect("no crash here")
        .expect("nor here")
        .expect_err("but there");
    assert!(crash_of(&*payload).is_some_and(|crash| crash.is_from(&outer)));
}

#[test]
fn the_slot_is_that_of_the_moment_of_spawning() {
    let injector = CrashInjector::new(TARGET, 100);
    let (go, wait) = mpsc::channel::<()>();
    let body = {
        let _installed = scoped_injector(&injector);
        inherit(move || {
            wait.recv().expect("the spawner is alive");
            cross(3);
            "result"
        })
    };
    let handle = thread::Builder::new().spawn(body).expect("a thread");
    assert_eq!(injector.crossing_count(), 0);
    go.send(()).expect("the thread waits");
    assert_eq!(handle.join().expect("no panic"), "result");
    // Watched although the spawner is no longer.
    assert_eq!(injector.crossing_count(), 3);
}

#[test]
fn an_inherited_slot_lasts_as_long_as_the_body() {
    let own = CrashInjector::new(TARGET, 100);
    let inherited = CrashInjector::new(TARGET, 100);
    let [run, never_run] = {
        let _installed = scoped_injector(&inherited);
        [(), ()].map(|()| inherit(|| cross(1)))
    };
    let _own = scoped_injector(&own);
    run();
    cross(5);
    assert_eq!((inherited.crossing_count(), own.crossing_count()), (1, 5));
    assert_eq!(Arc::strong_count(&inherited), 2);
    drop(never_run);
    assert_eq!(
        (inherited.crossing_count(), Arc::strong_count(&inherited)),
        (1, 1)
    );
}

#[test]
fn threads_of_threads_inherit_too() {
    let injector = CrashInjector::new(TARGET, 3);
    let outcome = run_with_crash(&injector, || {
        let child = || on_watched_thread("grandchild", || cross(4)).is_err();
        let child = thread::Builder::new().spawn(inherit(child)).expect("a thread");
        child.join().expect("the child only waits")
    });
    assert_eq!((outcome, injector.crossing_count()), (Ok(true), 4));
}

#[test]
fn spawn_names_the_thread_and_watches_nothing_by_itself() {
    let joined = on_watched_thread("checkpointer", || {
        cross(1);
        assert_eq!(thread::current().name(), Some("checkpointer"));
    });
    joined.expect("nothing is installed");
}
