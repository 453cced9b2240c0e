//! The deep profile: sweeps standard workloads of one seed after another, crashes in recoveries too, until its time is
//! over, and writes what it found as it goes.
//!
//! ```sh
//! cargo run --release --features test-utils --example crash_sweep -- --minutes 5
//! ```

use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use tidaldb::testing::CrashSweep;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut minutes = 1.0;
    let mut operations_len = 100;
    let mut seed = 1;
    let mut depth = 1;
    let mut workers = 1;
    let mut args = env::args().skip(1);
    while let Some(name) = args.next() {
        let value = args.next().ok_or("every option has a value")?;
        match name.as_str() {
            "--minutes" => minutes = value.parse()?,
            "--operations" => operations_len = value.parse()?,
            "--seed" => seed = value.parse()?,
            "--depth" => depth = value.parse()?,
            "--workers" => workers = value.parse()?,
            _ => return Err(format!("there is no option {name}").into()),
        }
    }
    let report = CrashSweep::standard(seed, operations_len)
        .depth(depth)
        .nested_max(usize::MAX)
        .workers(workers)
        .shrink(false)
        .time(Duration::from_secs_f64(minutes * 60.0))
        .progress(Duration::from_secs(1), |progress| eprintln!("{progress:?}"))
        .run();
    println!("{report}");
    Ok(ExitCode::from(u8::from(!report.is_ok())))
}
