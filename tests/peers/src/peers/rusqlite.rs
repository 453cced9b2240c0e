//! SQLite through rusqlite: a B-tree with a write-ahead log, and one row for each key.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};

use crate::peer::{Engine, Key, Peer, PeerResult, Policy, STATE_BYTES, State, by_key, state_after};
use crate::workload::JobEvent;

pub(crate) const SQLITE: Engine = Engine {
    name: "SQLite",
    open,
    is_skeleton: false,
};

const GET: &str = "SELECT state FROM states WHERE entity = ?1 AND signal = ?2";
const PUT: &str = "INSERT INTO states VALUES (?1, ?2, ?3) \
                   ON CONFLICT (entity, signal) DO UPDATE SET state = excluded.state";

fn open(dir: &Path, policy: Policy) -> PeerResult<Box<dyn Peer>> {
    let connection = Connection::open(dir.join("sqlite"))?;
    let synchronous = match policy {
        Policy::Written => "OFF",
        Policy::Synced => "FULL",
    };
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous};
         CREATE TABLE IF NOT EXISTS states
             (entity INTEGER, signal INTEGER, state BLOB, PRIMARY KEY (entity, signal)) WITHOUT ROWID;"
    ))?;
    Ok(Box::new(Sqlite { connection }))
}

struct Sqlite {
    connection: Connection,
}

impl Sqlite {
    fn get(&self, key: Key) -> PeerResult<Option<[u8; STATE_BYTES]>> {
        let mut get = self.connection.prepare_cached(GET)?;
        let value = get.query_row(params![key.entity as i64, key.signal], |row| row.get(0));
        Ok(value.optional()?)
    }

    fn put(&self, key: Key, value: &[u8; STATE_BYTES]) -> PeerResult<()> {
        let mut put = self.connection.prepare_cached(PUT)?;
        put.execute(params![key.entity as i64, key.signal, value])?;
        Ok(())
    }

    /// Runs `work` in one transaction, which becomes a write transaction at its first write. After an error the
    /// transaction stays open: the run ends.
    fn transaction(&self, work: impl FnOnce() -> PeerResult<()>) -> PeerResult<()> {
        self.connection.prepare_cached("BEGIN")?.execute([])?;
        work()?;
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }
}

impl Peer for Sqlite {
    fn record(&mut self, events: &[JobEvent]) -> PeerResult<()> {
        self.transaction(|| {
            by_key(events, |key, events| {
                let before = self.get(key)?;
                let state = state_after(before.as_ref().map(<[u8; STATE_BYTES]>::as_slice), events)?;
                self.put(key, &state.bytes())
            })
        })
    }

    fn sync(&mut self) -> PeerResult<()> {
        self.connection.execute_batch("PRAGMA synchronous = FULL")?;
        let busy: i64 = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        assert_eq!(busy, 0, "no other connection uses the database");
        Ok(())
    }

    fn scores(&self, keys: &[Key], half_life: usize, now_ms: i64, scores: &mut Vec<f64>) -> PeerResult<()> {
        self.transaction(|| {
            for &key in keys {
                let value = self.get(key)?;
                let state = value.map_or_else(|| Ok(State::default()), |value| State::from_bytes(&value))?;
                scores.push(state.score(half_life, now_ms));
            }
            Ok(())
        })
    }

    fn checkpoint(&mut self, keys: &[Key]) -> PeerResult<()> {
        self.connection.execute_batch("PRAGMA synchronous = FULL")?;
        self.transaction(|| {
            for &key in keys {
                let value = self.get(key)?.ok_or("a key is missing")?;
                self.put(key, &value)?;
            }
            Ok(())
        })
    }

    fn close(self: Box<Self>) -> PeerResult<()> {
        self.connection.close().map_err(|(_, error)| error.into())
    }
}
