//! tidaldb: the same job, with tidaldb's default windows, log and guarantees.

use std::path::Path;

use tidaldb::{Durability, EntityId, SignalEvent, SignalId, TidalDb};

use crate::engine;
use crate::peer::{Engine, Key, Peer, PeerResult, Policy};
use crate::workload::JobEvent;

pub(crate) const TIDALDB: Engine = Engine {
    name: "tidaldb",
    open,
    is_skeleton: false,
};

fn open(dir: &Path, policy: Policy) -> PeerResult<Box<dyn Peer>> {
    Ok(Box::new(TidalPeer {
        db: engine::open_without_checkpoints(dir, durability(policy))?,
        events: Vec::new(),
    }))
}

pub(crate) fn durability(policy: Policy) -> Durability {
    match policy {
        Policy::Written => Durability::OperatingSystem,
        Policy::Synced => Durability::EverySynced,
    }
}

struct TidalPeer {
    db: TidalDb,
    /// A buffer for the events of a call.
    events: Vec<SignalEvent<'static>>,
}

impl Peer for TidalPeer {
    fn record(&mut self, events: &[JobEvent]) -> PeerResult<()> {
        self.events.clear();
        self.events.extend(events.iter().map(engine::event));
        self.db.record_batch(&self.events)?;
        Ok(())
    }

    fn sync(&mut self) -> PeerResult<()> {
        Ok(self.db.sync()?)
    }

    fn scores(&self, keys: &[Key], half_life: usize, now_ms: i64, scores: &mut Vec<f64>) -> PeerResult<()> {
        for key in keys {
            let (entity, signal) = (EntityId(key.entity), SignalId(key.signal));
            scores.push(self.db.score(entity, signal, half_life, now_ms)?);
        }
        Ok(())
    }

    fn checkpoint(&mut self, _keys: &[Key]) -> PeerResult<()> {
        self.db.checkpoint()?;
        Ok(())
    }

    fn close(self: Box<Self>) -> PeerResult<()> {
        Ok(self.db.close()?)
    }
}
