use crate::testing::lab::programs;
use crate::testing::schedule::Program;

#[test]
fn the_text_of_each_program_parses_back() {
    let random = (0..50).map(programs::random);
    for program in programs::pairs(2)
        .into_iter()
        .chain(programs::listed(3))
        .chain(random)
    {
        let parsed: Program = program.to_string().parse().unwrap();
        assert_eq!(parsed, program);
    }
}

#[test]
fn the_listed_programs_have_every_pair_and_at_least_fifty_larger_ones() {
    assert_eq!(programs::pairs(1).len(), 36);
    let listed = programs::listed(1);
    assert!(listed.len() >= 50, "{}", listed.len());
    for program in &listed {
        assert!((2..=6).contains(&program.calls_len()), "{program}");
    }
    assert!(listed.iter().any(|program| program.calls_len() == 6));
}

#[test]
fn random_programs_have_up_to_four_threads_and_up_to_17_calls() {
    let programs: Vec<Program> = (0..200).map(programs::random).collect();
    let threads_max = programs.iter().map(|program| program.threads.len()).max();
    let calls_max = programs.iter().map(Program::calls_len).max();
    assert_eq!((threads_max, calls_max), (Some(4), Some(17)));
}
