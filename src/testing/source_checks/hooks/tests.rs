//! The rule's own test: sources that break it in every way it knows of.

use super::*;

const PLACES: [Place; 1] = [
    Place::new(CrashPoint::WalPreAggregate, "src/log.rs", "record").between("self.append(", "self.apply(")
];

const LIB: &str = r#"
//! #[cfg(windows)] in a comment is none.
mod log;
#[cfg(any(test, feature = "test-utils"))]
pub mod testing;
"#;

const THREADS: &str = r#"
fn spawn() {
    #[cfg(any(test, feature = "test-utils"))]
    let body = crate::testing::crash_injector::inherit(body);
}
"#;

const LOG: &str = r#"
impl Log {
    fn first() {}

    pub fn record<F: FnOnce()>(
        &self,
        f: F,
    ) -> u64
    where
        F: Send,
    {
        self.append();
        // Comments may stand above.

        #[cfg(any(test, feature = "test-utils"))]
        crate::testing::check_crash_point(crate::testing::CrashPoint::WalPreAggregate);
        self.apply()
    }
}

#[cfg(test)]
mod tests {
    #[cfg(unix)]
    fn any() {
        crate::testing::check_crash_point(crate::testing::CrashPoint::WalPreAggregate);
    }
}
"#;

/// The findings in the three good sources after `change` made `log.rs` bad.
fn findings_in(log: &str) -> Vec<String> {
    findings_of(&[
        ("src/lib.rs", LIB),
        ("src/threads.rs", THREADS),
        ("src/log.rs", log),
    ])
}

fn findings_of(sources: &[(&str, &str)]) -> Vec<String> {
    let files = sources
        .iter()
        .map(|(file, text)| ((*file).to_owned(), (*text).to_owned()));
    findings(&Sources(files.collect()), &PLACES)
}

#[track_caller]
fn assert_found(log: &str, expected: &[&str]) {
    assert_ne!(log, LOG, "the source was changed");
    assert_eq!(findings_in(log), expected);
}

const MISSING: &str = "Hook { file: \"src/log.rs\", function: \"record\", point: \"WalPreAggregate\" } \
                       is there 0 times instead of 1";

#[test]
fn sources_that_keep_the_rule_have_no_findings() {
    assert_eq!(findings_in(LOG), [""; 0]);
}

#[test]
fn a_missing_hook_is_found() {
    let hook = LOG
        .lines()
        .filter(|line| !line.starts_with("        #[cfg(any") && !line.starts_with("        crate"));
    assert_found(
        &hook
            .chain(["#[cfg(test)]", "mod more;"])
            .collect::<Vec<_>>()
            .join("\n"),
        &[MISSING],
    );
}

#[test]
fn a_hook_that_is_there_twice_is_found() {
    let line = |start: &str| LOG.lines().find(|line| line.starts_with(start)).expect("a line");
    let hook = format!("{}\n{}\n", line("        #[cfg(any"), line("        crate"));
    assert_found(
        &LOG.replacen(&hook, &format!("{hook}{hook}"), 1),
        &[&MISSING.replace('0', "2")],
    );
}

#[test]
fn a_hook_in_another_function_is_found() {
    let elsewhere = MISSING
        .replace("record", "other")
        .replace("0 times instead of 1", "1 times instead of 0");
    assert_found(
        &LOG.replace("pub fn record<", "pub(crate) const fn other<"),
        &[&elsewhere, MISSING],
    );
}

#[test]
fn a_hook_of_another_point_is_found() {
    let another = MISSING
        .replace("WalPre", "WalPost")
        .replace("0 times instead of 1", "1 times instead of 0");
    assert_found(&LOG.replacen("WalPre", "WalPost", 1), &[&another, MISSING]);
}

const GATE_LINE: &str = "        #[cfg(any(test, feature = \"test-utils\"))]\n";
const OVER_NO_HOOK: &str = "src/log.rs:15: the gate of test builds stands over something that is no hook";
const NOT_BETWEEN: &str = "src/log.rs:16: a hook that does not stand between the steps it separates";

#[test]
fn a_change_of_a_hook_or_of_the_lines_around_it_is_found() {
    let gate_above = format!("{GATE_LINE}        self.append();");
    let cases: [(&str, &str, &[&str]); 8] = [
        (
            GATE_LINE,
            "",
            &["src/log.rs:15: a hook without its gate directly above"],
        ),
        (
            "))]\n",
            "))]\n\n",
            &[
                OVER_NO_HOOK,
                "src/log.rs:17: a hook without its gate directly above",
            ],
        ),
        (
            "#[cfg(any(test, feature = \"test-utils\"))]",
            "#[cfg(test)]",
            &[
                "src/log.rs:15: a cfg in a production module",
                "src/log.rs:16: a hook without its gate directly above",
            ],
        ),
        (
            "        self.append();",
            &gate_above,
            &["src/log.rs:12: the gate of test builds stands over something that is no hook"],
        ),
        (
            "self.append();",
            "let x =",
            &["src/log.rs:16: a hook inside of a statement"],
        ),
        (
            "self.append();",
            "self.append(self.apply());",
            &["src/log.rs:16: a hook below a step it must come before"],
        ),
        // An imported call, and a call that is not the whole statement.
        (
            "crate::testing::check_crash_point(",
            "check_crash_point(",
            &[OVER_NO_HOOK, MISSING],
        ),
        (
            "WalPreAggregate);",
            "WalPreAggregate); self.sync();",
            &[OVER_NO_HOOK, MISSING],
        ),
    ];
    for (from, to, expected) in cases {
        assert_found(&LOG.replacen(from, to, 1), expected);
    }
}

