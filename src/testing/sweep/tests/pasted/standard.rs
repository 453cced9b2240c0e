#[test]
fn a_replayed_crash_is_not_lost() {
    tidaldb::testing::replay("tidaldb-replay: work=standard:7:20 durability=every-synced crash=WalPostAggregate#3 mode=power-loss:synced").unwrap();
}
