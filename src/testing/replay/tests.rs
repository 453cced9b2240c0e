use super::*;

#[test]
fn the_prefix_of_a_line_decides_between_a_crash_and_a_schedule() {
    let crash = "at a commit: tidaldb-replay: work=ops:create:a durability=every-synced crash=end mode=kill";
    assert!(matches!(replay(crash).unwrap(), ReplayedLine::Crash(_)));
    let schedule = "at a commit: tidaldb-schedule: program=create:a|add:a,1|add:a,2 durability=every-synced \
                    background=own-threads schedule=default";
    let ReplayedLine::Schedule(replayed) = replay(schedule).unwrap() else {
        panic!("the line has a schedule");
    };
    assert!(replayed.steps > 10, "{replayed:?}");
}

#[test]
fn a_truncated_line_is_an_error_and_not_a_run_without_a_finding() {
    let line =
        "tidaldb-schedule: program=|sync|sync durability=every-synced background=caller schedule=default";
    drop(replay(line).unwrap());
    for (end, _) in line.match_indices(' ') {
        let failure = replay(&line[..end]).unwrap_err();
        assert!(matches!(failure, ReplayFailure::NotASchedule(_)), "{failure}");
        assert!(failure.to_string().contains("has no field"), "{failure}");
        assert!(failure.failure().is_none(), "{failure}");
    }
}
