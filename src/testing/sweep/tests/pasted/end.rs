#[test]
fn a_replayed_crash_is_not_acknowledged_before_durable() {
    tidaldb::testing::replay("tidaldb-replay: work=ops:create:a;checkpoint durability=operating-system crash=end mode=kill").unwrap();
}
