//! What every engine is put through, in rounds.

use crate::args::PeerArgs;
use crate::board::{FigureBoard, FigureUnit};
use crate::disk;
use crate::memory;
use crate::peer::{Key, Kind, Peer, PeerResult, Policy};
use crate::peers::KINDS;
use crate::place::{self, BenchDir};
use crate::reference::Reference;
use crate::sheet::Sheet;
use crate::stopwatch::timed;
use crate::tidal_only;
use crate::workload::{self, BATCH_LEN, Touch};

/// Figures that are measured together.
pub(crate) struct PeerGroup {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) run: fn(&mut Run, usize) -> PeerResult<()>,
}

/// In the order in which they are measured.
pub(crate) const GROUPS: &[PeerGroup] = &[
    PeerGroup {
        name: "disk",
        what: "the disk's own sync",
        run: |run, _| run.disk(),
    },
    PeerGroup {
        name: "job",
        what: "batches of 256 with one final sync, reads, checkpoint, reopening",
        run: |run, round| run.each(round, Run::job),
    },
    PeerGroup {
        name: "synced-batches",
        what: "batches of 256, each synced",
        run: |run, round| run.each(round, Run::synced_batches),
    },
    PeerGroup {
        name: "synced-calls",
        what: "one event a call, each synced",
        run: |run, round| run.each(round, Run::synced_calls),
    },
    PeerGroup {
        name: "calls",
        what: "one event a call, written",
        run: |run, round| run.each(round, Run::calls),
    },
    PeerGroup {
        name: "threads",
        what: "tidaldb alone: several threads",
        run: |run, _| tidal_only::threads(run),
    },
    PeerGroup {
        name: "replay",
        what: "tidaldb and the limits: replay of the log after a kill",
        run: |run, round| run.each(round, Run::replay),
    },
    PeerGroup {
        name: "pause",
        what: "tidaldb alone: for how long a checkpoint holds up a writer",
        run: |run, _| tidal_only::pauses(run),
    },
    PeerGroup {
        name: "memory",
        what: "memory, each engine in a process of its own",
        run: |run, round| run.each(round, memory::measure),
    },
    PeerGroup {
        name: "extras",
        what: "tidaldb alone: cohorts and co-engagement",
        run: |run, _| tidal_only::extras(run),
    },
];

/// What a run measures with, and what came out.
pub(crate) struct Run {
    pub(crate) args: PeerArgs,
    pub(crate) place: BenchDir,
    pub(crate) touches: Vec<Touch>,
    pub(crate) keys: Vec<Key>,
    /// A minute after the last event.
    now_ms: i64,
    reference: Reference,
    pub(crate) sheet: Sheet,
    disk: FigureBoard,
}

impl Run {
    pub(crate) fn new(args: PeerArgs) -> PeerResult<Self> {
        let touches = workload::events(args.events);
        let keys = keys(&touches);
        let now_ms = touches.last().map_or(0, |touch| touch.at_ms) + 60_000;
        Ok(Self {
            place: BenchDir::new(&args.dir)?,
            reference: Reference::of(&touches, now_ms),
            touches,
            keys,
            now_ms,
            sheet: Sheet::default(),
            disk: FigureBoard::default(),
            args,
        })
    }

    /// Every engine in turn; each round begins with another one.
    fn each(&mut self, round: usize, pass: fn(&mut Self, &Kind) -> PeerResult<()>) -> PeerResult<()> {
        for index in 0..KINDS.len() {
            let kind = &KINDS[(index + round - 1) % KINDS.len()];
            if self.args.wants_engine(kind.name) {
                pass(self, kind).map_err(|error| format!("{}: {error}", kind.name))?;
            }
        }
        Ok(())
    }

    fn disk(&mut self) -> PeerResult<()> {
        let dir = self.place.fresh("disk")?;
        for (file, has_zeros) in [("a growing file", false), ("zeros written ahead", true)] {
            for bytes in [64, 8192] {
                let microseconds =
                    disk::sync_microseconds(&dir, has_zeros, bytes, self.args.synced.div_ceil(4))?;
                let name = format!("fdatasync of {bytes} B appended to {file}");
                self.disk.add(name, FigureUnit::Microseconds, microseconds);
            }
        }
        Ok(())
    }

    /// The whole job, and what its states are good for.
    fn job(&mut self, kind: &Kind) -> PeerResult<()> {
        let dir = self.place.fresh("job")?;
        let mut peer = (kind.open)(&dir, Policy::Written)?;
        let (recorded, seconds) = timed(|| {
            record(peer.as_mut(), &self.touches, BATCH_LEN)?;
            peer.sync()
        });
        recorded?;
        self.sheet
            .add("batches", kind.name, self.touches.len() as f64 / seconds);

        let mut scores = Vec::with_capacity(self.keys.len());
        let (read, seconds) = timed(|| {
            self.keys
                .chunks(BATCH_LEN)
                .try_for_each(|keys| peer.scores(keys, 1, self.now_ms, &mut scores))
        });
        read?;
        self.sheet
            .add("read", kind.name, seconds * 1e9 / self.keys.len() as f64);

        let mut in_order = self.keys.clone();
        in_order.sort_unstable();
        let (made, seconds) = timed(|| peer.checkpoint(&in_order));
        made?;
        self.sheet.add("checkpoint", kind.name, seconds * 1e3);

        self.reference.check(kind.name, peer.as_ref(), &self.keys)?;
        peer.close()?;
        let (peer, seconds) = timed(|| (kind.open)(&dir, Policy::Written));
        let peer = peer?;
        self.sheet.add("reopen", kind.name, seconds * 1e3);
        self.reference.check(kind.name, peer.as_ref(), &self.keys)?;
        peer.close()
    }

