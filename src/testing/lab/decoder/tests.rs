use std::path::Path;

use super::repair::ID;
use super::*;
use crate::testing::workload::Random;
use crate::wal::frame::FrameHeader;
use crate::wal::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};

const SEED: u64 = 0x6465_636f_6465;
/// The number of changed inputs for each decoder in these tests. `tests/fuzz` tries more, guided by coverage.
const CHANGED_LEN: u64 = 1000;

/// Makes one change of the kinds that a fuzzer makes.
fn change(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = random.below(bytes.len() as u64 + 1) as usize;
    let odd = [0, 1, 0x7f, 0x80, 0xff];
    match random.below(7) {
        0 => bytes.truncate(at),
        1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        2 if at < bytes.len() => bytes[at] = *random.pick(&odd),
        3 => bytes.insert(at, *random.pick(&odd)),
        4 => {
            let end = (at + 8).min(bytes.len());
            let filler = *random.pick(&odd);
            bytes[at..end].fill(filler);
        }
        5 => {
            let from = random.below(other.len() as u64 + 1) as usize;
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        _ => drop(bytes.splice(at..at, [0; 4])),
    }
}

#[test]
fn every_decoder_has_a_unique_name_and_is_found_by_it() {
    for &decoder in Decoder::ALL {
        let of_name = Decoder::ALL.iter().filter(|other| other.name() == decoder.name());
        assert_eq!(of_name.count(), 1, "{decoder}");
        let found = Decoder::of_name(decoder.name()).map(Decoder::name);
        assert_eq!(found, Some(decoder.name()));
        assert_eq!(decoder.to_string(), decoder.name());
    }
    assert!(Decoder::of_name("no decoder").is_none());
}

#[test]
fn a_repaired_file_is_decoded_up_to_its_first_unrepaired_part() {
    // Frames and records with random content pass the checks of headers, so a fuzzer explores the content.
    let mut random = Random::new(SEED);
    let mut noise: Vec<u8> = (0..400).map(|_| random.next_u64() as u8 & 0x7f).collect();
    let segment = repair::segment(&noise);
    let (header, seed) = SegmentHeader::decode(&segment, Path::new("segment"), ID).unwrap();
    assert_eq!(header.first_sequence, 1);
    let frame = FrameHeader::decode(&segment[SEGMENT_HEADER_BYTES..], seed).unwrap();
    assert!(frame.payload(&segment[SEGMENT_HEADER_BYTES..]).is_some());
    assert_eq!(frame.sequence, 1);
    assert!(database::store(&noise));
    // A set bit leaves the first frame and all later ones unrepaired.
    noise[SEGMENT_HEADER_BYTES + 7] |= 0x80;
    assert!(FrameHeader::decode(&repair::segment(&noise)[SEGMENT_HEADER_BYTES..], seed).is_none());
}

/// Tests of more than a second, which the quick set leaves out.
mod full {
    use super::*;

    #[test]
    fn every_decoder_accepts_its_seeds_and_refuses_some_changed_seeds_without_a_panic() {
        for decoder in Decoder::ALL {
            let mut random = Random::new(SEED);
            let seeds = decoder.seeds();
            assert!(!seeds.is_empty(), "{decoder} has no seed");
            assert!(seeds.iter().all(|seed| decoder.run(seed)), "{decoder}");
            let mut accepted = 0;
            for _ in 0..CHANGED_LEN {
                let mut bytes = random.pick(&seeds).clone();
                for _ in 0..=random.below(4) {
                    let other = random.pick(&seeds).clone();
                    change(&mut random, &mut bytes, &other);
                }
                accepted += u64::from(decoder.run(&bytes));
            }
            println!(
                "{decoder:<18} {:>3} seeds, {accepted:>4} of {CHANGED_LEN} accepted",
                seeds.len()
            );
            assert!(accepted < CHANGED_LEN, "{decoder} refuses nothing");
        }
    }
}
