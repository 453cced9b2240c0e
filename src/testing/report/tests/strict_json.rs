//! A strict JSON parser (RFC 8259), which tests the JSON writer.

use std::str::Chars;

/// A JSON value. Numbers, booleans and null are stored as text, so that no digit is lost. Fields keep their order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum JsonValue {
    Plain(String),
    Text(String),
    Array(Vec<JsonValue>),
    Object(Vec<(String, JsonValue)>),
}

impl JsonValue {
    /// The value of a field. `names` is a path of field names, joined by dots.
    pub(super) fn get(&self, names: &str) -> &JsonValue {
        names.split('.').fold(self, |value, name| {
            let Self::Object(fields) = value else {
                panic!("{value:?} is no object")
            };
            let field = fields.iter().find(|(key, _)| key == name);
            &field.unwrap_or_else(|| panic!("the field {name} is missing")).1
        })
    }

    pub(super) fn items(&self) -> &[JsonValue] {
        let Self::Array(items) = self else {
            panic!("{self:?} is no array")
        };
        items
    }

    pub(super) fn text(&self) -> &str {
        let Self::Text(text) = self else {
            panic!("{self:?} is no text")
        };
        text
    }

    /// The text of a number, a boolean or null.
    pub(super) fn plain(&self) -> &str {
        let Self::Plain(text) = self else {
            panic!("{self:?} is neither number nor boolean nor null")
        };
        text
    }
}

/// Parses `text`, which must be exactly one value.
pub(super) fn parse(text: &str) -> JsonValue {
    let mut rest = text.chars();
    let value = value(&mut rest);
    skip(&mut rest);
    assert_eq!(rest.as_str(), "", "text follows the value");
    value
}

fn skip(rest: &mut Chars<'_>) {
    *rest = rest.as_str().trim_start_matches([' ', '\n', '\r', '\t']).chars();
}

/// Skips white space, and `word` if it follows. Returns true if `word` was skipped.
fn accepts(rest: &mut Chars<'_>, word: &str) -> bool {
    skip(rest);
    let after = rest.as_str().strip_prefix(word);
    *rest = after.unwrap_or(rest.as_str()).chars();
    after.is_some()
}

fn value(rest: &mut Chars<'_>) -> JsonValue {
    if accepts(rest, "{") {
        JsonValue::Object(list(rest, "}", |rest| {
            assert!(accepts(rest, "\""), "a name is expected at {:.40}", rest.as_str());
            let key = string(rest);
            assert!(accepts(rest, ":"), "a colon is expected at {:.40}", rest.as_str());
            (key, value(rest))
        }))
    } else if accepts(rest, "[") {
        JsonValue::Array(list(rest, "]", value))
    } else if accepts(rest, "\"") {
        JsonValue::Text(string(rest))
    } else {
        let words = ["true", "false", "null"].into_iter();
        let word = words.map(str::to_owned).find(|word| accepts(rest, word));
        JsonValue::Plain(word.unwrap_or_else(|| number(rest)))
    }
}

fn list<T>(rest: &mut Chars<'_>, close: &str, item: impl Fn(&mut Chars<'_>) -> T) -> Vec<T> {
    let mut items = Vec::new();
    if accepts(rest, close) {
        return items;
    }
    loop {
        items.push(item(rest));
        if accepts(rest, close) {
            return items;
        }
        assert!(accepts(rest, ","), "a comma is expected at {:.40}", rest.as_str());
    }
}

/// The rest of a string, after its first quote.
fn string(rest: &mut Chars<'_>) -> String {
    let mut text = String::new();
    loop {
        match rest.next().expect("the string has no end") {
            '"' => return text,
            '\\' => match rest.next().expect("a character after the backslash") {
                'n' => text.push('\n'),
                same @ ('"' | '\\' | '/') => text.push(same),
                'u' => {
                    let digits: String = rest.take(4).collect();
                    let code = u32::from_str_radix(&digits, 16).expect("four hexadecimal digits");
                    text.push(char::from_u32(code).expect("a character; the writer emits no surrogates"));
                }
                other => panic!("\\{other} is no escape"),
            },
            control if control < ' ' => panic!("{control:?} is not escaped in a string"),
            plain => text.push(plain),
        }
    }
}

fn number(rest: &mut Chars<'_>) -> String {
    let text = rest.as_str();
    let end = text.find(|it: char| !(it.is_ascii_digit() || ".-+eE".contains(it)));
    let (digits, after) = text.split_at(end.unwrap_or(text.len()));
    let whole = digits.split(['.', 'e', 'E']).next().unwrap_or_default();
    let whole = whole.trim_start_matches('-');
    let has_zeros = whole.starts_with('0') && whole != "0";
    let is_open = whole.is_empty() || digits.starts_with('+') || digits.ends_with('.');
    assert!(
        digits.parse::<f64>().is_ok() && !has_zeros && !is_open,
        "{digits:?} is no number"
    );
    *rest = after.chars();
    digits.to_owned()
}
