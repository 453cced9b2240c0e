#[test]
fn a_replayed_case_has_no_finding_doubled() {
    sweep().replay("tidaldb-replay: work=driven:watch%20list durability=every-synced crash=CollectionIndexUpdate#1 mode=kill").unwrap();
}
