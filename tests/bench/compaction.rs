//! Benchmarks of the compaction of the embedded store: the longest put in a store with cold data, the bytes written for
//! each byte put, and the time of a batch that rewrites all pairs.

use std::path::Path;
use std::sync::Arc;

use tidaldb::fs::RealFiles;
use tidaldb::storage::{FileStore, FileStoreOptions, StorageEngine, WriteBatch};

use crate::board::FigureUnit::{Bytes, Count, Milliseconds};
use crate::board::median;
use crate::environment::written_bytes;
use crate::growth::Curves;
use crate::stopwatch::timed;
use crate::{Bench, Measured};

const VALUE_BYTES: usize = 1000;
const HOT_BYTES: usize = 64 << 10;
const BATCH_LEN: u64 = 1000;

/// Measures puts of one key in a store with `size` cold pairs, until the compacted garbage is as large as the cold
/// data.
pub(crate) fn of_puts_with_cold_data(bench: &Bench, curves: &mut Curves, size: usize) -> Measured {
    let dir = bench.dir.empty_dir("growth")?;
    let store = filled(&dir, size as u64)?;
    let hot = vec![9; HOT_BYTES];
    let puts_len = (size * VALUE_BYTES).max(256 * HOT_BYTES) / HOT_BYTES;
    let before = written_bytes();
    let (mut slowest, mut most) = (0.0_f64, 0);
    for _ in 0..puts_len {
        let before = written_bytes();
        let (put, seconds) = timed(|| store.put(b"hot", &hot));
        put?;
        slowest = slowest.max(seconds);
        most = most.max(written_bytes() - before);
    }
    let each = (written_bytes() - before) as f64 / (puts_len * HOT_BYTES) as f64;
    let size_unit = "cold pairs of 1 kB";
    curves.add(
        "slowest put of 64 KiB",
        size_unit,
        Milliseconds,
        size,
        slowest * 1e3,
    );
    curves.add("most written by a put", size_unit, Bytes, size, most as f64);
    curves.add("written for each byte put", size_unit, Count, size, each);
    Ok(())
}

/// Measures overwrites of `size` pairs in random order, with three overwrites for each pair on average.
pub(crate) fn of_overwrites(bench: &Bench, curves: &mut Curves, size: usize) -> Measured {
    let dir = bench.dir.empty_dir("growth")?;
    let size = size as u64;
    let store = filled(&dir, size)?;
    let value = vec![5; VALUE_BYTES];
    let before = written_bytes();
    for number in 0..3 * size {
        let key = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        store.put(&(key % size).to_be_bytes(), &value)?;
    }
    let each = (written_bytes() - before) as f64 / (3 * size * VALUE_BYTES as u64) as f64;
    let stats = store.stats()?;
    if stats.total_bytes > 2 * stats.live_bytes + FileStoreOptions::default().segment_bytes_max {
        return Err("the files of the store are larger than their bound".into());
    }
    curves.add(
        "written for each byte overwritten",
        "pairs of 1 kB",
        Count,
        size as usize,
        each,
    );
    Ok(())
}

/// Measures a flushed batch that rewrites `size` small pairs, like a checkpoint of all states. The first three batches
/// are not measured.
pub(crate) fn of_rewrites(bench: &Bench, curves: &mut Curves, size: usize) -> Measured {
    let dir = bench.dir.empty_dir("growth")?;
    let store = FileStore::open(
        Arc::new(RealFiles),
        dir.join("store"),
        &FileStoreOptions::default(),
    )?;
    let mut times = Vec::new();
    for round in 0..8 {
        let mut batch = WriteBatch::new();
        for key in 0..size as u64 {
            batch.put(key.to_be_bytes(), vec![round; 100]);
        }
        let (written, seconds) = timed(|| store.write_batch(batch).and_then(|()| store.flush()));
        written?;
        times.extend((round >= 3).then_some(seconds * 1e3));
    }
    curves.add(
        "rewrite of all pairs in one batch",
        "pairs of 100 B",
        Milliseconds,
        size,
        median(&times),
    );
    Ok(())
}

/// A flushed store with `len` pairs.
fn filled(dir: &Path, len: u64) -> Result<FileStore, tidaldb::Error> {
    let store = FileStore::open(
        Arc::new(RealFiles),
        dir.join("store"),
        &FileStoreOptions::default(),
    )?;
    let value = vec![7; VALUE_BYTES];
    for from in (0..len).step_by(BATCH_LEN as usize) {
        let mut batch = WriteBatch::new();
        for key in from..len.min(from + BATCH_LEN) {
            batch.put(key.to_be_bytes(), value.clone());
        }
        store.write_batch(batch)?;
    }
    store.flush()?;
    Ok(store)
}
