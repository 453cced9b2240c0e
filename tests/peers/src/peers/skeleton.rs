//! The limit: an array of states and a file that events are appended to. No hash, no checksum, no schema, no windows, no
//! recovery of anything torn; a key is its place in the array.

#![allow(
    clippy::disallowed_methods,
    reason = "the limit is the operating system's files themselves"
)]

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::peer::{Key, Kind, Peer, PeerResult, Policy, STATE_BYTES, State};
use crate::workload::{ENTITIES, SIGNALS, Touch};

pub(crate) const GROWING: Kind = Kind {
    name: "skeleton",
    open: |dir, policy| open(dir, policy, 0),
    is_skeleton: true,
};

pub(crate) const ZEROS_AHEAD: Kind = Kind {
    name: "skeleton, zeros ahead",
    open: |dir, policy| open(dir, policy, 1 << 20),
    is_skeleton: true,
};

/// Entity, time, signal.
const EVENT_BYTES: usize = 8 + 8 + 2;
const STATES_LEN: usize = ENTITIES as usize * SIGNALS as usize;

fn open(dir: &Path, policy: Policy, ahead_bytes: u64) -> PeerResult<Box<dyn Peer>> {
    let mut states = vec![State::default(); STATES_LEN];
    let saved = dir.join("states");
    if saved.exists() {
        for (state, bytes) in states.iter_mut().zip(fs::read(saved)?.chunks_exact(STATE_BYTES)) {
            *state = State::from_bytes(bytes)?;
        }
    }
    let path = dir.join("log");
    let mut end = 0;
    if path.exists() {
        for bytes in fs::read(&path)?.chunks_exact(EVENT_BYTES) {
            let touch = decode(bytes);
            if touch.at_ms == 0 {
                break;
            }
            states[Key::of(&touch).index()].add(touch.at_ms);
            end += EVENT_BYTES as u64;
        }
    }
    let log = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    Ok(Box::new(Skeleton {
        dir: dir.to_owned(),
        states,
        log,
        end,
        written_ahead: end,
        ahead_bytes,
        policy,
        buffer: Vec::new(),
    }))
}

struct Skeleton {
    dir: PathBuf,
    states: Vec<State>,
    log: File,
    end: u64,
    /// Up to where the file was made longer by zeros.
    written_ahead: u64,
    ahead_bytes: u64,
    policy: Policy,
    buffer: Vec<u8>,
}

impl Peer for Skeleton {
    fn record(&mut self, touches: &[Touch]) -> PeerResult<()> {
        self.buffer.clear();
        for touch in touches {
            self.buffer.extend_from_slice(&encode(touch));
        }
        let end = self.end + self.buffer.len() as u64;
        if self.ahead_bytes > 0 && end > self.written_ahead {
            let zeros = vec![0; self.ahead_bytes as usize];
            self.log.write_all_at(&zeros, self.written_ahead)?;
            self.written_ahead += self.ahead_bytes;
        }
        self.log.write_all_at(&self.buffer, self.end)?;
        self.end = end;
        for touch in touches {
            self.states[Key::of(touch).index()].add(touch.at_ms);
        }
        if self.policy == Policy::Synced {
            self.log.sync_data()?;
        }
        Ok(())
    }

    fn sync(&mut self) -> PeerResult<()> {
        Ok(self.log.sync_data()?)
    }

    fn scores(&self, keys: &[Key], half_life: usize, now_ms: i64, scores: &mut Vec<f64>) -> PeerResult<()> {
        scores.extend(
            keys.iter()
                .map(|key| self.states[key.index()].score(half_life, now_ms)),
        );
        Ok(())
    }

    fn checkpoint(&mut self, _keys: &[Key]) -> PeerResult<()> {
        let bytes: Vec<u8> = self.states.iter().flat_map(State::bytes).collect();
        let mut file = File::create(self.dir.join("states"))?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        self.log.set_len(0)?;
        (self.end, self.written_ahead) = (0, 0);
        Ok(self.log.sync_data()?)
    }

    fn close(mut self: Box<Self>) -> PeerResult<()> {
        self.checkpoint(&[])
    }
}

fn encode(touch: &Touch) -> [u8; EVENT_BYTES] {
    let mut bytes = [0; EVENT_BYTES];
    bytes[..8].copy_from_slice(&touch.entity.to_le_bytes());
    bytes[8..16].copy_from_slice(&touch.at_ms.to_le_bytes());
    bytes[16..].copy_from_slice(&touch.signal.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Touch {
    let word = |from: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[from..from + 8]);
        word
    };
    Touch {
        entity: u64::from_le_bytes(word(0)),
        at_ms: i64::from_le_bytes(word(8)),
        signal: u16::from_le_bytes([bytes[16], bytes[17]]),
    }
}
