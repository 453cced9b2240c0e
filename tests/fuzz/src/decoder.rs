//! The fuzz target of one decoder. The name of the program selects the decoder. For any input, a decoder must refuse it
//! or return a value with valid properties. A panic, a hang or a large memory request is a finding.
//!
//! On a stable toolchain, in this directory:
//!
//! ```sh
//! cargo run --release --bin log -- corpus/log -max_total_time=60 -max_len=4096 -timeout=10 -malloc_limit_mb=64
//! ```
//!
//! Each decoder has a program: segment_header, frame, events, log, store, checkpoint, schema, identity,
//! checkpoint_record, state_page, cohort_page, co_engagement, plan, workload, event_file. `./all SECONDS` runs each
//! program for this time. Each finding becomes a test in `src/testing/lab/decoder/tests.rs`.

#![no_main]

use std::fs;
use std::io;
use std::path::Path;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use tidaldb::testing::lab::decoder::Decoder;

fn decoder() -> Decoder {
    static DECODER: OnceLock<Decoder> = OnceLock::new();
    *DECODER.get_or_init(|| {
        let name = env!("CARGO_BIN_NAME");
        Decoder::of_name(name).expect("each program has the name of a decoder")
    })
}

/// Writes the first inputs of the decoder to its corpus. The corpus also has the inputs that earlier runs found.
fn write_seeds() -> io::Result<()> {
    let dir = Path::new("corpus").join(decoder().name());
    fs::create_dir_all(&dir)?;
    for (index, seed) in decoder().seeds().into_iter().enumerate() {
        fs::write(dir.join(format!("seed-{index:02}")), seed)?;
    }
    Ok(())
}

fuzz_target!(
    init: write_seeds().expect("the corpus is writable"),
    |bytes: &[u8]| {
        decoder().run(bytes);
    }
);
