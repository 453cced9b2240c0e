//! The building blocks of the page. Invariant: every text that is not a constant of this folder passes through
//! [`escaped`].

use std::fmt::Display;

use super::text::EscapedText;

/// The value, escaped for a text between tags or inside a quoted attribute.
pub(super) fn escaped(value: impl Display) -> String {
    let mut text = String::new();
    for character in EscapedText(&value.to_string()).to_string().chars() {
        match character {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '"' => text.push_str("&quot;"),
            '\'' => text.push_str("&#39;"),
            _ => text.push(character),
        }
    }
    text
}

/// An element. `head` is its name with its attributes. Neither argument is escaped.
pub(super) fn element(head: &str, content: impl Display) -> String {
    let name = head.split(' ').next().unwrap_or_default();
    format!("<{head}>{content}</{name}>")
}

/// A paragraph in the style of a remark.
pub(super) fn remark(content: impl Display) -> String {
    element("p class=\"small soft\"", content) + "\n"
}

/// Folded content with a summary line.
pub(super) fn folded(summary: impl Display, content: impl Display) -> String {
    let summary = element("summary class=\"small\"", summary);
    element("details", format_args!("{summary}{content}")) + "\n"
}

/// A table. Each row is a text of cell elements.
pub(super) fn table(
    titles: impl IntoIterator<Item = String>,
    rows: impl IntoIterator<Item = String>,
) -> String {
    let titles: String = titles
        .into_iter()
        .map(|title| element("th scope=\"col\"", title))
        .collect();
    let rows: String = rows.into_iter().map(|row| element("tr", row) + "\n").collect();
    format!(
        "<div class=\"scroll\" tabindex=\"0\"><table>\n<thead><tr>{titles}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
    )
}