    fn synced_batches(&mut self, kind: &Kind) -> PeerResult<()> {
        self.rate(
            kind,
            "synced-batches",
            Policy::Synced,
            BATCH_LEN,
            self.args.batched,
        )
    }

    fn synced_calls(&mut self, kind: &Kind) -> PeerResult<()> {
        self.rate(kind, "synced-calls", Policy::Synced, 1, self.args.synced)
    }

    fn calls(&mut self, kind: &Kind) -> PeerResult<()> {
        self.rate(kind, "calls", Policy::Written, 1, self.args.calls)
    }

    fn rate(
        &mut self,
        kind: &Kind,
        figure: &'static str,
        policy: Policy,
        batch_len: usize,
        len: usize,
    ) -> PeerResult<()> {
        let dir = self.place.fresh("rate")?;
        let touches = &self.touches[..len.min(self.touches.len())];
        let mut peer = (kind.open)(&dir, policy)?;
        let (recorded, seconds) = timed(|| record(peer.as_mut(), touches, batch_len));
        recorded?;
        self.sheet.add(figure, kind.name, touches.len() as f64 / seconds);
        // So that nothing of it is written back while the next one is measured.
        peer.sync()?;
        Reference::of(touches, self.now_ms).check(kind.name, peer.as_ref(), &keys(touches))?;
        peer.close()
    }

    /// Of those that replay a log of events.
    fn replay(&mut self, kind: &Kind) -> PeerResult<()> {
        if kind.name != "tidaldb" && !kind.is_skeleton {
            return Ok(());
        }
        let dir = self.place.fresh("replay")?;
        let mut peer = (kind.open)(&dir, Policy::Written)?;
        record(peer.as_mut(), &self.touches, BATCH_LEN)?;
        peer.sync()?;
        // Without closing: it leaves what a kill leaves.
        drop(peer);
        let (peer, seconds) = timed(|| (kind.open)(&dir, Policy::Written));
        let peer = peer?;
        self.sheet
            .add("replay", kind.name, self.touches.len() as f64 / seconds);
        self.reference.check(kind.name, peer.as_ref(), &self.keys)
    }

    /// The whole outcome as Markdown.
    pub(crate) fn print(&self) {
        println!("# Results\n");
        println!(
            "The same job by tidaldb and by other stores, in one run; medians, with the smallest and largest value of"
        );
        println!(
            "{} rounds. Every final state was compared with sums over the events, to 1e-9.\n",
            self.args.rounds
        );
        println!("- Day: {}", place::today());
        println!("- Machine: {}", place::machine(self.place.path()));
        println!(
            "- Load average before the table was printed: {}",
            place::load_average()
        );
        println!(
            "- Job: {} events, {} states, in batches of {BATCH_LEN} unless a row says otherwise",
            self.touches.len(),
            self.keys.len()
        );
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let arguments = match arguments.as_slice() {
            [] => String::new(),
            some => format!(" -- {}", some.join(" ")),
        };
        println!("- Command: `cargo run --release --manifest-path tests/peers/Cargo.toml{arguments}`\n");
        println!("{}", self.sheet.table(&self.args));
        if !self.disk.figures.is_empty() {
            println!("The disk's own sync, in the same rounds:\n");
            println!("{}", self.disk.table());
        }
        println!("What a column does beside the job, and what it leaves out:\n");
        for note in NOTES {
            println!("- {note}");
        }
    }
}

/// What has to be known to read the table.
const NOTES: [&str; 7] = [
    "tidaldb keeps its default windows (24 hours, 7 days) and a log of events as well; the others keep scores alone.",
    "\"Written\": the operating system has the event when the call returns. LMDB's write-map needs no system call for that. \
     redb has no such state, and keeps the event in its own memory until the next sync.",
    "SQLite runs with a write-ahead log; without a sync it is in `synchronous = OFF`.",
    "LMDB runs through heed, with `MDB_NOSYNC` where nothing is synced.",
    "Memory: LMDB's is its map, pages of the file that the system may take back. SQLite's leaves aside the pages of the \
     file that the system holds for it; redb's and fjall's caches may grow up to bounds of their own.",
    "Reopening: tidaldb loads all states into memory; B-trees load theirs when they are read.",
    "The skeletons are the limit, no store: an array, and a file that is appended to. They check and recover nothing.",
];

/// Records in calls of `batch_len` events.
pub(crate) fn record(peer: &mut dyn Peer, touches: &[Touch], batch_len: usize) -> PeerResult<()> {
    touches.chunks(batch_len).try_for_each(|batch| peer.record(batch))
}

/// The pairs that are touched, each once, in an order by chance.
pub(crate) fn keys(touches: &[Touch]) -> Vec<Key> {
    let pairs = workload::keys(touches).into_iter();
    pairs.map(|(entity, signal)| Key { entity, signal }).collect()
}
