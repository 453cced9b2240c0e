//! The report as JSON. `json.md` beside this file describes every field.

use std::fmt::{self, Display, Write};
use std::time::Duration;

use super::matrix::Counts;
use super::{Outcome, Report, Swept, Totals};
use crate::testing::sweep::{Finding, LeftOut, Progress};

/// Writes JSON: what is written inside a closure of [`object`](Self::object) is fields, inside one of
/// [`array`](Self::array) it is values.
#[derive(Debug, Default)]
struct Json {
    text: String,
    /// Whether the next value or field comes after another one.
    follows: bool,
}

impl Json {
    fn next(&mut self) {
        if self.follows {
            self.text.push(',');
        }
        self.follows = true;
    }

    fn key(&mut self, key: &str) -> &mut Self {
        self.string(key);
        self.text.push(':');
        self.follows = false;
        self
    }

    fn push(&mut self, value: impl Display) {
        self.next();
        self.text.push_str(&value.to_string());
    }

    fn null(&mut self) {
        self.push("null");
    }

    fn seconds(&mut self, time: Duration) {
        self.push(format_args!("{:.3}", time.as_secs_f64()));
    }

    fn string(&mut self, value: impl Display) {
        self.next();
        self.text.push('"');
        // A `String` takes whatever is written to it.
        write!(Escaped(&mut self.text), "{value}").ok();
        self.text.push('"');
    }

    fn optional(&mut self, value: Option<impl Display>) {
        match value {
            Some(value) => self.string(value),
            None => self.null(),
        }
    }

    fn strings(&mut self, values: impl IntoIterator<Item = impl Display>) {
        self.array(|json| values.into_iter().for_each(|value| json.string(value)));
    }

    fn object(&mut self, fields: impl FnOnce(&mut Self)) {
        self.nested('{', fields, '}');
    }

    fn array(&mut self, values: impl FnOnce(&mut Self)) {
        self.nested('[', values, ']');
    }

    /// An array with a line for each value, so that files can be compared by lines.
    fn lines<T>(&mut self, values: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut Self, T)) {
        self.array(|json| {
            for value in values {
                json.next();
                json.text.push('\n');
                json.follows = false;
                write(json, value);
            }
        });
    }

    fn nested(&mut self, open: char, inside: impl FnOnce(&mut Self), close: char) {
        self.next();
        self.text.push(open);
        self.follows = false;
        inside(self);
        self.text.push(close);
        self.follows = true;
    }
}

/// The inside of a string.
struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '"' => self.0.push_str("\\\""),
                '\\' => self.0.push_str("\\\\"),
                '\n' => self.0.push_str("\\n"),
                '\u{0}'..='\u{1f}' | '\u{7f}' => write!(self.0, "\\u{:04x}", u32::from(character))?,
                _ => self.0.push(character),
            }
        }
        Ok(())
    }
}

pub(super) fn of(report: &Report) -> String {
    let mut json = Json::default();
    json.object(|json| {
        json.key("format").string("tidaldb-crash-report");
        json.key("version").push(1);
        json.key("title").string(&report.title);
        verdict(json, report.why_not());
        match &report.running {
            Some(progress) => json.key("running").object(|json| running(json, progress)),
            None => json.key("running").null(),
        }
        json.key("totals").object(|json| {
            json.key("sweeps").push(report.sweeps.len());
            totals(json, &report.totals);
        });
        json.key("points")
            .lines(&report.matrix.points, |json, (point, line)| {
                json.object(|json| {
                    json.key("point").string(point);
                    counts(json, line);
                });
            });
        json.key("disk_operations")
            .lines(&report.matrix.kinds, |json, (kind, line)| {
                json.object(|json| {
                    json.key("kind").string(kind);
                    counts(json, line);
                });
            });
        json.key("findings")
            .lines(report.findings(), |json, (index, it)| {
                json.object(|json| finding(json, index, it));
            });
        json.key("sweeps").lines(&report.sweeps, |json, swept| {
            json.object(|json| sweep(json, swept));
        });
    });
    json.text.push('\n');
    json.text
}

fn verdict(json: &mut Json, why_not: Option<String>) {
    json.key("is_ok").push(why_not.is_none());
    json.key("why_not").optional(why_not);
}

