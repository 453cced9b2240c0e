//! The measurements of all engines, and the report.

use crate::args::PeerArgs;
use crate::board::{FigureBoard, FigureUnit};
use crate::disk;
use crate::environment::{self, BenchDir};
use crate::memory;
use crate::peer::{Engine, Key, Peer, PeerResult, Policy};
use crate::peers::ENGINES;
use crate::reference::Reference;
use crate::sheet::Sheet;
use crate::stopwatch::timed;
use crate::tidal_only;
use crate::workload::{self, BATCH_LEN, JobEvent};

/// Figures that are measured together.
pub(crate) struct PeerGroup {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    pub(crate) run: fn(&mut Run, usize) -> PeerResult<()>,
}

/// The groups, in the order of their measurement.
pub(crate) const GROUPS: &[PeerGroup] = &[
    PeerGroup {
        name: "disk",
        description: "an append and sync of the disk, without an engine",
        run: |run, _| run.disk(),
    },
    PeerGroup {
        name: "job",
        description: "batches of 256 with one final sync, reads, checkpoint, reopening",
        run: |run, round| run.each(round, Run::job),
    },
    PeerGroup {
        name: "synced-batches",
        description: "batches of 256, each synced",
        run: |run, round| run.each(round, Run::synced_batches),
    },
    PeerGroup {
        name: "synced-calls",
        description: "one event a call, each synced",
        run: |run, round| run.each(round, Run::synced_calls),
    },
    PeerGroup {
        name: "calls",
        description: "one event a call, written",
        run: |run, round| run.each(round, Run::calls),
    },
    PeerGroup {
        name: "threads",
        description: "only tidaldb: several threads",
        run: |run, _| tidal_only::threads(run),
    },
    PeerGroup {
        name: "replay",
        description: "tidaldb and the skeletons: replay of the log after a kill",
        run: |run, round| run.each(round, Run::replay),
    },
    PeerGroup {
        name: "pause",
        description: "only tidaldb: the pause of a writer during a checkpoint",
        run: |run, _| tidal_only::pauses(run),
    },
    PeerGroup {
        name: "memory",
        description: "memory, each engine in a separate process",
        run: |run, round| run.each(round, memory::measure),
    },
    PeerGroup {
        name: "extras",
        description: "only tidaldb: cohorts and co-engagement",
        run: |run, _| tidal_only::extras(run),
    },
];

/// The inputs and the figures of a run.
pub(crate) struct Run {
    pub(crate) args: PeerArgs,
    pub(crate) dir: BenchDir,
    pub(crate) events: Vec<JobEvent>,
    pub(crate) keys: Vec<Key>,
    /// A minute after the last event.
    now_ms: i64,
    reference: Reference,
    pub(crate) sheet: Sheet,
    disk: FigureBoard,
}

impl Run {
    pub(crate) fn new(args: PeerArgs) -> PeerResult<Self> {
        let events = workload::events(args.events);
        let keys = keys(&events);
        let now_ms = events.last().map_or(0, |event| event.at_ms) + 60_000;
        Ok(Self {
            dir: BenchDir::new(&args.dir)?,
            reference: Reference::of(&events, now_ms),
            events,
            keys,
            now_ms,
            sheet: Sheet::default(),
            disk: FigureBoard::default(),
            args,
        })
    }

    /// Measures every engine. Each round begins with another engine.
    fn each(&mut self, round: usize, pass: fn(&mut Self, &Engine) -> PeerResult<()>) -> PeerResult<()> {
        for index in 0..ENGINES.len() {
            let engine = &ENGINES[(index + round - 1) % ENGINES.len()];
            if self.args.has_engine(engine.name) {
                pass(self, engine).map_err(|error| format!("{}: {error}", engine.name))?;
            }
        }
        Ok(())
    }

