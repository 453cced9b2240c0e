//! The model and the engine have the same content after the same operations, and after each reopening.

#![allow(
    clippy::disallowed_methods,
    reason = "the test makes and removes its own directories"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::storage::{MemoryStore, StorageEngine};
use crate::testing::model::Model;
use crate::testing::temp_dir::TempDir;
use crate::testing::workload::{Random, Workload, standard_schema, tiny_options, with_a_fresh_seed};
use crate::{Durability, Options, TidalDb};

fn run_and_compare(
    seed: u64,
    operations_len: usize,
    options: &Options,
    open: impl Fn(&Path, Options) -> TidalDb,
) {
    let dir = TempDir::new("model");
    let mut model = Model::new(&standard_schema());
    let mut random = Random::new(seed ^ 0x5eed);
    let mut db = open(dir.path(), options.clone());
    for (index, operation) in Workload::standard(seed, operations_len)
        .operations
        .iter()
        .enumerate()
    {
        operation.apply_or_refuse(&db).unwrap();
        model.apply(operation);
        if random.chance(1, 12) {
            if random.chance(1, 2) {
                db.close().unwrap();
            }
            drop(db);
            db = open(dir.path(), options.clone());
        }
        if index % 5 == 4 || index + 1 == operations_len {
            let found = db.export().unwrap();
            let differences = model.compare(&found);
            let text: Vec<_> = differences.iter().map(ToString::to_string).collect();
            assert!(text.is_empty(), "seed {seed}, after {operation}: {text:#?}");
            assert!(model.matches(&found), "compare and matches disagree");
        }
    }
}

#[test]
fn the_engine_on_the_embedded_store_agrees_with_the_model() {
    for seed in with_a_fresh_seed(0..4) {
        let options = tiny_options(standard_schema());
        run_and_compare(seed, 300, &options, |path, options| {
            TidalDb::open(path, options).unwrap()
        });
    }
}

#[test]
fn the_engine_on_a_memory_store_agrees_with_the_model() {
    for seed in with_a_fresh_seed(100..104) {
        let store = Arc::new(MemoryStore::new());
        let options = tiny_options(standard_schema()).durability(Durability::OperatingSystem);
        run_and_compare(seed, 300, &options, move |path, options| {
            let store: Arc<dyn StorageEngine> = store.clone();
            TidalDb::open_with_storage(path, options, store).unwrap()
        });
    }
}

#[test]
fn the_standard_workload_crosses_rotations_and_checkpoints_early_and_compactions_later() {
    for seed in 0..4 {
        let dir = TempDir::new("model");
        let db = TidalDb::open(dir.path(), tiny_options(standard_schema())).unwrap();
        let list = |sub: &str| -> BTreeSet<String> {
            let entries = std::fs::read_dir(dir.path().join(sub)).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.collect()
        };
        let (mut log, mut store, mut checkpoints) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for (index, operation) in Workload::standard(seed, 200).operations.iter().enumerate() {
            operation.apply_or_refuse(&db).unwrap();
            log.extend(list("log"));
            store.extend(list("store"));
            checkpoints.insert(db.statistics().unwrap().checkpoint_sequence);
            if index == 59 {
                assert!(log.len() >= 5, "segments of the log: {log:?}");
                assert!(checkpoints.len() >= 4, "checkpoints at {checkpoints:?}");
            }
        }
        assert!(
            list("store").len() < store.len(),
            "nothing was compacted: {store:?}"
        );
    }
}
