//! The rule for the words of comments: few clauses that begin with "what" in the place of a noun, and no persons in code.

use super::{Rule, Sources};

/// The words, and the largest number of them in 1,000 words of comments.
const WORDS: [(&[&str], f64); 2] = [
    (&["what", "whatever"], 2.0),
    (&["who", "whoever", "nobody", "somebody", "someone"], 0.4),
];

pub(super) const RULE: Rule = Rule {
    name: "comments name things by nouns, and do not speak of code as of persons",
    findings: |sources: &Sources| {
        let text: String = sources
            .rust("src/")
            .flat_map(|(_, text)| comments(text))
            .collect();
        let words: Vec<String> = words(&text).collect();
        let share = |listed: &[&str]| {
            let found = words.iter().filter(|word| listed.contains(&word.as_str()));
            found.count() as f64 * 1000.0 / words.len() as f64
        };
        let too_many = WORDS.iter().filter(|(listed, max)| share(listed) > *max);
        too_many
            .map(|(listed, max)| {
                format!(
                    "{:.2} of 1,000 words are among {listed:?}, at most {max} may be",
                    share(listed)
                )
            })
            .collect()
    },
    planted: &[
        "src/new.rs |  | <many comments with what> | among [\"what\"",
        "src/new.rs |  | <many comments with nobody> | among [\"who\"",
    ],
};

/// The comments of a source, with a space after each.
fn comments(source: &str) -> impl Iterator<Item = &str> {
    source
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("//"))
        .flat_map(|comment| [comment, " "])
}

/// The words of a text, in lower case.
fn words(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|letter: char| !letter.is_alphabetic() && letter != '\'');
    words.filter(|word| !word.is_empty()).map(str::to_lowercase)
}
