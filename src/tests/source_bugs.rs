//! The planted bugs of the order of threads: changes of the engine's source. `tests/planted_schedules/bugs.txt` has them,
//! and its first lines describe the format.
//!
//! This file uses only the standard library, because the package `tests/planted_schedules` includes it by its path.

/// A bug in one file of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceBug {
    pub(crate) name: &'static str,
    /// The promise that the engine with the bug breaks.
    pub(crate) promise: &'static str,
    /// The kinds of findings that show the broken promise, as in a report. A hang has its own kind, such as `deadlock`.
    pub(crate) kinds: Vec<&'static str>,
    /// The path from the root of the crate.
    pub(crate) file: &'static str,
    /// Whole lines of the engine.
    pub(crate) old: String,
    /// The lines that replace them.
    pub(crate) new: String,
}

impl SourceBug {
    /// Every bug, in the order of the file.
    ///
    /// # Panics
    /// If the file is not legal.
    pub(crate) fn all() -> Vec<Self> {
        include_str!("../../tests/planted_schedules/bugs.txt")
            .split("\n\n")
            .filter(|paragraph| lines_of(paragraph).next().is_some())
            .map(Self::parse)
            .collect()
    }

    fn parse(paragraph: &'static str) -> Self {
        let mut lines = lines_of(paragraph);
        let mut field = |name: &str| {
            let value = lines
                .next()
                .and_then(|line| line.strip_prefix(name)?.strip_prefix(": "));
            value.unwrap_or_else(|| panic!("a bug without {name}: {paragraph}"))
        };
        let (name, promise) = (field("name"), field("promise"));
        let kinds = field("expect").split(", ").collect();
        let file = field("file");
        let (mut old, mut new) = (String::new(), String::new());
        for line in lines {
            let (kind, text) = line.split_at_checked(1).unwrap_or_default();
            let text = format!("{text}\n");
            match kind {
                " " => {
                    old += &text;
                    new += &text;
                }
                "-" => old += &text,
                "+" => new += &text,
                _ => panic!("the bug {name} has the line {line:?}"),
            }
        }
        Self {
            name,
            promise,
            kinds,
            file,
            old,
            new,
        }
    }

    /// The text of the file with the bug, if the file has the text `text`.
    ///
    /// # Errors
    /// The number of places where the old lines occur, if it is not 1.
    pub(crate) fn apply(&self, text: &str) -> Result<String, usize> {
        // Only whole lines count.
        let (text, old) = (format!("\n{text}"), format!("\n{}", self.old));
        match text.matches(&old).count() {
            1 => Ok(text.replace(&old, &format!("\n{}", self.new))[1..].to_owned()),
            places_len => Err(places_len),
        }
    }
}

/// The lines of a paragraph that are not comments.
fn lines_of(paragraph: &str) -> impl Iterator<Item = &str> {
    paragraph.lines().filter(|line| !line.starts_with('#'))
}
