//! A program that opens, records, checkpoints and reads. `.ci/production` searches its binary for traces of the test
//! kit.

use std::error::Error;

use tidaldb::{CohortId, EntityId, Options, Schema, Signal, SignalEvent, TidalDb, UserId};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: probe DIRECTORY")?;
    let schema = Schema::new()
        .signal(
            Signal::new("view")
                .half_life_ms(3_600_000)
                .half_life_ms(86_400_000),
        )
        .signal(Signal::new("like").half_life_ms(3_600_000).positive());
    let db = TidalDb::open(path, Options::new(schema))?;
    let (view, like) = (db.signal("view")?, db.signal("like")?);
    let at_ms = 1_700_000_000_000;
    let cohorts = [CohortId(1)];
    db.record(&SignalEvent::new(view, EntityId(1), at_ms).with_cohorts(&cohorts))?;
    db.record_batch(&[
        SignalEvent::new(like, EntityId(1), at_ms).with_user(UserId(1)),
        SignalEvent::new(like, EntityId(2), at_ms).with_user(UserId(1)),
    ])?;
    if !db.collections()?.iter().any(|name| name == b"saved") {
        db.create_collection("saved")?;
    }
    db.add_to_collection("saved", EntityId(1))?;
    db.remove_from_collection("saved", EntityId(1))?;
    let covered = db.checkpoint()?;
    let score = db.score(EntityId(1), view, 0, at_ms)?;
    let related = db.related(EntityId(1), 3, at_ms)?;
    db.close()?;
    println!("checkpoint covers {covered}, score {score}, related {related:?}");
    Ok(())
}
