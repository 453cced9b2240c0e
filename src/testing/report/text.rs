//! The text of numbers, times and foreign strings, as every form of the report writes it.

use std::fmt::{self, Write};
use std::time::Duration;

use crate::testing::sweep::LeftOut;

/// Numbers from this one on are shown in scientific notation.
const DIGITS_SHOWN_BELOW: u128 = 1_000_000_000_000_000;

/// A number with commas between groups of three digits.
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

/// A number with its unit in the singular or plural.
pub(crate) fn counted(number: impl Into<u128>, one: &str, many: &str) -> String {
    let number = number.into();
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// A rate. Rates of ten and more have no fraction.
pub(crate) fn rate(per_second: f64) -> String {
    if per_second < 10.0 {
        format!("{per_second:.1}")
    } else {
        // The conversion saturates, and a rate is not negative.
        grouped(per_second.round() as u64)
    }
}

/// A time, as seconds with a fraction below one minute, otherwise as [`clock`] shows it.
pub(crate) fn duration(time: Duration) -> String {
    if time.as_secs() < 60 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        clock(time)
    }
}

/// A time in minutes and seconds, or in hours, minutes and seconds: `3:07`, `1:02:03`.
pub(crate) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours == 0 {
        format!("{minutes}:{seconds:02}")
    } else {
        format!("{hours}:{minutes:02}:{seconds:02}")
    }
}

/// A text in which the number of each [invisible](is_visible) character replaces the character.
pub(crate) struct EscapedText<'a>(pub(crate) &'a str);

/// Returns true if a character has a glyph and does not change the display of other characters.
pub(crate) fn is_visible(character: char) -> bool {
    !(character.is_control()
        || matches!(character,
            // Soft hyphen, direction marks, joiners, line separators, embeddings, isolates, byte order mark.
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

/// At most `chars_max` characters of `text`. A shortened text ends with an ellipsis.
pub(crate) fn cut(text: &str, chars_max: usize) -> String {
    if text.chars().nth(chars_max).is_none() {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(chars_max.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// Each kind of left-out items: the number, the unit, and the bounds that caused the omission.
pub(crate) fn left_out(left_out: &LeftOut) -> Vec<(u128, &'static str, &'static str)> {
    let all = [
        (
            left_out.sites as u128,
            "sites of the work",
            "reached first: the time limit, the bound on distinct images or the bound on findings",
        ),
        (
            left_out.images,
            "combinations of data that was not durable, after crashes in the work",
            "the bound on images of one crash position, or the time limit",
        ),
        (
            left_out.recoveries as u128,
            "distinct images in whose recovery the sweep did not crash",
            "the depth, the bound on nested images, or the time limit",
        ),
        (
            left_out.nested_images,
            "combinations of data that was not durable, after crashes in recoveries",
            "the bound on images of one crash position of a recovery, or the time limit",
        ),
        (
            left_out.faults as u128,
            "disk faults in the work",
            "the bound on faults, or the time limit",
        ),
        (
            left_out.fault_images,
            "combinations of data that was not durable, after disk faults",
            "the bounds on images of one crash position, or the time limit",
        ),
    ];
    all.into_iter().filter(|(count, ..)| *count > 0).collect()
}
