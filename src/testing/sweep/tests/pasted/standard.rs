#[test]
fn a_replayed_case_has_no_finding_lost() {
    tidaldb::testing::replay("tidaldb-replay: work=standard:7:20 durability=every-synced crash=WalPostAggregate#3 mode=power-loss:synced").unwrap();
}