fn running(json: &mut Json, progress: &Progress) {
    json.key("phase").string(progress.phase.name());
    json.key("done").push(progress.done);
    json.key("total").push(progress.total);
    json.key("images").push(progress.images);
    json.key("distinct").push(progress.distinct);
    json.key("recoveries").push(progress.recoveries);
    json.key("findings").push(progress.findings);
    json.key("seconds").seconds(progress.elapsed);
}

fn totals(json: &mut Json, totals: &Totals) {
    json.key("sites").push(totals.sites);
    json.key("acknowledged").push(totals.acknowledged);
    json.key("images").push(totals.images);
    json.key("distinct").push(totals.distinct);
    json.key("recoveries").push(totals.recoveries);
    json.key("gone_on").push(totals.gone_on);
    json.key("nested").push(totals.nested);
    json.key("deaths").push(totals.deaths);
    json.key("findings").push(totals.findings);
    json.key("seconds").seconds(totals.elapsed);
    json.key("per_second")
        .push(format_args!("{:.1}", totals.per_second()));
    json.key("distinct_per_second_and_thread")
        .push(format_args!("{:.1}", totals.distinct_per_second_and_thread()));
    json.key("left_out")
        .object(|json| left_out(json, &totals.left_out));
}

fn left_out(json: &mut Json, left_out: &LeftOut) {
    json.key("sites").push(left_out.sites);
    json.key("images").push(left_out.images);
    json.key("recoveries").push(left_out.recoveries);
    json.key("nested_images").push(left_out.nested_images);
    json.key("deaths").push(left_out.deaths);
}

fn counts(json: &mut Json, counts: &Counts) {
    json.key("in_work").push(counts.in_work);
    json.key("recovered").push(counts.recovered);
    json.key("findings").push(counts.findings);
    json.key("left_out").push(counts.left_out);
    json.key("in_recoveries").push(counts.in_recoveries);
}

fn finding(json: &mut Json, sweep: usize, finding: &Finding) {
    json.key("sweep").push(sweep);
    json.key("kind").string(finding.failure.kind);
    json.key("message").string(&finding.failure.message);
    json.key("plan").string(&finding.plan);
    json.key("shrunk").optional(finding.shrunk.as_ref());
    json.key("replay").string(finding.replay_line());
    json.key("test").string(finding.test_to_paste());
    let image_dir = finding.image_dir.as_ref();
    json.key("image_dir").optional(image_dir.map(|dir| dir.display()));
}

fn sweep(json: &mut Json, swept: &Swept) {
    let sweep = &swept.report;
    json.key("plan").string(&sweep.plan);
    json.key("seed").push(sweep.seed);
    verdict(json, sweep.why_not());
    let mut own = Totals::default();
    own.add(sweep);
    own.sites = swept.sites_len as u64;
    totals(json, &own);
    json.key("coverage").object(|json| {
        let coverage = &sweep.coverage;
        json.key("points_missed").strings(&coverage.points_missed);
        json.key("kinds_missed").strings(&coverage.kinds_missed);
        json.key("sites_missed").push(coverage.sites_missed);
    });
    if swept.has_map() {
        json.key("map").object(|json| map(json, swept));
    } else {
        json.key("map").null();
    }
}

fn map(json: &mut Json, swept: &Swept) {
    json.key("operations").strings(&swept.report.operations);
    let sites = swept.report.sites.iter().zip(&swept.outcomes);
    json.key("sites").lines(sites, |json, (site, outcome)| {
        json.object(|json| {
            json.key("site").string(site.site);
            json.key("what").string(&site.what);
            match site.operation {
                Some(operation) => json.key("operation").push(operation),
                None => json.key("operation").null(),
            }
            json.key("moment").push(site.moment);
            json.key("position").push(site.position);
            json.key("images").push(site.images);
            json.key("distinct").push(site.distinct);
            json.key("outcome").string(match outcome {
                Outcome::Recovered => "recovered",
                Outcome::Known => "known",
                Outcome::Finding => "finding",
                Outcome::LeftOut => "left_out",
            });
            json.key("failures").strings(&site.failures);
        });
    });
}
