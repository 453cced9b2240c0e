//! The fuzz target of one decoder: the one that the program is named for. What a decoder is given can be anything; it
//! refuses it, or gives something whose properties hold. A panic, a hang, too much memory is a finding.
//!
//! On a stable toolchain, in this directory:
//!
//! ```sh
//! cargo run --release --bin log -- corpus/log -max_total_time=60 -max_len=4096 -timeout=10 -malloc_limit_mb=64
//! ```
//!
//! There is a program for each decoder: segment_header, frame, events, log, store, checkpoint, schema, identity,
//! checkpoint_record, state_page, cohort_page, co_engagement, plan, workload, event_file. `./all SECONDS` runs each of
//! them for that long. What is found becomes a test in `src/testing/lab/decoder/tests.rs`.

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
        Decoder::of_name(name).expect("each program is named for a decoder")
    })
}

/// Puts what the decoder begins with into its corpus, beside what earlier runs have left there.
fn write_seeds() -> io::Result<()> {
    let dir = Path::new("corpus").join(decoder().name());
    fs::create_dir_all(&dir)?;
    for (index, seed) in decoder().seeds().into_iter().enumerate() {
        fs::write(dir.join(format!("seed-{index:02}")), seed)?;
    }
    Ok(())
}

fuzz_target!(
    init: write_seeds().expect("the corpus can be written"),
    |bytes: &[u8]| {
        decoder().run(bytes);
    }
);
