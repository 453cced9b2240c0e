//! Progress while cases run: one line that is rewritten in a terminal, a line now and then elsewhere.

use std::io::{IsTerminal, Write, stderr};

const LINE_WIDTH: usize = 99;
const BAR_WIDTH: usize = 20;
/// Elsewhere than in a terminal a line is printed this often.
const PLAIN_LINES: usize = 4;

/// Tells how far the run is, on standard error.
#[derive(Debug)]
pub(crate) struct Progress {
    all: usize,
    ended: usize,
    failed: usize,
    style: Style,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Silent,
    Plain,
    Rewritten,
}

impl Progress {
    pub(crate) fn new(all: usize, quiet: bool) -> Self {
        let style = if quiet {
            Style::Silent
        } else if stderr().is_terminal() {
            Style::Rewritten
        } else {
            Style::Plain
        };
        Self {
            all,
            ended: 0,
            failed: 0,
            style,
        }
    }

    /// Says that a case begins.
    pub(crate) fn begun(&self, name: &str) {
        if self.style == Style::Rewritten {
            self.rewrite(name);
        }
    }

    /// Says that a case has ended.
    pub(crate) fn ended(&mut self, name: &str, passed: bool) {
        self.ended += 1;
        self.failed += usize::from(!passed);
        match self.style {
            Style::Silent => {}
            Style::Rewritten => {
                if !passed {
                    print(&format!("\r\x1b[2Ktest {name} ... FAILED\n"));
                }
                self.rewrite(name);
                if self.ended == self.all {
                    print("\r\x1b[2K");
                }
            }
            Style::Plain => {
                if !passed {
                    print(&format!("test {name} ... FAILED\n"));
                }
                let step = self.all.div_ceil(PLAIN_LINES);
                if self.ended.is_multiple_of(step) || self.ended == self.all {
                    print(&format!(
                        "crash suite: {} of {} cases, {} failed\n",
                        self.ended, self.all, self.failed
                    ));
                }
            }
        }
    }

    fn rewrite(&self, name: &str) {
        let filled = self.ended * BAR_WIDTH / self.all.max(1);
        let bar = format!("{}{}", "#".repeat(filled), ".".repeat(BAR_WIDTH - filled));
        let line = format!(
            "[{bar}] {}/{} failed {}  {name}",
            self.ended, self.all, self.failed
        );
        let line: String = line.chars().take(LINE_WIDTH).collect();
        print(&format!("\r\x1b[2K{line}"));
    }
}

/// Whoever watches may be gone: a run goes on without.
fn print(text: &str) {
    let mut stderr = stderr().lock();
    stderr
        .write_all(text.as_bytes())
        .and_then(|()| stderr.flush())
        .ok();
}
