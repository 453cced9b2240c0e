//! LMDB through heed: a copy-on-write B-tree in a memory map. It writes pages through the map or with `pwrite`.

use std::path::Path;

use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions};

use crate::peer::{Engine, Key, Peer, PeerResult, Policy, State, by_key, state_after};
use crate::workload::JobEvent;

pub(crate) const LMDB: Engine = Engine {
    name: "LMDB",
    open: |dir, policy| open(dir, policy, EnvFlags::empty()),
    is_skeleton: false,
};

pub(crate) const LMDB_WRITE_MAP: Engine = Engine {
    name: "LMDB write-map",
    open: |dir, policy| open(dir, policy, EnvFlags::WRITE_MAP),
    is_skeleton: false,
};

fn open(dir: &Path, policy: Policy, flags: EnvFlags) -> PeerResult<Box<dyn Peer>> {
    let flags = match policy {
        Policy::Written => flags | EnvFlags::NO_SYNC,
        Policy::Synced => flags,
    };
    let mut options = EnvOpenOptions::new();
    options.map_size(1 << 30);
    // SAFETY: with `NO_SYNC` a power loss can lose or damage the database. No measurement has a power loss.
    unsafe { options.flags(flags) };
    // SAFETY: only this process uses the file, in its own directory, and has it open at most once.
    let env = unsafe { options.open(dir) }?;
    let mut transaction = env.write_txn()?;
    let states = env.create_database(&mut transaction, None)?;
    transaction.commit()?;
    Ok(Box::new(Lmdb { env, states }))
}

struct Lmdb {
    env: Env,
    states: Database<Bytes, Bytes>,
}

impl Peer for Lmdb {
    fn record(&mut self, events: &[JobEvent]) -> PeerResult<()> {
        let mut transaction = self.env.write_txn()?;
        by_key(events, |key, events| {
            let key = key.bytes();
            let state = state_after(self.states.get(&transaction, &key)?, events)?;
            self.states.put(&mut transaction, &key, &state.bytes())?;
            Ok(())
        })?;
        Ok(transaction.commit()?)
    }

    fn sync(&mut self) -> PeerResult<()> {
        Ok(self.env.force_sync()?)
    }

    fn scores(&self, keys: &[Key], half_life: usize, now_ms: i64, scores: &mut Vec<f64>) -> PeerResult<()> {
        let transaction = self.env.read_txn()?;
        for key in keys {
            let value = self.states.get(&transaction, &key.bytes())?;
            let state = value.map_or_else(|| Ok(State::default()), State::from_bytes)?;
            scores.push(state.score(half_life, now_ms));
        }
        Ok(())
    }

    fn checkpoint(&mut self, keys: &[Key]) -> PeerResult<()> {
        let mut transaction = self.env.write_txn()?;
        for key in keys {
            let key = key.bytes();
            let value = self
                .states
                .get(&transaction, &key)?
                .ok_or("a key is missing")?
                .to_vec();
            self.states.put(&mut transaction, &key, &value)?;
        }
        transaction.commit()?;
        self.sync()
    }

    fn close(self: Box<Self>) -> PeerResult<()> {
        self.env.force_sync()?;
        self.env.prepare_for_closing().wait();
        Ok(())
    }
}
