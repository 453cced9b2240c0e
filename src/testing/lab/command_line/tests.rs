use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use super::command_line::{CommandLine, Filters};

#[derive(Debug, Clone, PartialEq)]
struct Values {
    time: Duration,
    images: u64,
    quiet: bool,
    dir: Option<PathBuf>,
    depth: u32,
    words: Vec<String>,
}

fn line() -> CommandLine<Values> {
    let values = Values {
        time: Duration::from_secs(90),
        images: 512,
        quiet: false,
        dir: None,
        depth: 0,
        words: Vec::new(),
    };
    CommandLine::new("program [OPTIONS] [WORD...]", values)
        .minutes("--minutes", "ends after this time", |it| &mut it.time)
        .number("--images", "of each moment", 1..=1000, |it| &mut it.images)
        .flag("-q, --quiet", "no progress", |it| &mut it.quiet)
        .path("--dir", "PATH", "where it works", |it, path| it.dir = Some(path))
        .number("--depth", "how deep", 2..=3, |it| &mut it.depth)
        .value("--child", "NAME", "", |_, name| Err(format!("nothing, {name}")))
        .hidden()
        .words("Words:", &[("one", "is accepted"), ("two", "too")], |it| {
            &mut it.words
        })
        .after("The end.")
}

fn parse(arguments: &str) -> Result<Option<Values>, String> {
    line().parse(arguments.split_whitespace().map(OsString::from))
}

fn values(arguments: &str) -> Values {
    parse(arguments).unwrap().unwrap()
}

#[test]
fn a_value_is_the_next_argument_or_behind_an_equals_sign_and_the_last_one_counts() {
    let expected = Values {
        time: Duration::from_secs(30),
        images: 7,
        quiet: true,
        dir: Some("/a=b".into()),
        depth: 2,
        words: ["one", "two", "one"].map(String::from).to_vec(),
    };
    let long = "--minutes 0.5 --images 3 --images=7 one -q --dir=/a=b --depth 2 two -- one";
    assert_eq!(values(long), expected);
    let defaults = values("");
    assert_eq!(
        (defaults.images, defaults.quiet, defaults.dir),
        (512, false, None)
    );
    assert!(values("--quiet").quiet);
}

#[test]
fn a_wrong_argument_is_refused_with_its_name_and_what_is_expected() {
    for (arguments, expected) in [
        ("--nothing", "there is no option --nothing"),
        ("-x", "there is no option -x"),
        ("--nothing=3", "there is no option --nothing"),
        ("--quiet=yes", "--quiet takes no value"),
        ("--images", "--images needs a value: of each moment; default 512"),
        ("--child a", "--child takes nothing, a, not \"a\""),
        ("one -- --bad", "--bad is none of one, two"),
    ] {
        assert_eq!(parse(arguments), Err(expected.to_owned()), "{arguments}");
    }
    for (option, expected, values) in [
        (
            "--images",
            "a whole number from 1 to 1000",
            ["0", "1001", "-1", "x"],
        ),
        ("--depth", "a whole number from 2 to 3", ["0", "1", "4", "2.5"]),
        (
            "--minutes",
            "a number of minutes above 0",
            ["0", "-1", "NaN", "1e9"],
        ),
    ] {
        for value in values {
            let expected = format!("{option} takes {expected}, not {value:?}");
            assert_eq!(parse(&format!("{option}={value}")), Err(expected));
        }
    }
    let no_operands = CommandLine::new("program", ()).parse([OsString::from("word")]);
    assert_eq!(no_operands, Err("no operand is expected: word".to_owned()));
}

#[test]
fn a_path_need_not_be_utf8_and_any_other_value_must() {
    let bytes = OsString::from_vec(vec![b'/', 0xff]);
    let with = |option: &str| line().parse([OsString::from(option), bytes.clone()]);
    assert_eq!(with("--dir").unwrap().unwrap().dir, Some(bytes.clone().into()));
    assert!(
        with("--depth")
            .unwrap_err()
            .starts_with("--depth takes valid UTF-8, not")
    );
}

#[test]
fn help_is_made_of_the_declarations() {
    assert_eq!(parse("--images 3 -h --nothing"), Ok(None));
    assert_eq!(parse("--help"), Ok(None));
    let expected = "\
usage: program [OPTIONS] [WORD...]

  --minutes N  ends after this time; fractions are legal; default 1.5
  --images N   of each moment; default 512
  -q, --quiet  no progress
  --dir PATH   where it works
  --depth N    how deep
  -h, --help   prints this text

Words:
  one              is accepted
  two              too

The end.
";
    assert_eq!(line().help(), expected);
    let long = CommandLine::new("program", ()).switch("--long", &"word ".repeat(40), |()| {});
    assert!(
        long.help().lines().all(|line| line.len() <= 110),
        "{}",
        long.help()
    );
}

fn filters(arguments: &str) -> Filters {
    let line = Filters::declare(CommandLine::new("cases", Filters::default()), |it| it);
    line.parse(arguments.split_whitespace().map(OsString::from))
        .unwrap()
        .unwrap()
}

#[test]
fn filters_select_by_part_or_whole_name_and_skips_come_first() {
    let names = ["log::cut", "log::cut_again", "store::cut"];
    for (arguments, expected) in [
        ("", &names[..]),
        ("log", &names[..2]),
        ("log::cut --exact", &names[..1]),
        ("log store", &names[..]),
        ("cut --skip again --skip store", &names[..1]),
        ("--exact --skip log::cut", &names[1..]),
    ] {
        let filters = filters(arguments);
        let selected: Vec<_> = names.into_iter().filter(|name| filters.selects(name)).collect();
        assert_eq!(selected, expected, "{arguments}");
        assert_eq!(filters.check(&names), Ok(()), "{arguments}");
    }
}

#[test]
fn a_filter_that_matches_nothing_is_refused() {
    let names = ["log::cut", "store::cut"];
    for (arguments, expected) in [
        (
            "no/such/case",
            "no case has a name with \"no/such/case\"; --list shows the names",
        ),
        ("log no", "no case has a name with \"no\"; --list shows the names"),
        ("--exact log", "no case is named \"log\"; --list shows the names"),
        ("log --skip cut", "every case is skipped"),
    ] {
        assert_eq!(
            filters(arguments).check(&names),
            Err(expected.to_owned()),
            "{arguments}"
        );
    }
}
