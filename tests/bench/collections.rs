//! Benchmarks of collections: the time of an add, the time of an open, and the memory for each member, each in a
//! separate process.
//!
//! Dense ids are consecutive numbers. Random ids are spread over all 64 bits.

use std::path::Path;

use tidaldb::{Durability, EntityId, TidalDb};

use crate::args::BenchArgs;
use crate::board::FigureUnit::{Bytes, Milliseconds, Nanoseconds};
use crate::environment::resident_bytes;
use crate::growth::Curves;
use crate::stopwatch::timed;
use crate::{Bench, Measured, engine, memory};

const NAME: &str = "collection 0";
/// The number of members of each of the other collections.
const OTHER_LEN: usize = 1000;
/// The number of measured adds to a collection in a database with other collections.
const ADDS_LEN: usize = 20_000;

/// The id with this number: the number itself, or its hash by `SplitMix64`. Different numbers have different hashes.
fn id(number: usize, is_random: bool) -> EntityId {
    let number = number as u64;
    if !is_random {
        return EntityId(number);
    }
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    EntityId(mixed ^ (mixed >> 31))
}

fn open(dir: &Path) -> Result<TidalDb, tidaldb::Error> {
    engine::open_without_checkpoints(dir, Durability::OperatingSystem)
}

/// Adds members one by one in one child process, and opens the database again in another.
pub(crate) fn members(bench: &Bench, curves: &mut Curves, size: usize) -> Measured {
    for (names, added, opened) in [
        (DENSE, "members-dense", "members-opened"),
        (RANDOM, "members-random", "members-opened"),
    ] {
        let dir = bench.dir.empty_dir("growth")?;
        let figures = [
            memory::start(added, &dir, size)?,
            memory::start(opened, &dir, size)?,
        ]
        .concat();
        let each = |name: &str| Ok::<_, String>(memory::figure(&figures, name)? / size as f64);
        curves.add(names[0], "members", Nanoseconds, size, each("ns to add")?);
        curves.add(names[1], "members", Bytes, size, each("bytes added")?);
        curves.add(names[2], "members", Bytes, size, each("bytes opened")?);
        curves.add(names[3], "members", Bytes, size, each("bytes counted")?);
        curves.add(
            names[4],
            "members",
            Milliseconds,
            size,
            memory::figure(&figures, "ns to open")? / 1e6,
        );
    }
    Ok(())
}

const DENSE: [&str; 5] = [
    "dense members: time of one add",
    "dense members: VmRSS for each, added one by one",
    "dense members: VmRSS for each, reopened",
    "dense members: for each, the engine's own count",
    "dense members: time to open",
];
const RANDOM: [&str; 5] = [
    "random members: time of one add",
    "random members: VmRSS for each, added one by one",
    "random members: VmRSS for each, reopened",
    "random members: for each, the engine's own count",
    "random members: time to open",
];

/// The time of one add to a small collection. The other collections of the database have `size` members.
pub(crate) fn add_with_others(bench: &Bench, curves: &mut Curves, size: usize) -> Measured {
    let db = open(&bench.dir.empty_dir("growth")?)?;
    for first in (0..size).step_by(OTHER_LEN) {
        let name = format!("other {first}");
        db.create_collection(&name)?;
        for number in first..size.min(first + OTHER_LEN) {
            db.add_to_collection(&name, id(number, true))?;
        }
    }
    db.create_collection(NAME)?;
    let (added, seconds) = timed(|| add(&db, ADDS_LEN, true));
    added?;
    let name = "one add with other collections";
    curves.add(
        name,
        "members of others",
        Nanoseconds,
        size,
        seconds * 1e9 / ADDS_LEN as f64,
    );
    Ok(())
}

fn add(db: &TidalDb, len: usize, is_random: bool) -> Measured {
    for number in 0..len {
        if !db.add_to_collection(NAME, id(number, is_random))? {
            return Err("the collection had the member before".into());
        }
    }
    Ok(())
}

/// The measurement `name`, in a child process that was started for it.
pub(crate) fn child(args: &BenchArgs, name: &str) -> Measured {
    let print = |name: &str, value: f64| println!("{name}\t{value}");
    if name == "members-opened" {
        let before = resident_bytes();
        let (db, seconds) = timed(|| open(&args.dir));
        let db = db?;
        print("bytes opened", (resident_bytes() - before) as f64);
        print("ns to open", seconds * 1e9);
        let found = db.collection_len(NAME)?;
        return if found == args.events as u64 {
            Ok(())
        } else {
            Err(format!(
                "the reopened collection has {found} members instead of {}",
                args.events
            )
            .into())
        };
    }
    let db = open(&args.dir)?;
    db.create_collection(NAME)?;
    let before = resident_bytes();
    let (added, seconds) = timed(|| add(&db, args.events, name == "members-random"));
    added?;
    print("bytes added", (resident_bytes() - before) as f64);
    print("bytes counted", db.statistics()?.collections_bytes as f64);
    print("ns to add", seconds * 1e9);
    Ok(db.close()?)
}
