//! Numbers, times and foreign text as every form of the report writes them.

use std::fmt::{self, Write};
use std::time::Duration;

use crate::testing::sweep::LeftOut;

/// Numbers from here on are shown by their magnitude.
const DIGITS_SHOWN_BELOW: u128 = 1_000_000_000_000_000;

/// A number with a comma between thousands.
pub(crate) fn grouped(number: impl Into<u128>) -> String {
    let number = number.into();
    if number >= DIGITS_SHOWN_BELOW {
        return format!("{number:.1e}");
    }
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with the word for what it counts.
pub(crate) fn counted(number: impl Into<u128>, one: &str, many: &str) -> String {
    let number = number.into();
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// A rate, without a fraction where none is of interest.
pub(crate) fn rate(per_second: f64) -> String {
    if per_second < 10.0 {
        format!("{per_second:.1}")
    } else {
        // Saturates; a rate is not negative.
        grouped(per_second.round() as u64)
    }
}

/// A time for people: seconds with a fraction, or hours, minutes and seconds.
pub(crate) fn duration(time: Duration) -> String {
    if time.as_secs() < 60 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        clock(time)
    }
}

/// A time as a clock shows it: `3:07`, `1:02:03`.
pub(crate) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours == 0 {
        format!("{minutes}:{seconds:02}")
    } else {
        format!("{hours}:{minutes:02}:{seconds:02}")
    }
}

/// Text in which whatever is not printed, or changes how the rest is, stands as its number.
pub(crate) struct EscapedText<'a>(pub(crate) &'a str);

/// Whether a character is no more than its own glyph.
pub(crate) fn is_visible(character: char) -> bool {
    !(character.is_control()
        || matches!(character,
            // Soft hyphen, marks of direction, joiners, separators of lines, embeddings, isolates, byte order mark.
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'))
}

impl fmt::Display for EscapedText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            if is_visible(character) || character == '\n' {
                f.write_char(character)?;
            } else {
                write!(f, "{}", character.escape_unicode())?;
            }
        }
        Ok(())
    }
}

/// The beginning of `text`, with an ellipsis if that is not all.
pub(crate) fn cut(text: &str, chars_max: usize) -> String {
    if text.chars().nth(chars_max).is_none() {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(chars_max.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// What was left out: how many of what, and what would have them.
pub(crate) fn left_out(left_out: &LeftOut) -> Vec<(u128, &'static str, &'static str)> {
    let all = [
        (
            left_out.sites as u128,
            "sites of the work",
            "the time, the bound on distinct images or that on findings was reached before them",
        ),
        (
            left_out.images,
            "combinations of what was not durable, after crashes in the work",
            "the bound on images of a moment, or the time",
        ),
        (
            left_out.recoveries as u128,
            "distinct images whose recovery was not crashed in",
            "the depth, the bound on nested images, or the time",
        ),
        (
            left_out.nested_images,
            "combinations of what was not durable, after crashes in recoveries",
            "the bound on images of a moment of a recovery, or the time",
        ),
        (
            left_out.faults as u128,
            "faults of the disk under the running work",
            "the bound on faults, or the time",
        ),
        (
            left_out.fault_images,
            "combinations of what was not durable, after faults of the disk",
            "the bounds on images of a moment, or the time",
        ),
    ];
    all.into_iter().filter(|(count, ..)| *count > 0).collect()
}
