//! The protocol between a parent and its child. Each test runs itself again as a child.

use std::process::Command;
use std::time::Duration;

use super::*;

const TIME_MAX: Duration = Duration::from_secs(60);

fn this_test() -> ChildProgram {
    ChildProgram::calling_test().expect("the harness names the thread")
}

#[test]
fn a_child_receives_its_orders_and_answers_each_line() {
    if let Some(orders) = ChildSide::orders() {
        ChildSide::answer(&orders);
        while let Some(line) = ChildSide::read_line() {
            ChildSide::answer(&format!("{line}?"));
        }
        ChildSide::end();
    }
    let module = module_path!();
    let test = format!("{module}::a_child_receives_its_orders_and_answers_each_line");
    let mut child = ChildProgram::this_test(&test)
        .start("first line\nsecond 'line'")
        .expect("a child");
    for line in ["one", "", "two  words"] {
        child.send_line(line);
    }
    for expected in ["first line second 'line'", "one?", "?", "two  words?"] {
        assert_eq!(child.receive_answer(TIME_MAX).expect("an answer"), expected);
    }
    let end = child.wait(TIME_MAX).expect("the child ends when its input ends");
    assert_eq!((end.status.code(), end.answers), (Some(3), Vec::new()));
}

#[test]
fn the_parent_receives_every_answer_from_before_an_abort_and_the_child_writes_no_core_dump() {
    if ChildSide::orders().is_some() {
        let limit = Command::new("sh").args(["-c", "ulimit -S -c"]).output();
        ChildSide::answer(String::from_utf8_lossy(&limit.expect("sh").stdout).trim());
        for number in 0..100 {
            ChildSide::answer(&number.to_string());
        }
        let mut output = io::stdout().lock();
        write!(output, "\n{MARK}cut sho").expect("the parent reads");
        output.flush().expect("the parent reads");
        eprintln!("first\nlast");
        abort();
    }
    let end = this_test().start("").expect("a child").wait(TIME_MAX);
    let end = end.expect("the child ends");
    assert!(end.is_aborted() && !end.is_killed(), "{end}");
    assert!(!end.status.core_dumped(), "{end}");
    assert_eq!(end.stderr_tail, "first | last");
    let mut answers = end.answers.into_iter();
    assert_eq!(answers.next().as_deref(), Some("0"));
    let expected: Vec<String> = (0..100).map(|number: u32| number.to_string()).collect();
    assert_eq!(answers.collect::<Vec<_>>(), expected);
}

#[test]
fn a_child_that_neither_answers_nor_ends_is_reported_as_hanging_and_is_killed() {
    if ChildSide::orders().is_some() {
        loop {
            std::thread::park();
        }
    }
    let child = this_test().start("").expect("a child");
    let reason = child
        .wait(Duration::from_millis(200))
        .expect_err("the child does not end");
    assert!(matches!(reason, NoAnswer::TimedOut(_)), "{reason}");
    assert!(reason.to_string().starts_with("hangs"), "{reason}");
}

#[test]
fn a_parked_child_can_be_killed_and_ends_when_its_input_ends() {
    if ChildSide::orders().is_some() {
        ChildSide::answer("before");
        ChildSide::park("here");
    }
    let program = this_test();
    let mut child = program.start("").expect("a child");
    assert_eq!(child.receive_answer(TIME_MAX).expect("an answer"), "before");
    assert_eq!(child.receive_answer(TIME_MAX).expect("an answer"), "here");
    let end = child.kill().expect("its end");
    assert!(end.is_killed() && end.answers.is_empty(), "{end}");

    let end = program.start("").expect("a child").wait(TIME_MAX);
    let end = end.expect("the child ends when its input ends");
    assert_eq!(end.status.code(), Some(3), "{end}");
    assert_eq!(end.answers, ["before", "here"]);
}

#[test]
fn the_panic_message_of_a_child_is_in_the_reason_for_the_missing_answer() {
    assert!(ChildSide::orders().is_none(), "for this reason");
    let mut child = this_test().start("").expect("a child");
    let reason = child.receive_answer(TIME_MAX).expect_err("the child panics");
    assert!(reason.to_string().contains("for this reason"), "{reason}");
}

#[expect(clippy::disallowed_methods, reason = "the test is about a child that aborts")]
fn abort() -> ! {
    std::process::abort()
}