    fn disk(&mut self) -> PeerResult<()> {
        let dir = self.dir.empty_dir("disk")?;
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

    /// Records the whole job, then measures reads, a checkpoint and a reopening.
    fn job(&mut self, engine: &Engine) -> PeerResult<()> {
        let dir = self.dir.empty_dir("job")?;
        let mut peer = (engine.open)(&dir, Policy::Written)?;
        let (recorded, seconds) = timed(|| {
            record(peer.as_mut(), &self.events, BATCH_LEN)?;
            peer.sync()
        });
        recorded?;
        self.sheet
            .add("batches", engine.name, self.events.len() as f64 / seconds);

        let mut scores = Vec::with_capacity(self.keys.len());
        let (read, seconds) = timed(|| {
            self.keys
                .chunks(BATCH_LEN)
                .try_for_each(|keys| peer.scores(keys, 1, self.now_ms, &mut scores))
        });
        read?;
        self.sheet
            .add("read", engine.name, seconds * 1e9 / self.keys.len() as f64);

        let mut in_order = self.keys.clone();
        in_order.sort_unstable();
        let (made, seconds) = timed(|| peer.checkpoint(&in_order));
        made?;
        self.sheet.add("checkpoint", engine.name, seconds * 1e3);

        self.reference.check(engine.name, peer.as_ref(), &self.keys)?;
        peer.close()?;
        let (peer, seconds) = timed(|| (engine.open)(&dir, Policy::Written));
        let peer = peer?;
        self.sheet.add("reopen", engine.name, seconds * 1e3);
        self.reference.check(engine.name, peer.as_ref(), &self.keys)?;
        peer.close()
    }

    fn synced_batches(&mut self, engine: &Engine) -> PeerResult<()> {
        self.rate(
            engine,
            "synced-batches",
            Policy::Synced,
            BATCH_LEN,
            self.args.batched,
        )
    }

    fn synced_calls(&mut self, engine: &Engine) -> PeerResult<()> {
        self.rate(engine, "synced-calls", Policy::Synced, 1, self.args.synced)
    }

    fn calls(&mut self, engine: &Engine) -> PeerResult<()> {
        self.rate(engine, "calls", Policy::Written, 1, self.args.calls)
    }

    fn rate(
        &mut self,
        engine: &Engine,
        figure: &'static str,
        policy: Policy,
        batch_len: usize,
        len: usize,
    ) -> PeerResult<()> {
        let dir = self.dir.empty_dir("rate")?;
        let events = &self.events[..len.min(self.events.len())];
        let mut peer = (engine.open)(&dir, policy)?;
        let (recorded, seconds) = timed(|| record(peer.as_mut(), events, batch_len));
        recorded?;
        self.sheet.add(figure, engine.name, events.len() as f64 / seconds);
        // So that the system does not write data of this engine while the next engine is measured.
        peer.sync()?;
        Reference::of(events, self.now_ms).check(engine.name, peer.as_ref(), &keys(events))?;
        peer.close()
    }

    /// Measures the replay of the engines that have a log of events.
    fn replay(&mut self, engine: &Engine) -> PeerResult<()> {
        if engine.name != "tidaldb" && !engine.is_skeleton {
            return Ok(());
        }
        let dir = self.dir.empty_dir("replay")?;
        let mut peer = (engine.open)(&dir, Policy::Written)?;
        record(peer.as_mut(), &self.events, BATCH_LEN)?;
        peer.sync()?;
        // Dropped without a close: the files are as after a kill.
        drop(peer);
        let (peer, seconds) = timed(|| (engine.open)(&dir, Policy::Written));
        let peer = peer?;
        self.sheet
            .add("replay", engine.name, self.events.len() as f64 / seconds);
        self.reference.check(engine.name, peer.as_ref(), &self.keys)
    }

    /// Prints the report as Markdown.
    pub(crate) fn print(&self) {
        println!("# Results\n");
        println!(
            "The same job by tidaldb and by other stores, in one run. Values are medians, with the smallest and \
             largest value of"
        );
        println!(
            "{} rounds. Every final state was compared with sums over the events, to a relative difference of 1e-9.\n",
            self.args.rounds
        );
        println!("- Day: {}", environment::today());
        println!("- Machine: {}", environment::machine(self.dir.path()));
        println!(
            "- Load average before the table was printed: {}",
            environment::load_average()
        );
        println!(
            "- Job: {} events, {} states, in batches of {BATCH_LEN} unless a row says otherwise",
            self.events.len(),
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
            println!("An append and sync of the disk without an engine, in the same rounds:\n");
            println!("{}", self.disk.table());
        }
        println!("Differences between the columns:\n");
        for note in NOTES {
            println!("- {note}");
        }
    }
}

/// Notes on the table.
const NOTES: [&str; 7] = [
    "tidaldb also has its default windows (24 hours, 7 days) and a log of events. The others have only scores.",
    "\"Written\": the operating system has the event when the call returns. LMDB's write-map needs no system call for \
     this. redb has no such state: the event is in redb's memory until the next sync.",
    "SQLite uses a write-ahead log. Rows without a sync use `synchronous = OFF`.",
    "LMDB is used through heed. Rows without a sync use `MDB_NOSYNC`.",
    "Memory: LMDB's value is its map, pages of the file that the system may reclaim. SQLite's value excludes the pages \
     of the file that the system caches. The caches of redb and fjall may grow to their own bounds.",
    "Reopening: tidaldb loads all states into memory; B-trees load states when they are read.",
    "The skeletons show the limit and are not stores: an array, and a file with appended events. They check and \
     recover nothing.",
];

/// Records the events in calls of `batch_len` events.
pub(crate) fn record(peer: &mut dyn Peer, events: &[JobEvent], batch_len: usize) -> PeerResult<()> {
    events.chunks(batch_len).try_for_each(|batch| peer.record(batch))
}

/// The pairs of entity and signal of the events, each once, in random order.
pub(crate) fn keys(events: &[JobEvent]) -> Vec<Key> {
    let pairs = workload::keys(events).into_iter();
    pairs.map(|(entity, signal)| Key { entity, signal }).collect()
}