#[test]
fn a_hook_on_the_wrong_side_of_a_step_is_found() {
    assert_found(
        &LOG.replacen("self.append();", "self.begin();", 1),
        &[NOT_BETWEEN],
    );
    assert_found(&LOG.replacen("self.apply()", "self.end()", 1), &[NOT_BETWEEN]);
    // The steps of another function are not this one's.
    let without = LOG.replacen("self.append();", ";", 1);
    let elsewhere = without.replacen("first() {}", "first() { self.append(); }", 1);
    assert_found(&elsewhere, &[NOT_BETWEEN]);
}

#[test]
fn any_other_cfg_in_a_production_module_is_found() {
    for cfg in [
        "#[cfg(unix)]",
        "#![cfg(unix)]",
        "if cfg!(test) {}",
        "#[cfg_attr(test, derive(Debug))]",
        "#[cfg(test)]",
        "#[cfg(not(any(test, feature = \"test-utils\")))]",
    ] {
        let log = LOG.replacen("    fn first() {}", &format!("    {cfg}\n    fn first() {{}}"), 1);
        assert_found(&log, &["src/log.rs:3: a cfg in a production module"]);
    }
}

#[test]
fn a_production_module_that_uses_the_test_kit_is_found() {
    let log = LOG.replacen("    fn first() {}", "    use crate::testing::CrashInjector;", 1);
    assert_found(
        &log,
        &["src/log.rs:3: a production module reaches into `testing`"],
    );
}

#[test]
fn a_test_modules_file_may_do_what_it_likes_and_no_other_file() {
    let tests = "#[cfg(unix)]\nuse crate::testing::CrashInjector;\n";
    let declares = |declaration: &str| {
        LOG.replacen(
            "mod tests {",
            &format!("{declaration}\n\n#[cfg(test)]\nmod more {{"),
            1,
        )
    };
    let run = |log: &str, file: &str| {
        findings_of(&[
            ("src/lib.rs", LIB),
            ("src/threads.rs", THREADS),
            ("src/log.rs", log),
            (file, tests),
        ])
    };
    let by_name = declares("mod log_tests;");
    assert_eq!(run(&by_name, "src/log/log_tests.rs"), [""; 0]);
    assert_eq!(run(&by_name, "src/log/log_tests/mod.rs"), [""; 0]);
    assert_eq!(run(&by_name, "src/log/log_tests/deeper/more.rs"), [""; 0]);
    assert_eq!(
        run(
            &declares("#[path = \"log_tests.rs\"]\nmod tests;"),
            "src/log_tests.rs"
        ),
        [""; 0]
    );
    assert_eq!(run(LOG, "src/testing/anything.rs"), [""; 0]);

    assert_eq!(run(LOG, "src/log/log_tests.rs").len(), 2);
    assert_eq!(run(&by_name, "src/log/log_tests_too.rs").len(), 2);
    assert_eq!(
        run(
            &declares("mod log_tests;").replace("#[cfg(test)]\nmod log_tests", "mod log_tests"),
            "src/log/log_tests.rs"
        )
        .len(),
        2
    );
}

#[test]
fn the_gate_of_testing_and_the_statement_of_threads_must_be_there_and_only_there() {
    let without = |lib: &str, threads: &str| {
        findings_of(&[
            ("src/lib.rs", lib),
            ("src/threads.rs", threads),
            ("src/log.rs", LOG),
        ])
    };
    assert_eq!(
        without("", THREADS),
        ["0 times instead of once: the gate of `testing` in src/lib.rs"]
    );
    assert_eq!(
        without(LIB, ""),
        ["0 times instead of once: the `inherit` in src/threads.rs"]
    );
    let ungated = LIB.replace("#[cfg(any(test, feature = \"test-utils\"))]\n", "");
    assert_eq!(
        without(&ungated, THREADS),
        [
            "src/lib.rs:4: a production module reaches into `testing`",
            "0 times instead of once: the gate of `testing` in src/lib.rs"
        ]
    );
    let twice = [
        ("src/lib.rs", LIB),
        ("src/threads.rs", THREADS),
        ("src/log.rs", LOG),
        ("src/more.rs", THREADS),
    ];
    assert_eq!(findings_of(&twice).len(), 1, "{:?}", findings_of(&twice));
}
