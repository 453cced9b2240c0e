//! The deep profile: sweeps standard workloads of one seed after another under each policy in turn, crashes two recoveries
//! deep, and ends by its time. Results are written as they come: a line on standard output for each sweep, and every
//! finding with the line that replays it. The exit code is 1 if there is one.
//!
//! ```sh
//! cargo run --release --features test-utils --example crash_sweep -- --minutes 5
//! ```
//!
//! | option | meaning | default |
//! |---|---|---|
//! | `--minutes N` | ends after this time; fractions are legal | 1 |
//! | `--states N` | ends after this many distinct images | 1000000 |
//! | `--operations N` | the length of each workload | 100 |
//! | `--seed N` | of the first workload | 1 |
//! | `--depth N` | how many recoveries deep | 2 |
//! | `--images N` | of each moment, for each disk model | 512 |
//! | `--nested-images N` | the same in recoveries | 32 |
//! | `--workers N` | threads | one for each core |

use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use tidaldb::testing::sweep::DeepProfile;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut profile = DeepProfile::default();
    let mut args = env::args().skip(1);
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--minutes" => profile.time = Duration::try_from_secs_f64(value.parse::<f64>()? * 60.0)?,
            "--states" => profile.distinct_max = value.parse()?,
            "--operations" => profile.operations_len = value.parse()?,
            "--seed" => profile.first_seed = value.parse()?,
            "--depth" => profile.depth = value.parse()?,
            "--images" => profile.images_max = value.parse()?,
            "--nested-images" => profile.nested_images_max = value.parse()?,
            "--workers" => profile.workers = value.parse()?,
            _ => return Err(format!("there is no option {name}").into()),
        }
    }
    let totals = profile.run(
        |progress| eprintln!("{progress}"),
        |report, totals| {
            for finding in &report.findings {
                println!("{finding}");
            }
            println!("{}: {}; all: {totals}", report.plan, report.left_out);
        },
    );
    println!("{totals}");
    Ok(ExitCode::from(u8::from(totals.findings_len > 0)))
}
