use super::*;
use crate::testing::workload::Random;

const SEED: u64 = 0x0050_4c41_4e53;

fn any_mode(random: &mut Random) -> CrashMode {
    let modes = [CrashMode::Panic, CrashMode::Abort, CrashMode::Kill];
    if random.chance(1, 3) {
        return random.pick(&modes).clone();
    }
    let texts = [
        "synced".to_owned(),
        "all".to_owned(),
        format!("prefix:{}", random.below(500)),
        format!("prefix:{}=3n1g", random.below(500)),
        format!("drop:{},900=2o3n", random.below(500)),
        format!("only:{}=1n2s3g1z", random.below(500)),
        format!("only:{}", random.below(500)),
        format!("random:{}", random.next_u64()),
    ];
    CrashMode::PowerLoss(random.pick(&texts).parse().expect("a choice"))
}

fn any_plan(random: &mut Random) -> Plan {
    let work = match random.below(3) {
        0 => Work::Standard {
            seed: random.next_u64(),
            operations_len: random.below(100) as usize,
        },
        1 => Work::Operations(Workload::standard(random.next_u64(), random.below(25) as usize)),
        _ => Work::Driven((*random.pick(&["mine", "with space", "50 % ä;\n", ""])).to_owned()),
    };
    let policies = [
        Durability::EverySynced,
        Durability::OperatingSystem,
        Durability::SyncedEvery {
            interval_ms: random.next_u64(),
        },
    ];
    let mut plan = Plan::new(work).durability(*random.pick(&policies));
    if random.chance(1, 2) {
        plan = plan.sector_bytes(1 + random.below(8192) as u32);
    }
    for _ in 0..random.below(CRASHES_MAX as u64 + 1) {
        let site = match random.below(6) {
            5 => Site::Fault {
                ordinal: random.next_u64(),
                fault: *random.pick(IoFault::ALL),
                after: *random.pick(&[FaultEnd::Call, FaultEnd::Run]),
            },
            0 | 1 => Site::Point {
                point: *random.pick(&CrashPoint::ALL),
                crossing: random.next_u64(),
            },
            2 | 3 => Site::Disk {
                ordinal: random.next_u64(),
                side: *random.pick(&Side::ALL),
            },
            _ => Site::End,
        };
        plan = plan.crash(site, any_mode(random));
    }
    plan
}

#[test]
fn every_replay_line_is_one_line_and_parses_to_its_plan() {
    let mut random = Random::new(SEED);
    for index in 0..500 {
        let plan = any_plan(&mut random);
        let line = plan.replay_line();
        assert!(!line.contains('\n'), "seed {SEED}, plan {index}: {line}");
        assert_eq!(
            line.parse::<Plan>().as_ref(),
            Ok(&plan),
            "seed {SEED}, plan {index}: {line}"
        );
        assert_eq!(plan.to_string().parse(), Ok(plan), "seed {SEED}, plan {index}");
    }
}

#[test]
fn text_before_the_replay_prefix_is_ignored() {
    let plan = Plan::standard(1, 2).crash_at(CrashPoint::WalPreAggregate, 0);
    let line = format!("  left: {}", plan.replay_line());
    assert_eq!(line.parse(), Ok(plan));
}

#[test]
fn the_error_for_an_invalid_plan_names_the_wrong_part() {
    let whole = "work=standard:1:2 durability=every-synced crash=WalPreAggregate#0 mode=kill";
    for (from, to, part) in [
        ("work=", "job=", "job=standard:1:2"),
        ("standard:1:2", "standard:1", "standard:1"),
        ("standard:1:2", "standard:1:1000001", "standard:1:1000001"),
        ("standard:1:2", "ops:sink", "sink"),
        ("standard:1:2", "driven:%2", "driven:%2"),
        ("every-synced", "synced-every:", "synced-every:"),
        ("WalPreAggregate#0", "WalPre#0", "WalPre#0"),
        ("WalPreAggregate#0", "disk#0", "disk#0"),
        ("mode=kill", "mode=some", "some"),
        ("mode=kill", "mode=power-loss:some", "some"),
        ("mode=kill", "mode=power-loss", "power-loss"),
        (" mode=kill", "", ""),
        ("mode=kill", "mode=kill more", "more"),
    ] {
        let text = whole.replace(from, to);
        let error = text.parse::<Plan>().expect_err(&text);
        assert_eq!(error.part, part, "{text}: {error}");
    }
    let four = format!(
        "{whole}{}",
        " crash=disk#1:after mode=power-loss:synced".repeat(3)
    );
    assert!(four.parse::<Plan>().is_err(), "{four}");
}
