//! A reader of JSON that takes nothing but JSON (RFC 8259): the oracle of the writer.

use std::str::Chars;

/// A value. Numbers stay text, so that none loses digits; fields stay in their order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    Array(Vec<Value>),
    Object(Vec<(String, Value)>),
}

impl Value {
    /// The field of this name.
    pub(super) fn get(&self, name: &str) -> &Value {
        let Self::Object(fields) = self else {
            panic!("{self:?} is no object")
        };
        let field = fields.iter().find(|(key, _)| key == name);
        &field.unwrap_or_else(|| panic!("there is no {name}")).1
    }

    pub(super) fn items(&self) -> &[Value] {
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

    pub(super) fn whole(&self) -> u128 {
        let Self::Number(digits) = self else {
            panic!("{self:?} is no number")
        };
        digits.parse().expect("a whole number")
    }
}

/// Reads one value that is all of `text`.
pub(super) fn parse(text: &str) -> Value {
    let mut rest = text.chars();
    let value = value(&mut rest);
    skip(&mut rest);
    assert_eq!(rest.as_str(), "", "something follows the value");
    value
}

fn peek(rest: &Chars<'_>) -> char {
    rest.clone().next().expect("the text ends too early")
}

fn skip(rest: &mut Chars<'_>) {
    *rest = rest.as_str().trim_start_matches([' ', '\n', '\r', '\t']).chars();
}

fn expect(rest: &mut Chars<'_>, word: &str) {
    let after = rest.as_str().strip_prefix(word);
    *rest = after
        .unwrap_or_else(|| panic!("{word} is expected at {:.40}", rest.as_str()))
        .chars();
}

fn value(rest: &mut Chars<'_>) -> Value {
    skip(rest);
    match peek(rest) {
        '{' => Value::Object(list(rest, '{', '}', |rest| {
            let key = string(rest);
            skip(rest);
            expect(rest, ":");
            (key, value(rest))
        })),
        '[' => Value::Array(list(rest, '[', ']', value)),
        '"' => Value::Text(string(rest)),
        't' => {
            expect(rest, "true");
            Value::Bool(true)
        }
        'f' => {
            expect(rest, "false");
            Value::Bool(false)
        }
        'n' => {
            expect(rest, "null");
            Value::Null
        }
        _ => number(rest),
    }
}

fn list<T>(rest: &mut Chars<'_>, open: char, close: char, item: impl Fn(&mut Chars<'_>) -> T) -> Vec<T> {
    expect(rest, open.encode_utf8(&mut [0; 4]));
    let mut items = Vec::new();
    skip(rest);
    if peek(rest) == close {
        rest.next();
        return items;
    }
    loop {
        skip(rest);
        items.push(item(rest));
        skip(rest);
        match rest.next() {
            Some(',') => {}
            Some(end) if end == close => return items,
            other => panic!("{other:?} is neither a comma nor an end"),
        }
    }
}

fn string(rest: &mut Chars<'_>) -> String {
    expect(rest, "\"");
    let mut text = String::new();
    loop {
        match rest.next().expect("a string ends") {
            '"' => return text,
            '\\' => match rest.next().expect("something is escaped") {
                'n' => text.push('\n'),
                same @ ('"' | '\\' | '/') => text.push(same),
                'u' => {
                    let digits: String = rest.take(4).collect();
                    let code = u32::from_str_radix(&digits, 16).expect("four hexadecimal digits");
                    text.push(char::from_u32(code).expect("a character; the writer makes no surrogates"));
                }
                other => panic!("\\{other} is no escape"),
            },
            control if control < ' ' => panic!("{control:?} stands in a string"),
            plain => text.push(plain),
        }
    }
}

fn number(rest: &mut Chars<'_>) -> Value {
    let text = rest.as_str();
    let end = text.find(|character: char| !(character.is_ascii_digit() || ".-+eE".contains(character)));
    let (digits, after) = text.split_at(end.unwrap_or(text.len()));
    let whole = digits.split(['.', 'e', 'E']).next().unwrap_or_default();
    let whole = whole.trim_start_matches('-');
    assert!(
        digits.parse::<f64>().is_ok() && !whole.is_empty() && (whole == "0" || !whole.starts_with('0')),
        "{digits:?} is no number"
    );
    assert!(
        !digits.starts_with('+') && !digits.ends_with('.'),
        "{digits:?} is no number"
    );
    *rest = after.chars();
    Value::Number(digits.to_owned())
}
