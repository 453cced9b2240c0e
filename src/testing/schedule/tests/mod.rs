use super::*;

#[test]
fn try_pairs() {
    let before = "record@1700000000000:0,1,1700000000000,1.5;create:a;add:a,1";
    let calls = [
        ("record", "record@1700000000500:0,2,1700000000500,2.25"),
        (
            "batch",
            "record@1700000000600:0,1,1700000000600,3.25+1,2,1700000000600,1.0,u1,c1",
        ),
        ("add", "add:a,7"),
        ("sync", "sync"),
        ("checkpoint", "checkpoint"),
        ("forget", "forget-entity:1"),
        ("close", "close"),
        ("read", "read:1"),
    ];
    let faults = std::env::var("FAULTS").is_ok();
    for (i, (na, a)) in calls.iter().enumerate() {
        for (nb, b) in &calls[i..] {
            if let Ok(only) = std::env::var("ONLY") {
                if only != format!("{na}-{nb}") {
                    continue;
                }
            }
            let program: Program = format!("{before}|{a}|{b}").parse().unwrap();
            let report = ScheduleSweep::of(program).faults(faults).run();
            println!("{na} {nb}: {report}");
        }
    }
}
