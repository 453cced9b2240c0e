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
    color: char,
    words: Vec<String>,
}

fn line() -> CommandLine<Values> {
    let values = Values {
        time: Duration::from_secs(90),
        images: 512,
        quiet: false,
        dir: None,
        color: 'a',
        words: Vec::new(),
    };
    CommandLine::new("program [OPTIONS] [WORD...]", values)
        .minutes("--minutes", "ends after this time", |it| &mut it.time)
        .number("--images", "of each moment", 1..=1000, |it| &mut it.images)
        .flag("-q, --quiet", "no progress", |it| &mut it.quiet)
        .path("--dir", "PATH", "where it works", |it, path| it.dir = Some(path))
        .word(
            "--color",
            "WHEN",
            "auto or never",
            &[("auto", 'a'), ("never", 'n')],
            |it, color| it.color = color,
        )
        .value("--child", "NAME", "", |_, name| Err(format!("nothing, {name}")))
        .hidden()
        .operands(|it, word| {
            if word == "bad" {
                return Err("there is no bad".to_owned());
            }
            it.words.push(word);
            Ok(())
        })
        .list("Words:", [("good", "is accepted")].into_iter())
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
        color: 'n',
        words: ["one", "two", "--images", "-q"].map(String::from).to_vec(),
    };
    let long = "--minutes 0.5 --images 3 --images=7 one -q --dir=/a=b --color never two -- --images -q";
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
        (
            "--images 0",
            "--images takes a whole number from 1 to 1000, not \"0\"",
        ),
        (
            "--images 1001",
            "--images takes a whole number from 1 to 1000, not \"1001\"",
        ),
        (
            "--images -1",
            "--images takes a whole number from 1 to 1000, not \"-1\"",
        ),
        (
            "--minutes 0",
            "--minutes takes a number of minutes above 0, not \"0\"",
        ),
        (
            "--minutes -1",
            "--minutes takes a number of minutes above 0, not \"-1\"",
        ),
        (
            "--minutes NaN",
            "--minutes takes a number of minutes above 0, not \"NaN\"",
        ),
        (
            "--minutes 1e9",
            "--minutes takes a number of minutes above 0, not \"1e9\"",
        ),
        ("--color red", "--color takes one of auto, never, not \"red\""),
        ("--child a", "--child takes nothing, a, not \"a\""),
        ("good bad", "there is no bad"),
    ] {
        assert_eq!(parse(arguments), Err(expected.to_owned()), "{arguments}");
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
        with("--color")
            .unwrap_err()
            .starts_with("--color takes valid UTF-8, not")
    );
}

#[test]
fn help_is_made_of_the_declarations() {
    assert_eq!(parse("--images 3 -h --nothing"), Ok(None));
    assert_eq!(parse("--help"), Ok(None));
    let expected = "\
usage: program [OPTIONS] [WORD...]

  --minutes N   ends after this time; fractions are legal; default 1.5
  --images N    of each moment; default 512
  -q, --quiet   no progress
  --dir PATH    where it works
  --color WHEN  auto or never
  -h, --help    prints this text

Words:
  good             is accepted

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
