//! The ledger's records: whatever a store holds is read or said to be damaged. What was read is the same once it is written and read
//! again, as records and as a published copy, and a byte that was altered anywhere is noticed. Lines of a key, a tab and a value; or the
//! text of a published copy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jvp::store::{Kv, KvError, KvOp, MemoryKv, Snapshot, Store, StoreError};
use sha2::{Digest, Sha256};
use uuid::Uuid;

const META: &str = "meta";

/// The target.
pub fn target(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Some(snapshot) = Snapshot::from_copy(text)
    {
        is_published(&snapshot, data);
    }
    let mut records = BTreeMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b'\t');
        if let (Some(Ok(key)), Some(value)) = (parts.next().map(std::str::from_utf8), parts.next()) {
            records.insert(key.to_owned(), value.to_vec());
        }
    }
    // As they are: whole only where they say so themselves.
    let _ = opened(&records);
    records.insert(META.to_owned(), meta(&records, 5));
    let kv = memory(&records);
    match Store::on(Box::new(kv.clone())) {
        Ok(store) => is_kept(&store, &records, data),
        Err(StoreError::Record { .. }) => {}
        Err(error) => unreachable!("{error}: with a right sum"),
    }
}

/// Memory that holds these records, and outlives the store on it.
fn memory(records: &BTreeMap<String, Vec<u8>>) -> Arc<MemoryKv> {
    let memory = Arc::<MemoryKv>::default();
    let puts: Vec<KvOp> = records.iter().map(|(key, value)| KvOp::Put(key.clone(), value.clone())).collect();
    assert_eq!(memory.batch(&puts), Ok(()));
    memory
}

fn opened(records: &BTreeMap<String, Vec<u8>>) -> Result<Store, StoreError> {
    Store::on(Box::new(memory(records)))
}

/// The head that makes these records whole.
fn meta(records: &BTreeMap<String, Vec<u8>>, revision: u64) -> Vec<u8> {
    let mut sum = [0_u8; 32];
    for (key, value) in records.iter().filter(|(key, _)| *key != META && !key.starts_with("lease/")) {
        let hash = Sha256::new().chain_update(key).chain_update([0]).chain_update(value).finalize();
        sum.iter_mut().zip(hash).for_each(|(a, b)| *a ^= b);
    }
    serde_json::json!({"format": 1, "revision": revision, "sum": hex::encode(sum)}).to_string().into_bytes()
}

/// The fleets whose records these are.
fn fleets(records: &BTreeMap<String, Vec<u8>>) -> BTreeSet<Uuid> {
    let fleet = |key: &String| Uuid::parse_str(key.strip_prefix("f/")?.split_once('/')?.0).ok();
    records.keys().filter_map(fleet).collect()
}

/// What was read is kept by a store that it is written to, and by the copy that is published of it.
fn is_kept(store: &Store, records: &BTreeMap<String, Vec<u8>>, data: &[u8]) {
    let memory = Arc::<MemoryKv>::default();
    let Ok(other) = Store::on(Box::new(memory.clone())) else { unreachable!("an empty ledger") };
    for fleet in fleets(records) {
        let (from, to) = (store.ledger(fleet), other.ledger(fleet));
        let owned = from.owned();
        let entries = owned.entries.values().map(|entry| (**entry).clone());
        let done = [
            entries.clone().try_for_each(|entry| to.put_entry(entry)),
            owned.nodes.values().cloned().try_for_each(|node| to.put_node(node)),
            to.begin(owned.intents.clone(), Vec::new()),
            to.suspend(owned.suspended.values().cloned().collect()),
            to.put_statuses(from.statuses().into_values().collect(), Vec::new()),
        ];
        assert!(done.iter().all(Result::is_ok), "{done:?}");
    }
    let other = match Store::on(Box::new(memory)) {
        Ok(other) => other,
        Err(error) => unreachable!("{error}: what was written can't be read"),
    };
    for fleet in fleets(records) {
        assert_eq!(store.ledger(fleet).owned(), other.ledger(fleet).owned());
        assert_eq!(store.ledger(fleet).statuses(), other.ledger(fleet).statuses());
    }
    is_published(&store.snapshot(), data);
    // One byte of one record is another.
    let at = data.iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    let mut altered = records.clone();
    let some = altered.iter_mut().filter(|(key, value)| key.starts_with("f/") && !value.is_empty()).collect::<Vec<_>>();
    let count = some.len();
    if let Some((_, value)) = some.into_iter().nth(at.checked_rem(count).unwrap_or_default()) {
        let place = (at / 7) % value.len();
        value[place] ^= 1 << (at % 8);
        assert!(matches!(opened(&altered), Err(StoreError::Kv(KvError::Damaged(_)))), "an altered record is not noticed");
    }
}

/// A copy is read as it was written, and not at all where a byte of it is another.
fn is_published(snapshot: &Snapshot, data: &[u8]) {
    let Ok(mut copy) = snapshot.to_copy() else { unreachable!("it can't be published") };
    let text = |copy: &[u8]| std::str::from_utf8(copy).map(str::to_owned);
    let Some(again) = text(&copy).ok().and_then(|text| Snapshot::from_copy(&text)) else { unreachable!("a copy can't be read") };
    assert_eq!(again.revision, snapshot.revision);
    assert_eq!(again.to_copy().ok().as_deref(), Some(copy.as_slice()));
    let at = data.iter().fold(7_usize, |sum, byte| sum.wrapping_mul(33).wrapping_add(usize::from(*byte))) % copy.len();
    copy[at] ^= 1 << (data.len() % 8);
    let noticed = text(&copy).ok().and_then(|text| Snapshot::from_copy(&text)).is_none();
    assert!(noticed, "a byte that was altered is not noticed, at {at} of {:?}", String::from_utf8_lossy(&copy));
}
