//! Each test runs itself again as a child.

use std::process::Command;
use std::time::Duration;

use super::*;

const TIME_MAX: Duration = Duration::from_secs(60);

fn this_test() -> ChildProgram {
    ChildProgram::calling_test().expect("the harness names the thread")
}

#[test]
fn a_child_gets_its_orders_and_answers_line_by_line() {
    if let Some(orders) = ChildSide::orders() {
        ChildSide::answer(&orders);
        while let Some(line) = ChildSide::hear() {
            ChildSide::answer(&format!("{line}?"));
        }
        ChildSide::end();
    }
    let module = module_path!();
    let test = format!("{module}::a_child_gets_its_orders_and_answers_line_by_line");
    let mut child = ChildProgram::this_test(&test)
        .start("first line\nsecond 'line'")
        .expect("a child");
    for line in ["one", "", "two  words"] {
        child.tell(line);
    }
    for expected in ["first line second 'line'", "one?", "?", "two  words?"] {
        assert_eq!(child.answer(TIME_MAX).expect("an answer"), expected);
    }
    let end = child.wait(TIME_MAX).expect("it ends with its input");
    assert_eq!((end.status.code(), end.answers), (Some(3), Vec::new()));
}

#[test]
fn what_a_child_said_before_it_aborts_is_heard_and_it_leaves_no_core_dump() {
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
    let end = end.expect("it ends");
    assert!(end.is_aborted() && !end.is_killed(), "{end}");
    assert!(!end.status.core_dumped(), "{end}");
    assert_eq!(end.last_words, "first | last");
    let mut answers = end.answers.into_iter();
    assert_eq!(answers.next().as_deref(), Some("0"));
    let expected: Vec<String> = (0..100).map(|number: u32| number.to_string()).collect();
    assert_eq!(answers.collect::<Vec<_>>(), expected);
}

#[test]
fn a_child_that_neither_answers_nor_ends_hangs_and_is_killed() {
    if ChildSide::orders().is_some() {
        loop {
            std::thread::park();
        }
    }
    let child = this_test().start("").expect("a child");
    let why = child
        .wait(Duration::from_millis(200))
        .expect_err("it does not end");
    assert!(matches!(why, NoAnswer::Silent(_)), "{why}");
    assert!(why.to_string().starts_with("hangs"), "{why}");
}

#[test]
fn a_parked_child_is_killed_there_and_ends_by_itself_if_its_parent_is_gone() {
    if ChildSide::orders().is_some() {
        ChildSide::answer("before");
        ChildSide::park("here");
    }
    let program = this_test();
    let mut child = program.start("").expect("a child");
    assert_eq!(child.answer(TIME_MAX).expect("an answer"), "before");
    assert_eq!(child.answer(TIME_MAX).expect("an answer"), "here");
    let end = child.kill().expect("its end");
    assert!(end.is_killed() && end.answers.is_empty(), "{end}");

    let end = program.start("").expect("a child").wait(TIME_MAX);
    let end = end.expect("the end of its input ends it");
    assert_eq!(end.status.code(), Some(3), "{end}");
    assert_eq!(end.answers, ["before", "here"]);
}

#[test]
fn a_child_that_panics_tells_why_in_its_last_words() {
    assert!(ChildSide::orders().is_none(), "for this reason");
    let mut child = this_test().start("").expect("a child");
    let why = child.answer(TIME_MAX).expect_err("it says nothing");
    assert!(why.to_string().contains("for this reason"), "{why}");
}

#[expect(clippy::disallowed_methods, reason = "the child is to end by it")]
fn abort() -> ! {
    std::process::abort()
}
