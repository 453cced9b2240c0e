use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use crate::testing::lab::command_line::{CommandLine, Filters, GivenArguments};

fn line() -> CommandLine {
    CommandLine::new("program [OPTIONS] [WORD...]")
        .option("--minutes N", 1.5, "ends after this time")
        .option("--images N", 512, "of each crash")
        .option("-q, --quiet", "", "no progress")
        .option("--dir PATH", "", "where it works")
        .option("--depth N", "", "how deep")
        .option("--child NAME", "", "")
        .words("Words:", [("one", "is accepted"), ("two", "too")])
        .after("The end.")
}

fn parse(line: CommandLine, arguments: &str) -> Result<Option<GivenArguments>, String> {
    line.parse(arguments.split_whitespace().map(OsString::from))
}

fn given(arguments: &str) -> GivenArguments {
    parse(line(), arguments).unwrap().unwrap()
}

#[test]
fn a_value_is_the_next_argument_or_follows_an_equals_sign_and_the_last_value_counts() {
    let long = given("--minutes 0.5 --images 3 --images=7 one -q --dir=/a=b --depth 2 two -- one");
    let (half_a_minute, default) = (Duration::from_secs(30), Duration::from_secs(90));
    assert_eq!(
        (long.minutes("--minutes"), long.number("--images", 1..=1000)),
        (Ok(half_a_minute), Ok(7))
    );
    assert_eq!((long.has("-q"), long.number("--depth", 2..=3)), (true, Ok(2)));
    assert_eq!(
        (long.path("--dir"), long.texts("--images")),
        (Some("/a=b".into()), vec!["3".into(), "7".into()])
    );
    assert_eq!(long.operands, ["one", "two", "one"]);
    let none = given("");
    assert_eq!(
        (none.minutes("--minutes"), none.number("--images", 1..=1000)),
        (Ok(default), Ok(512))
    );
    assert_eq!(
        (none.has("-q"), none.number("--depth", 2..=3), none.path("--dir")),
        (false, Ok(0), None)
    );
    assert!(given("--quiet").has("-q"));
}

#[test]
fn a_wrong_argument_is_refused_with_its_name_and_the_expected_form() {
    for (arguments, expected) in [
        ("--nothing", "unknown option --nothing"),
        ("-x", "unknown option -x"),
        ("--nothing=3", "unknown option --nothing"),
        ("--quiet=yes", "--quiet does not accept a value"),
        ("--images", "--images needs a value: of each crash; default 512"),
        ("one -- --bad", "--bad is not one of one, two"),
    ] {
        assert_eq!(parse(line(), arguments), Err(expected.to_owned()), "{arguments}");
    }
    let no_operands = parse(CommandLine::new("program"), "word");
    assert_eq!(no_operands, Err("unexpected operand: word".to_owned()));
    for text in ["0", "1", "4", "-1", "x", "2.5"] {
        let expected = format!("--depth must be a whole number from 2 to 3, not {text:?}");
        assert_eq!(
            given(&format!("--depth={text}")).number("--depth", 2..=3),
            Err(expected)
        );
    }
    for text in ["0", "-1", "NaN", "1e9"] {
        let expected = format!("--minutes must be a number of minutes above 0, not {text:?}");
        assert_eq!(
            given(&format!("--minutes={text}")).minutes("--minutes"),
            Err(expected)
        );
    }
    // Only a path may contain bytes that are not UTF-8.
    let bytes = OsString::from_vec(vec![b'/', 0xff]);
    let of_bytes = |option: &str| {
        line()
            .parse([OsString::from(option), bytes.clone()])
            .unwrap()
            .unwrap()
    };
    assert_eq!(of_bytes("--dir").path("--dir"), Some(bytes.clone().into()));
    assert!(of_bytes("--depth").number("--depth", 2..=3).is_err());
}

#[test]
fn the_help_text_lists_the_declared_options_and_words() {
    assert_eq!(parse(line(), "--images 3 -h --nothing"), Ok(None));
    assert_eq!(parse(line(), "--help"), Ok(None));
    let expected = "\
usage: program [OPTIONS] [WORD...]

  --minutes N  ends after this time; default 1.5
  --images N   of each crash; default 512
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
}

#[test]
fn filters_match_a_part_of_a_name_or_all_of_it_and_a_filter_that_matches_no_case_is_refused() {
    let names = ["log::cut", "log::cut_again", "store::cut"];
    for (arguments, expected) in [
        ("", Ok(&names[..])),
        ("log", Ok(&names[..2])),
        ("log::cut --exact", Ok(&names[..1])),
        ("log store", Ok(&names[..])),
        ("cut --skip again --skip store", Ok(&names[..1])),
        ("--exact --skip log::cut", Ok(&names[1..])),
        (
            "no/such/case",
            Err("no case has a name with \"no/such/case\"; --list shows the names"),
        ),
        (
            "log no",
            Err("no case has a name with \"no\"; --list shows the names"),
        ),
        (
            "--exact log",
            Err("no case has the name \"log\"; --list shows the names"),
        ),
        ("log --skip cut", Err("every case is skipped")),
    ] {
        let line = Filters::declare(CommandLine::new("cases"));
        let filters = Filters::of(&parse(line, arguments).unwrap().unwrap());
        let selected: Vec<_> = names.into_iter().filter(|name| filters.selects(name)).collect();
        let found = filters.check(&names).map(|()| &selected[..]);
        assert_eq!(found, expected.map_err(str::to_owned), "{arguments}");
    }
}
