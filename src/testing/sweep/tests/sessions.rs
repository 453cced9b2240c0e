//! Sweeps of work in several sessions.

use super::*;

#[test]
fn a_power_loss_after_every_call_of_every_session_keeps_every_promise() {
    for seed in 1..=8 {
        let report = CrashSweep::sessions(seed, 40).images_max(32).run();
        println!("seed {seed}: {report}");
        report.expect_clean();
    }
}
