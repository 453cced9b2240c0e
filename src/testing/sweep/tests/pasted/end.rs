#[test]
fn a_replayed_case_has_no_finding_acknowledged_before_durable() {
    tidaldb::testing::replay("tidaldb-replay: work=ops:create:a;checkpoint durability=operating-system crash=end mode=kill").unwrap();
}
