//! The skeleton shows the limit of the machine: an array of states and a file with appended events. It has no hash, no
//! checksum, no schema, no windows and no recovery of a torn write. A key is an index of the array.

#![allow(
    clippy::disallowed_methods,
    reason = "the skeleton uses the files of the operating system directly"
)]

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::peer::{Engine, Key, Peer, PeerResult, Policy, STATE_BYTES, State};
use crate::workload::{ENTITIES, JobEvent, SIGNALS};

pub(crate) const GROWING: Engine = Engine {
    name: "skeleton",
    open: |dir, policy| open(dir, policy, 0),
    is_skeleton: true,
};

pub(crate) const ZEROS_AHEAD: Engine = Engine {
    name: "skeleton, zeros ahead",
    open: |dir, policy| open(dir, policy, 1 << 20),
    is_skeleton: true,
};

/// The size of an encoded event: entity, time, signal.
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
            let event = decode(bytes);
            if event.at_ms == 0 {
                break;
            }
            states[Key::of(&event).index()].add(event.at_ms);
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
    /// The length of the file, with the zeros that were written ahead.
    written_ahead: u64,
    ahead_bytes: u64,
    policy: Policy,
    buffer: Vec<u8>,
}

impl Peer for Skeleton {
    fn record(&mut self, events: &[JobEvent]) -> PeerResult<()> {
        self.buffer.clear();
        for event in events {
            self.buffer.extend_from_slice(&encode(event));
        }
        let end = self.end + self.buffer.len() as u64;
        if self.ahead_bytes > 0 && end > self.written_ahead {
            let zeros = vec![0; self.ahead_bytes as usize];
            self.log.write_all_at(&zeros, self.written_ahead)?;
            self.written_ahead += self.ahead_bytes;
        }
        self.log.write_all_at(&self.buffer, self.end)?;
        self.end = end;
        for event in events {
            self.states[Key::of(event).index()].add(event.at_ms);
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

fn encode(event: &JobEvent) -> [u8; EVENT_BYTES] {
    let mut bytes = [0; EVENT_BYTES];
    bytes[..8].copy_from_slice(&event.entity.to_le_bytes());
    bytes[8..16].copy_from_slice(&event.at_ms.to_le_bytes());
    bytes[16..].copy_from_slice(&event.signal.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> JobEvent {
    let word = |from: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[from..from + 8]);
        word
    };
    JobEvent {
        entity: u64::from_le_bytes(word(0)),
        at_ms: i64::from_le_bytes(word(8)),
        signal: u16::from_le_bytes([bytes[16], bytes[17]]),
    }
}
