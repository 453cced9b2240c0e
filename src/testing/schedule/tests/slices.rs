//! Slices of the explorations that the example `schedules` makes completely.

use super::*;
use crate::Durability;
use crate::testing::lab::programs::{self, POLICIES};

/// Tests of more than a second, which the quick set leaves out.
mod full {
    use super::*;

    #[test]
    fn every_fourth_pair_of_calls_is_right_under_every_schedule_with_one_preemption() {
        for program in programs::pairs(1).into_iter().step_by(4) {
            let report = ScheduleSweep::of(program).preemptions_max(1).run();
            report.expect_clean();
            assert_eq!(report.end, ScheduleSweepEnd::Complete, "{report}");
        }
    }

    #[test]
    fn every_third_pair_of_calls_is_right_with_one_failing_write_or_sync() {
        for (index, program) in programs::pairs(1).into_iter().step_by(3).enumerate() {
            let sweep = ScheduleSweep::of(program).durability(POLICIES[index % 3]);
            sweep.preemptions_max(0).faults(true).run().expect_clean();
        }
    }

    #[test]
    fn each_listed_program_is_right_under_every_schedule_without_preemptions() {
        for (index, program) in programs::listed(12).into_iter().enumerate() {
            let sweep = ScheduleSweep::of(program)
                .durability([Durability::EverySynced, Durability::OperatingSystem][index % 2]);
            sweep.preemptions_max(0).run().expect_clean();
        }
    }

    #[test]
    fn larger_programs_are_right_under_random_schedules() {
        for seed in 0..20 {
            let sweep = ScheduleSweep::of(programs::random(seed)).durability(POLICIES[(seed % 3) as usize]);
            sweep.faults(true).random(seed, 8).run().expect_clean();
        }
    }
}
