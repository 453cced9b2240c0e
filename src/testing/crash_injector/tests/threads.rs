//! Inheriting the slot, through `inherit` and through the engine's own `spawn`.

use std::sync::mpsc;

use super::*;

#[test]
fn an_inherited_crash_ends_its_thread_with_the_typed_payload() {
    let injector = CrashInjector::new(TARGET, 1);
    let outcome = run_with_crash(&injector, || {
        cross(1);
        let joined = thread::Builder::new()
            .spawn(inherit(|| cross(1)))
            .expect("a thread")
            .join();
        let payload = joined.expect_err("the crash was there");
        crash_of(&payload).map(|crash| (crash.point(), crash.crossings()))
    });
    assert_eq!(
        outcome,
        Ok(Some((TARGET, 2))),
        "on another thread: the closure's own result"
    );
    assert!(injector.has_fired());
}

#[test]
fn a_thread_that_inherits_outside_any_run_panics_with_the_text() {
    let injector = CrashInjector::new(TARGET, 0);
    let _installed = scoped_injector(&injector);
    let payload = crate::threads::spawn("text", || cross(1))
        .expect("a thread")
        .join()
        .expect_err("it fires");
    assert_eq!(
        panic_text(&*payload),
        "CrashInjector: simulated crash at WalPreAggregate after 1 crossings"
    );
}

#[test]
fn a_thread_inherits_every_run_its_spawner_is_inside_of() {
    let outer = CrashInjector::new(TARGET, 0);
    let inner = CrashInjector::new(OTHER, 0);
    let joined = run_with_crash(&outer, || {
        run_with_crash(&inner, || {
            let outer = Arc::clone(&outer);
            crate::threads::spawn("outer", move || outer.maybe_crash(TARGET))
                .expect("a thread")
                .join()
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
    assert_eq!(
        injector.crossing_count(),
        3,
        "watched although the spawner is no longer"
    );
}

#[test]
fn an_inherited_slot_lasts_as_long_as_the_body() {
    let own = CrashInjector::new(TARGET, 100);
    let inherited = CrashInjector::new(TARGET, 100);
    let body = {
        let _installed = scoped_injector(&inherited);
        inherit(|| cross(1))
    };
    let _own = scoped_injector(&own);
    body();
    cross(5);
    assert_eq!((inherited.crossing_count(), own.crossing_count()), (1, 5));
    assert_eq!(Arc::strong_count(&inherited), 1);
}

#[test]
fn threads_of_threads_inherit_too() {
    let injector = CrashInjector::new(TARGET, 3);
    let outcome = run_with_crash(&injector, || {
        let grandchild = || {
            crate::threads::spawn("grandchild", || cross(4))
                .expect("a thread")
                .join()
        };
        let child = thread::Builder::new()
            .spawn(inherit(grandchild))
            .expect("a thread");
        child.join().expect("the child only waits").is_err()
    });
    assert_eq!(outcome, Ok(true));
    assert_eq!(injector.crossing_count(), 4);
}

#[test]
fn spawn_names_the_thread_and_watches_nothing_by_itself() {
    let (name, named) = mpsc::channel();
    let spawned = crate::threads::spawn("checkpointer", move || {
        cross(1);
        name.send(thread::current().name().map(str::to_owned))
            .expect("the spawner waits");
    });
    spawned.expect("a thread").join().expect("nothing is installed");
    assert_eq!(named.recv().expect("sent"), Some("checkpointer".to_owned()));
}

#[test]
fn an_inheriting_closure_that_is_never_run_changes_nothing() {
    let injector = CrashInjector::new(TARGET, 9);
    let body = {
        let _installed = scoped_injector(&injector);
        inherit(|| cross(1))
    };
    assert_eq!(Arc::strong_count(&injector), 2);
    drop(body);
    assert_eq!((Arc::strong_count(&injector), injector.crossing_count()), (1, 0));
}
