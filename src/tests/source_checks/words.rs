//! The rule for the words of comments: few clauses that begin with "what" in the place of a noun, and no persons in code.

use super::{Rule, Sources};

/// The words, and the largest number of them in 1,000 words of comments.
const WORDS: [(&[&str], f64); 2] = [
    (&["what", "whatever"], 2.0),
    (&["who", "whoever", "nobody", "somebody", "someone"], 0.4),
];
/// The largest number of the listed words in one file.
const WORDS_OF_FILE_MAX: usize = 3;

pub(super) const RULE: Rule = Rule {
    name: "comments name things by nouns, and do not speak of code as of persons",
    findings: |sources: &Sources| {
        let mut findings = Vec::new();
        let files = ["src/", "tests/"]
            .into_iter()
            .flat_map(|folder| sources.rust(folder));
        let files: Vec<(&str, Vec<String>)> = files.map(|(file, text)| (file, words(text))).collect();
        let words_len: usize = files.iter().map(|(_, words)| words.len()).sum();
        for (listed, max) in WORDS {
            let count = |words: &[String]| {
                words
                    .iter()
                    .filter(|word| listed.contains(&word.as_str()))
                    .count()
            };
            let found: usize = files.iter().map(|(_, words)| count(words)).sum();
            let share = found as f64 * 1000.0 / words_len as f64;
            if share > max {
                findings.push(format!(
                    "{share:.2} of 1,000 words are among {listed:?}, at most {max} may be"
                ));
            }
            let long = files.iter().filter(|(_, words)| count(words) > WORDS_OF_FILE_MAX);
            findings.extend(long.map(|(file, _)| format!("{file} has too many words of {listed:?}")));
        }
        findings
    },
    planted: &[
        "src/new.rs |  | <many comments with what> | of 1,000 words are among [\"what\"",
        "tests/new.rs |  | <many comments with nobody> | of 1,000 words are among [\"who\"",
        "src/decay.rs |  | // What whatever what what.\n | src/decay.rs has too many words",
    ],
};

/// The words in the comments of a source, in lower case.
fn words(source: &str) -> Vec<String> {
    let comments = source
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("//"));
    let words =
        comments.flat_map(|comment| comment.split(|letter: char| !letter.is_alphabetic() && letter != '\''));
    words
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}
