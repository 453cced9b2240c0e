//! redb: a copy-on-write B-tree. A commit without a sync stays in redb's memory, so `Policy::Written` promises less
//! than in the other engines.

use std::path::Path;

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use crate::peer::{
    Engine, KEY_BYTES, Key, Peer, PeerResult, Policy, STATE_BYTES, State, by_key, state_after,
};
use crate::workload::JobEvent;

pub(crate) const REDB: Engine = Engine {
    name: "redb",
    open,
    is_skeleton: false,
};

const STATES: TableDefinition<'_, &[u8; KEY_BYTES], &[u8; STATE_BYTES]> = TableDefinition::new("states");

fn open(dir: &Path, policy: Policy) -> PeerResult<Box<dyn Peer>> {
    let database = Database::create(dir.join("redb"))?;
    let transaction = database.begin_write()?;
    transaction.open_table(STATES)?;
    transaction.commit()?;
    let durability = match policy {
        Policy::Written => Durability::None,
        Policy::Synced => Durability::Immediate,
    };
    Ok(Box::new(Redb { database, durability }))
}

struct Redb {
    database: Database,
    durability: Durability,
}

impl Peer for Redb {
    fn record(&mut self, events: &[JobEvent]) -> PeerResult<()> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(self.durability)?;
        {
            let mut table = transaction.open_table(STATES)?;
            by_key(events, |key, events| {
                let key = key.bytes();
                let before = table.get(&key)?.map(|value| *value.value());
                let state = state_after(before.as_ref().map(<[u8; STATE_BYTES]>::as_slice), events)?;
                table.insert(&key, &state.bytes())?;
                Ok(())
            })?;
        }
        Ok(transaction.commit()?)
    }

    fn sync(&mut self) -> PeerResult<()> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        Ok(transaction.commit()?)
    }

    fn scores(&self, keys: &[Key], half_life: usize, now_ms: i64, scores: &mut Vec<f64>) -> PeerResult<()> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(STATES)?;
        for key in keys {
            let value = table.get(&key.bytes())?;
            let state =
                value.map_or_else(|| Ok(State::default()), |value| State::from_bytes(value.value()))?;
            scores.push(state.score(half_life, now_ms));
        }
        Ok(())
    }

    fn checkpoint(&mut self, keys: &[Key]) -> PeerResult<()> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        {
            let mut table = transaction.open_table(STATES)?;
            for key in keys {
                let key = key.bytes();
                let value = *table.get(&key)?.ok_or("a key is missing")?.value();
                table.insert(&key, &value)?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn close(self: Box<Self>) -> PeerResult<()> {
        Ok(self.database.close()?)
    }
}
