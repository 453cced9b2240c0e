//! The in-memory store as a storage engine.

use std::collections::BTreeMap;

use crate::storage::memory::MemoryStore;
use crate::storage::{BatchOperation, KeyValue, StorageEngine, WriteBatch};

fn scan(store: &dyn StorageEngine, prefix: &[u8]) -> Vec<KeyValue> {
    store.scan_prefix(prefix).unwrap().map(Result::unwrap).collect()
}

fn pair(key: &str, value: &str) -> KeyValue {
    (key.into(), value.into())
}

#[test]
fn a_value_is_readable_until_it_is_overwritten_or_deleted() {
    let store = MemoryStore::new();
    assert_eq!(store.get(b"key").unwrap(), None);
    store.put(b"key", b"").unwrap();
    assert_eq!(store.get(b"key").unwrap(), Some(Vec::new()));
    store.put(b"key", b"value").unwrap();
    assert_eq!(store.get(b"key").unwrap(), Some(b"value".to_vec()));
    store.delete(b"key").unwrap();
    store.delete(b"key").unwrap();
    assert_eq!(store.get(b"key").unwrap(), None);
    store.flush().unwrap();
}

#[test]
fn a_scan_returns_the_keys_with_the_prefix_in_byte_order_as_of_the_call() {
    let store = MemoryStore::new();
    for key in [
        &b"b"[..],
        b"a",
        b"ab",
        b"a\x00",
        b"a\xff",
        b"a\xff\xff",
        b"\xff",
        b"\xff\xff",
        b"B",
    ] {
        store.put(key, b"old").unwrap();
    }
    let before = store.scan_prefix(b"a").unwrap();
    store.put(b"ac", b"new").unwrap();
    store.delete(b"a").unwrap();
    let keys = |pairs: Vec<KeyValue>| pairs.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    let snapshot = keys(before.map(Result::unwrap).collect());
    assert_eq!(snapshot, [&b"a"[..], b"a\x00", b"ab", b"a\xff", b"a\xff\xff"]);
    assert_eq!(
        keys(scan(&store, b"a")),
        [&b"a\x00"[..], b"ab", b"ac", b"a\xff", b"a\xff\xff"]
    );
    assert_eq!(keys(scan(&store, b"\xff")), [&b"\xff"[..], b"\xff\xff"]);
    assert_eq!(keys(scan(&store, b"c")), Vec::<Vec<u8>>::new());
    assert_eq!(scan(&store, b"").len(), 9);
}

#[test]
fn a_batch_is_applied_in_order_and_the_last_operation_of_a_key_wins() {
    let store = MemoryStore::new();
    store.put(b"removed", b"value").unwrap();
    let mut batch = WriteBatch::new();
    assert!(batch.is_empty());
    batch.put("twice", "first");
    batch.delete("removed");
    batch.put("deleted", "value");
    batch.put("twice", "second");
    batch.delete("deleted");
    batch.delete("back");
    batch.put("back", "value");
    assert_eq!(batch.len(), 7);
    assert_eq!(
        batch.operations()[1],
        BatchOperation::Delete {
            key: b"removed".to_vec()
        }
    );
    store.write_batch(batch).unwrap();
    assert_eq!(
        scan(&store, b""),
        [pair("back", "value"), pair("twice", "second")]
    );
}

#[test]
fn clones_share_one_content_that_outlives_each_of_them() {
    let store = MemoryStore::new();
    let clone = store.clone();
    clone.put(b"key", b"value").unwrap();
    drop(clone);
    assert_eq!(scan(&store.clone(), b""), [pair("key", "value")]);
    assert_eq!(scan(&MemoryStore::new(), b""), []);
}

#[test]
fn mixed_operations_agree_with_a_map() {
    let (store, mut model) = (MemoryStore::new(), BTreeMap::new());
    for step in 0..2000_u32 {
        // A fixed mix of the step chooses the operation and the key.
        let mixed = step.wrapping_mul(0x9e37_79b1) >> 16;
        let key = vec![b'k'; 1 + (mixed % 9) as usize];
        if mixed.is_multiple_of(4) {
            store.delete(&key).unwrap();
            model.remove(&key);
        } else {
            store.put(&key, &mixed.to_le_bytes()).unwrap();
            model.insert(key, mixed.to_le_bytes().to_vec());
        }
        assert!(scan(&store, b"k").into_iter().eq(model.clone()), "step {step}");
    }
}
