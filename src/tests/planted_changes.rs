//! The planted changes of the engine's source, which break the order of threads.
//!
//! A paragraph of `tests/planted_schedules/changes.txt` is one change: its name, the promise that it breaks, the file, and
//! then lines as in a patch. A line with a space before it is unchanged, one with `-` is removed, and one with `+` is
//! added.
//!
//! This file uses only the standard library, because the package `tests/planted_schedules` includes it by its path.

/// A change of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlantedChange {
    pub(crate) name: &'static str,
    /// The promise that the changed engine breaks.
    pub(crate) promise: &'static str,
    /// The path from the root of the crate.
    pub(crate) file: &'static str,
    /// Whole lines before the change, and after it.
    pub(crate) before: String,
    pub(crate) after: String,
}

impl PlantedChange {
    /// Every change, in the order of the file.
    ///
    /// # Panics
    /// If the file is not legal.
    pub(crate) fn all() -> Vec<Self> {
        include_str!("../../tests/planted_schedules/changes.txt")
            .split("\n\n")
            .map(Self::parse)
            .collect()
    }

    fn parse(paragraph: &'static str) -> Self {
        let mut lines = paragraph.lines();
        let mut field = |name: &str| {
            let value = lines
                .next()
                .and_then(|line| line.strip_prefix(name)?.strip_prefix(": "));
            value.unwrap_or_else(|| panic!("a change without {name}: {paragraph}"))
        };
        let (name, promise, file) = (field("name"), field("promise"), field("file"));
        let (mut before, mut after) = (String::new(), String::new());
        for line in lines {
            let (kind, text) = line.split_at_checked(1).unwrap_or_default();
            let text = format!("{text}\n");
            match kind {
                " " => {
                    before += &text;
                    after += &text;
                }
                "-" => before += &text,
                "+" => after += &text,
                _ => panic!("the change {name} has the line {line:?}"),
            }
        }
        Self {
            name,
            promise,
            file,
            before,
            after,
        }
    }

    /// The changed text of the file, whose text is `text`.
    ///
    /// # Errors
    /// The number of places where the lines before the change occur, if it is not 1.
    pub(crate) fn apply(&self, text: &str) -> Result<String, usize> {
        // Only whole lines count.
        let (text, before) = (format!("\n{text}"), format!("\n{}", self.before));
        match text.matches(&before).count() {
            1 => Ok(text.replace(&before, &format!("\n{}", self.after))[1..].to_owned()),
            places_len => Err(places_len),
        }
    }
}
