//! Runs this program with command lines and files of users: it must accept them, or refuse them with one message.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use tidaldb::testing::lab::TempDir;

use crate::cases::place;
use crate::harness::{CaseCounts, CaseResult, CaseWork, SuiteCase, step_failed};

/// One run of this program.
struct InputCase {
    name: &'static str,
    /// The content of a file. In `script` and `expected`, `@FILE` is the path of this file and `@DIR` is its directory.
    content: fn() -> Vec<u8>,
    /// A script of `sh`, in which `"$0"` is this program.
    script: &'static str,
    /// The expected exit status.
    status: i32,
    /// A text that the output must contain, at most three times.
    expected: &'static str,
}

const CASES: [InputCase; 13] = [
    InputCase {
        name: "one-event",
        content: || events(1),
        script: r#""$0" --minutes 10 --events @FILE"#,
        status: 0,
        expected: "0 failed; 0 left out",
    },
    InputCase {
        name: "no-event",
        content: || events(0),
        script: r#""$0" --events @FILE"#,
        status: 1,
        expected: "holds no event",
    },
    InputCase {
        name: "pipe",
        content: || events(40),
        script: r#"cat @FILE | "$0" --minutes 10 --events /dev/stdin WalPreAggregate/first"#,
        status: 0,
        expected: "0 failed; 0 left out",
    },
    InputCase {
        name: "bad-line",
        content: || [events(3), b"4,view\n".to_vec()].concat(),
        script: r#""$0" --events @FILE --list"#,
        status: 1,
        expected: "line 5, column 3: entity is missing; the 3 events before it are accepted",
    },
    InputCase {
        name: "run-up-to-a-bad-line",
        content: || [events(40), b"4,view\n".to_vec()].concat(),
        script: r#""$0" --minutes 10 --events @FILE WalPreAggregate/first"#,
        status: 1,
        expected: "test result: FAILED. ",
    },
    InputCase {
        name: "too-many-names",
        content: too_many_names,
        script: r#""$0" --events @FILE --list"#,
        status: 1,
        expected: "line 1025, column 2",
    },
    InputCase {
        name: "header",
        content: || b"timestamp,signal,entity\n1,view,1\n".to_vec(),
        script: r#""$0" --events @FILE"#,
        status: 1,
        expected: "must name a column at_ms",
    },
    InputCase {
        name: "gzip",
        content: || b"\x1f\x8b\x08\0".to_vec(),
        script: r#""$0" --events @FILE"#,
        status: 1,
        expected: "compressed (gzip)",
    },
    InputCase {
        name: "seconds",
        content: || b"1700000000,view,1\n".to_vec(),
        script: r#""$0" --events @FILE --list"#,
        status: 0,
        expected: "the year 1970: at_ms counts milliseconds",
    },
    InputCase {
        name: "time-over",
        content: || events(4000),
        script: r#""$0" --events @FILE --minutes 0.0001"#,
        status: 1,
        expected: "not enough for a pass: no case ran for",
    },
    InputCase {
        name: "no-such-case",
        content: Vec::new,
        script: r#""$0" --exact no/such/case"#,
        status: 2,
        expected: "no case has the name \"no/such/case\"",
    },
    InputCase {
        name: "no-directory-for-temporary-files",
        content: Vec::new,
        script: r#"TMPDIR=@DIR/none "$0" sigkill"#,
        status: 1,
        expected: "the directory for temporary files @DIR/none does not exist",
    },
    InputCase {
        name: "removed-directory-for-temporary-files",
        content: || events(400),
        script: r#"mkdir @DIR/tmp; TMPDIR=@DIR/tmp "$0" --minutes 10 --events @FILE 2>&1 >@DIR/out |
            while read -r line; do
            case $line in *"ended in the state"*) mv @DIR/tmp @DIR/moved;; esac; echo "$line"; done; cat @DIR/out;
            tail -n 3 @DIR/out | grep -q FAILED && exit 1"#,
        status: 1,
        expected: "@DIR/tmp was removed during the run",
    },
];

/// The cases of this file.
pub(crate) fn cases() -> Vec<SuiteCase> {
    let case = |case: &'static InputCase| SuiteCase {
        name: format!("command-line/{}", case.name),
        place: place("command line", case.name, "no crash", "run"),
        work: CaseWork::Command(case.script),
        body: Arc::new(move || run(case)),
    };
    CASES.iter().map(case).collect()
}

fn events(len: usize) -> Vec<u8> {
    let mut text = "at_ms,signal,entity,weight,user,cohorts\n".to_owned();
    for number in 0..len {
        let (at_ms, entity) = (1_700_000_000_000 + number as u64 * 977, number * 7 % 31);
        writeln!(text, "{at_ms},view,{entity},1,{},{}", number % 5, number % 3).ok();
    }
    text.into_bytes()
}

fn too_many_names() -> Vec<u8> {
    let lines = (0..120_000).map(|number| format!("1700000000000,signal {number},1\n"));
    lines.collect::<String>().into_bytes()
}

fn run(case: &InputCase) -> CaseResult<CaseCounts> {
    let dir = TempDir::try_new("input").map_err(|error| error.to_string())?;
    let with_paths = |text: &str| with_paths(text, dir.path());
    let failed = |error: &std::io::Error| step_failed("running this program", error);
    fs::write(dir.path().join("events"), (case.content)()).map_err(|error| failed(&error))?;
    let (out, err) = (dir.path().join("stdout"), dir.path().join("stderr"));
    // The output goes to files: a full pipe would block the program.
    let create = |path: &Path| File::create(path).map_err(|error| failed(&error));
    let program = std::env::current_exe().map_err(|error| failed(&error))?;
    let status = Command::new("sh")
        .args(["-c", &with_paths(case.script)])
        .arg(program)
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(create(&out)?)
        .stderr(create(&err)?)
        .status()
        .map_err(|error| failed(&error))?;
    let read = |path: &Path| fs::read_to_string(path).map_err(|error| failed(&error));
    let printed = read(&err)? + &read(&out)?;
    let names = fs::read_dir(dir.path()).map_err(|error| failed(&error))?;
    let mut names = names.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()));
    let problem = if status.code() != Some(case.status) {
        format!("the program ended with {status}, not with status {}", case.status)
    } else if !printed.contains(&with_paths(case.expected)) {
        format!("the program does not print {:?}", with_paths(case.expected))
    } else if printed.contains("panicked at") || printed.contains("stack backtrace") {
        "the program panicked".to_owned()
    } else if printed.matches(&with_paths(case.expected)).count() > 3 {
        format!(
            "the program printed {:?} more than three times",
            with_paths(case.expected)
        )
    } else if let Some(core) = names.find(|name| name.starts_with("core")) {
        format!("the program left {core} in the directory of its caller")
    } else {
        return Ok(CaseCounts::default());
    };
    Err(format!("{problem}; it printed:\n{printed}"))
}

/// Replaces `@FILE` and `@DIR` with paths.
fn with_paths(text: &str, dir: &Path) -> String {
    let dir = dir.display().to_string();
    text.replace("@FILE", &format!("{dir}/events"))
        .replace("@DIR", &dir)
}
