//! fjall: a log-structured merge tree. When a batch is committed, it is in the journal, in the operating system's
//! memory.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::peer::{Engine, Key, Peer, PeerResult, Policy, State, by_key, state_after};
use crate::workload::JobEvent;

pub(crate) const FJALL: Engine = Engine {
    name: "fjall",
    open,
    is_skeleton: false,
};

fn open(dir: &Path, policy: Policy) -> PeerResult<Box<dyn Peer>> {
    let database = Database::builder(dir).open()?;
    let keyspace = database.keyspace("states", KeyspaceCreateOptions::default)?;
    let durability = match policy {
        Policy::Written => PersistMode::Buffer,
        Policy::Synced => PersistMode::SyncData,
    };
    Ok(Box::new(Fjall {
        database,
        keyspace,
        durability,
    }))
}

struct Fjall {
    database: Database,
    keyspace: Keyspace,
    durability: PersistMode,
}

impl Peer for Fjall {
    fn record(&mut self, events: &[JobEvent]) -> PeerResult<()> {
        let mut batch = self.database.batch().durability(Some(self.durability));
        by_key(events, |key, events| {
            let key = key.bytes();
            let before = self.keyspace.get(key)?;
            batch.insert(
                &self.keyspace,
                key,
                state_after(before.as_deref(), events)?.bytes(),
            );
            Ok(())
        })?;
        Ok(batch.commit()?)
    }

    fn sync(&mut self) -> PeerResult<()> {
        Ok(self.database.persist(PersistMode::SyncData)?)
    }

    fn scores(&self, keys: &[Key], half_life: usize, now_ms: i64, scores: &mut Vec<f64>) -> PeerResult<()> {
        for key in keys {
            let value = self.keyspace.get(key.bytes())?;
            let state = value.map_or_else(|| Ok(State::default()), |value| State::from_bytes(&value))?;
            scores.push(state.score(half_life, now_ms));
        }
        Ok(())
    }

    fn checkpoint(&mut self, keys: &[Key]) -> PeerResult<()> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for key in keys {
            let key = key.bytes();
            let value = self.keyspace.get(key)?.ok_or("a key is missing")?;
            batch.insert(&self.keyspace, key, value);
        }
        Ok(batch.commit()?)
    }

    fn close(self: Box<Self>) -> PeerResult<()> {
        Ok(self.database.persist(PersistMode::SyncData)?)
    }
}
