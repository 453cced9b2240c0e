//! Threads inherit the slot, through `inherit` and through the `spawn` function of the engine.

use std::sync::mpsc;

use super::*;

#[test]
fn an_inherited_crash_ends_its_thread_with_the_typed_payload() {
    let injector = CrashInjector::new(TARGET, 1);
    let outcome = run_with_crash(&injector, || {
        cross(1);
        let spawned = thread::Builder::new().spawn(inherit(|| cross(1)));
        let payload = spawned.expect("a thread").join().expect_err("a crash");
        crash_of(&payload).map(|crash| (crash.point(), crash.crossings()))
    });
    // The crash ended another thread, so the run returns the closure's result.
    assert_eq!((outcome, injector.has_fired()), (Ok(Some((TARGET, 2))), true));
}

#[test]
fn a_thread_that_inherits_outside_any_run_panics_with_the_message() {
    let injector = CrashInjector::new(TARGET, 0);
    let _installed = scoped_injector(&injector);
    let payload = on_watched_thread("text", || cross(1)).expect_err("a crash");
    assert_eq!(panic_text(&*payload), TEXT);
}

#[test]
fn a_thread_inherits_all_enclosing_runs_of_its_spawning_thread() {
    let outer = CrashInjector::new(TARGET, 0);
    let inner = CrashInjector::new(OTHER, 0);
    let joined = run_with_crash(&outer, || {
        run_with_crash(&inner, || {
            let outer = Arc::clone(&outer);
            on_watched_thread("outer", move || outer.maybe_crash(TARGET))
        })
    });
    let payload = joined
        .expect("no crash in the outer run")
        .expect("no crash in the inner run")
        .expect_err("a crash on the spawned thread");
    assert!(crash_of(&*payload).is_some_and(|crash| crash.is_from(&outer)));
}

#[test]
fn a_thread_inherits_the_slot_from_the_time_of_the_inherit_call() {
    let injector = CrashInjector::new(TARGET, 100);
    let (go, wait) = mpsc::channel::<()>();
    let body = {
        let _installed = scoped_injector(&injector);
        inherit(move || {
            wait.recv().expect("the sender exists");
            cross(3);
            "result"
        })
    };
    let handle = thread::Builder::new().spawn(body).expect("a thread");
    assert_eq!(injector.crossing_count(), 0);
    go.send(()).expect("the thread waits");
    assert_eq!(handle.join().expect("no panic"), "result");
    // The thread is watched although the spawning thread no longer is.
    assert_eq!(injector.crossing_count(), 3);
}

#[test]
fn an_inherited_slot_is_removed_when_the_body_ends() {
    let installed = CrashInjector::new(TARGET, 100);
    let inherited = CrashInjector::new(TARGET, 100);
    let [run, never_run] = {
        let _installed = scoped_injector(&inherited);
        [(), ()].map(|()| inherit(|| cross(1)))
    };
    let _guard = scoped_injector(&installed);
    run();
    cross(5);
    assert_eq!((inherited.crossing_count(), installed.crossing_count()), (1, 5));
    assert_eq!(Arc::strong_count(&inherited), 2);
    drop(never_run);
    assert_eq!(
        (inherited.crossing_count(), Arc::strong_count(&inherited)),
        (1, 1)
    );
}

#[test]
fn a_thread_of_a_thread_inherits_the_slot_too() {
    let injector = CrashInjector::new(TARGET, 3);
    let outcome = run_with_crash(&injector, || {
        let child = || on_watched_thread("grandchild", || cross(4)).is_err();
        let child = thread::Builder::new().spawn(inherit(child)).expect("a thread");
        child.join().expect("the child only waits")
    });
    assert_eq!((outcome, injector.crossing_count()), (Ok(true), 4));
}

#[test]
fn spawn_names_the_thread_and_watches_nothing_without_an_installed_injector() {
    let joined = on_watched_thread("checkpointer", || {
        cross(1);
        assert_eq!(thread::current().name(), Some("checkpointer"));
    });
    joined.expect("nothing is installed");
}
