//! The code of a source, without its comments and without the content of its strings and characters.

use std::iter::Peekable;
use std::str::Chars;

/// The source with the same lines. Comments are removed, and the content of strings and of single characters.
pub(super) fn code_of(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut letters = source.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, letters.peek()) {
            ('/', Some('/')) => skip_line(&mut letters),
            ('/', Some('*')) => skip_block_comment(&mut letters, &mut code),
            ('r', Some('"' | '#')) if !code.ends_with(is_part_of_word) => {
                skip_raw_string(&mut letters, &mut code);
            }
            ('"', _) => skip_string(&mut letters, &mut code),
            ('\'', _) => skip_character(&mut letters, &mut code),
            _ => code.push(letter),
        }
    }
    code
}

pub(super) fn is_part_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn skip_line(letters: &mut Peekable<Chars<'_>>) {
    while letters.next_if(|letter| *letter != '\n').is_some() {}
}

/// Line ends inside of a comment or string stay.
fn keep_line_end(letter: char, code: &mut String) {
    if letter == '\n' {
        code.push(letter);
    }
}

fn skip_block_comment(letters: &mut Peekable<Chars<'_>>, code: &mut String) {
    let mut depth = 0;
    let mut before = '/';
    for letter in letters.by_ref() {
        keep_line_end(letter, code);
        match (before, letter) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                before = letter;
                continue;
            }
        }
        if depth == 0 {
            return;
        }
        before = ' ';
    }
}

/// Skips a raw string, or gives a raw identifier.
fn skip_raw_string(letters: &mut Peekable<Chars<'_>>, code: &mut String) {
    let mut hashes_len = 0;
    while letters.next_if_eq(&'#').is_some() {
        hashes_len += 1;
    }
    if letters.next_if_eq(&'"').is_none() {
        return;
    }
    code.push_str("\"\"");
    // The number of hashes since the last quote; none before the first quote.
    let mut since_quote = None;
    for letter in letters.by_ref() {
        keep_line_end(letter, code);
        since_quote = match (letter, since_quote) {
            ('"', _) => Some(0),
            ('#', Some(len)) => Some(len + 1),
            _ => None,
        };
        if since_quote == Some(hashes_len) {
            return;
        }
    }
}

fn skip_string(letters: &mut Peekable<Chars<'_>>, code: &mut String) {
    code.push_str("\"\"");
    while let Some(letter) = letters.next().filter(|letter| *letter != '"') {
        keep_line_end(letter, code);
        if letter == '\\'
            && let Some(escaped) = letters.next()
        {
            keep_line_end(escaped, code);
        }
    }
}

/// Skips a character between quotes; a lifetime stays.
fn skip_character(letters: &mut Peekable<Chars<'_>>, code: &mut String) {
    code.push('\'');
    let mut ahead = letters.clone();
    let is_escaped = ahead.next() == Some('\\');
    if is_escaped || ahead.next() == Some('\'') {
        if is_escaped {
            letters.nth(1);
        }
        while letters.next().is_some_and(|letter| letter != '\'') {}
        code.push('\'');
    }
}

#[test]
fn comments_and_texts_are_removed_and_the_lines_stay() {
    let source = "let a = 1; // use crate::a\n/* b /* c */\nd */ e::f(\"g \\\" //\\\n h\", r#\"i\"j\"#, '\"', '\\'', 'k');\n\
                  fn l<'a>(r: &'a str) {} /// m\n";
    let expected = "let a = 1; \n\n e::f(\"\"\n, \"\", '', '', '');\nfn l<'a>(r: &'a str) {} \n";
    assert_eq!(code_of(source), expected);
}
