//! The rule for limits: the limits inside the engine are fields of [`Limits`](crate::limits::Limits).
//!
//! Each number of the engine that is not small may be a limit. So it must be in `src/limits.rs`, or in a list here. A list
//! gives the reason why its numbers are no limits, or why they cannot be fields.

use std::collections::BTreeSet;

use super::code::{code_of, is_part_of_word};
use super::hooks::production_files;
use super::{Rule, Sources};

/// Numbers up to this value are small.
const SMALL_MAX: u128 = 8;
const NUMERIC: [&str; 10] = [
    "u8", "u16", "u32", "u64", "u128", "usize", "i32", "i64", "f64", "Duration",
];
/// Names of numbers, which the search for digits does not find.
const NAMED: [&str; 6] = [
    "u8::MAX",
    "u8::BITS",
    "u16::MAX",
    "u16::BITS",
    "i8::MAX",
    "i16::MAX",
];

/// Limits that a format or an array fixes. The table of thresholds has a row for each of them, and a large run exceeds
/// it.
pub(crate) const SIZES: &[&str] = &[
    "src/entities/co_engagement/table.rs FENCE_SHARDS",
    "src/limits.rs CHANGED_LEN_MIN",
    "src/limits.rs INDEX_PLACES_MIN",
    "src/cells/mod.rs PAGE_SLOTS",
    "src/states/key.rs SHARDS",
];

/// Files of arithmetic: tables, polynomials, shifts of bits.
const ARITHMETIC: [&str; 4] = [
    "src/codec/crc32c.rs",
    "src/codec/mix.rs",
    "src/codec/mod.rs",
    "src/decay.rs",
];

/// Constants and numbers that are not limits, by file.
const LISTED: &str = "
layout of files, records and keys
src/cohort/mod.rs TAG
src/db/identity.rs VERSION
src/db/opening_record.rs VERSION
src/entities/co_engagement/codec.rs NODE_TAG USER_TAG META_TAG TOMBSTONE_TAG STAMP_BYTES NODE_HEAD_BYTES EDGE_BYTES ITEM_BYTES
src/fs/names.rs NAME_DIGITS 10
src/schema/mod.rs VERSION FLAG_POSITIVE FLAG_NEGATIVE_WEIGHTS
src/signals/checkpoint/record.rs VERSION
src/states/key.rs TAG
src/states/page.rs VERSION KEY_TAG KEY_SIGNAL KEY_SHARD KEY_PAGE KEY_BYTES
src/states/stored.rs VARINT_BYTES_MAX
src/signals/warm.rs NEWEST_CELLS
src/storage/file/format.rs VERSION CRC_LEN FILE_HEADER_SUMMED_LEN RECORD_HEADER_SUMMED_LEN ENTRY_HEADER_LEN SYNCED_OFFSET
src/storage/file/format.rs ALIGNMENT FILE_HEADER_LEN RECORD_HEADER_LEN ENTRY_OVERHEAD_LEN REMOVAL
src/storage/keys.rs CHECKSUM_BYTES 0x10 0x20 0x30 0x31 0x32 0x33 0x40 0x41
src/wal/frame.rs KIND_OFFSET SEQUENCE_OFFSET SYNCED_OFFSET PAYLOAD_CHECKSUM_OFFSET HEADER_CHECKSUM_OFFSET
src/wal/frame.rs FRAME_HEADER_BYTES FRAME_ALIGN
src/wal/payload.rs EVENTS_HEADER_BYTES EVENT_FIXED_BYTES FLAG_USER FORGET_ENTITY FORGET_USER 16 24 26 27
src/wal/segment.rs VERSION VERSION_OFFSET DATABASE_ID_OFFSET FIRST_SEQUENCE_OFFSET PREVIOUS_FIRST_OFFSET
src/wal/segment.rs PREVIOUS_END_OFFSET OPENING_OFFSET HISTORY_OFFSET CHECKSUM_OFFSET SEGMENT_HEADER_BYTES

the largest legal value on disk: a larger one is damage
src/db/collections/index.rs NUMBER_MAX
src/entities/co_engagement/codec.rs ORDINAL_MAX
src/entities/co_engagement/node.rs WEIGHT_MIN
src/states/page.rs SCORE_ABS_MAX
src/storage/file/data_file.rs NUMBER_MAX
src/wal/segment.rs SEQUENCE_MAX

an estimate of bytes, which changes no content
src/entities/co_engagement/codec.rs AROUND_BYTES_MAX
src/storage/file/index.rs FULL_NODE_ENTRIES_LEN NODE_ENTRIES_LEN NODE_BYTES 16 32
src/states/page.rs 64
src/states/stored.rs PAGE_BYTES_MAX BUCKET_BYTES_MAX

the length above which a file header is a small part of a file: shorter files are not divided
src/storage/file/bounds.rs FILE_BYTES_MIN

the largest value of a field of `Limits`
src/limits.rs GROUPED_CHANGES_LEN_MAX ZEROS_BYTES_MAX EARLIER_OPENINGS_LEN_MAX BLOCK_IDS_MAX

a mark, or the number of one part
src/entities/co_engagement.rs META_SHARD
src/poison.rs SOUND READABLE UNREADABLE
src/signals/hot.rs TIME_NONE
src/states/chains.rs END
src/states/index.rs VACANT

a wait of threads, which changes no content
src/fs/real/lock.rs TRIES PAUSE
src/sync.rs TRIES_MAX SPINS_PER_TRY
src/wal/log.rs YIELDS_MAX

the default of an option
src/options.rs 64<<20 1<<20 16<<20 3_600_000
src/schema/co_engagement.rs 32 64 86_400_000 1_000_000
src/schema/mod.rs HOUR_MS 24
src/storage/file/options.rs 4<<20

bits of hashes and of cells, lines of the processor's cache
src/states/key.rs 0x9e37_79b9_7f4a_7c15 0xd6e8_feb8_6659_fd93_u128 23
src/states/mod.rs 128
src/signals/warm.rs LINE_CELLS
src/entities/co_engagement/table.rs GOLDEN SHIFT
";

pub(super) const RULE: Rule = Rule {
    name: "a number of the engine that is not small is a limit, or is listed as no limit",
    findings,
    planted: &[
        "src/signals/ledger/core.rs | iter().map(Change::from) | iter().take(256).map(Change::from) | core.rs 256 is not listed",
        "src/db/handle.rs |  | const CALLS_MAX: u64 = 3;\n | handle.rs CALLS_MAX is not listed",
        "src/db/handle.rs |  | impl TidalDb {\n    pub(crate) const TURNS: usize = OTHER * 2;\n}\n | handle.rs TURNS is not listed",
        "src/db/handle.rs |  | fn f() {\n    static PAUSE: Duration = OTHER;\n}\n | handle.rs PAUSE is not listed",
        "src/db/handle.rs |  | const NONE: Self = Self { len: 0x1_00 };\n | handle.rs 0x1_00 is not listed",
        "src/db/read.rs |  | fn f() {\n    g.chunks(1 << 10);\n}\n | read.rs 1<<10 is not listed",
        "src/db/read.rs |  | fn f() {\n    (0..17).map(g);\n}\n | read.rs 17 is not listed",
        "src/db/read.rs |  | fn f() {\n    if n > 9_u64 {}\n}\n | read.rs 9_u64 is not listed",
        "src/db/read.rs |  | fn f() {\n    g.take(usize::from(u8::MAX));\n}\n | read.rs u8::MAX is not listed",
        "src/limits.rs |  | pub(crate) const CALLS_MAX: u64 = 3;\n | limits.rs CALLS_MAX is not listed",
        "src/wal/log.rs | const YIELDS_MAX: | const YIELDS: | log.rs YIELDS_MAX is listed but missing",
        "src/storage/file/options.rs | 4 << 20 | OTHER | options.rs 4<<20 is listed but missing",
    ],
};

fn findings(sources: &Sources) -> Vec<String> {
    let mut found = BTreeSet::new();
    for (file, lines) in production_files(sources) {
        if file == "src/limits.rs" {
            let is_inside = |line: &&&str| line.starts_with("pub(crate) const ");
            let inside = lines.iter().filter(is_inside).filter_map(|line| constant(line));
            found.extend(inside.map(|(name, _)| format!("{file} {name}")));
        } else {
            found.extend(numbers_of(file, &lines));
        }
    }
    let mut listed: BTreeSet<String> = SIZES.iter().map(|&size| size.to_owned()).collect();
    for line in LISTED.lines().filter(|line| line.starts_with("src/")) {
        let (file, names) = line.split_once(' ').unwrap_or((line, ""));
        listed.extend(names.split_whitespace().map(|name| format!("{file} {name}")));
    }
    let unlisted = found
        .difference(&listed)
        .map(|number| format!("{number} is not listed"));
    let missing = listed
        .difference(&found)
        .map(|number| format!("{number} is listed but missing"));
    unlisted.chain(missing).collect()
}

/// The names of the constants with a numeric type, and the numbers outside of constants, each after its file.
fn numbers_of(file: &str, lines: &[&str]) -> Vec<String> {
    if ARITHMETIC.contains(&file) {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut in_constant = false;
    for line in lines {
        let code = code_of(line);
        if let Some((name, kind)) = constant(&code) {
            in_constant = name == "_" || NUMERIC.contains(&kind);
            if in_constant && name != "_" {
                found.push(format!("{file} {name}"));
            }
        }
        if !in_constant {
            found.extend(
                numbers(&code)
                    .into_iter()
                    .map(|number| format!("{file} {number}")),
            );
        }
        in_constant &= !code.trim_end().ends_with(';');
    }
    found
}

/// The name and the type of the constant that a line declares.
fn constant(code: &str) -> Option<(&str, &str)> {
    let mut words = code
        .split_whitespace()
        .skip_while(|word| word.starts_with("pub") || word.ends_with(')'));
    let is_constant = matches!(words.next()?, "const" | "static");
    let name = words.next()?.strip_suffix(':')?;
    let kind = words.next().unwrap_or_default().trim_end_matches(';');
    is_constant.then_some((name, kind))
}

/// The numbers in `code` that are not small. A shift of a number by a number counts as one number. The right side of
/// any other shift and the number of a tuple's field do not count.
fn numbers(code: &str) -> Vec<String> {
    let named = NAMED.iter().filter(|name| code.contains(*name));
    let mut found: Vec<String> = named.map(|&name| name.to_owned()).collect();
    let mut rest = code;
    while let Some(start) = rest.find(|letter: char| letter.is_ascii_digit()) {
        let offset = code.len() - rest.len() + start;
        let before = &code[..offset];
        let len = code[offset..]
            .find(|letter| !is_part_of_word(letter))
            .unwrap_or(code.len() - offset);
        let text = &code[offset..offset + len];
        rest = &code[offset + len..];
        let is_name = before.ends_with(is_part_of_word) || before.ends_with('\'');
        let is_field = before.ends_with('.') && !before.ends_with("..");
        let is_shift = before.trim_end().ends_with("<<") || before.trim_end().ends_with(">>");
        if is_name || is_field || is_shift {
            continue;
        }
        let shift = rest.trim_start().strip_prefix("<<").map(str::trim_start);
        let shift = shift.and_then(|shift| shift.split(|letter| !is_part_of_word(letter)).next());
        match shift.filter(|shift| shift.starts_with(|letter: char| letter.is_ascii_digit())) {
            Some(shift) => found.push(format!("{text}<<{shift}")),
            None if value(text) > SMALL_MAX => found.push(text.to_owned()),
            None => {}
        }
    }
    found
}

fn value(text: &str) -> u128 {
    let text = text.replace('_', "");
    if let Some(digits) = text.strip_prefix("0x") {
        let digits = digits.split(|letter: char| !letter.is_ascii_hexdigit()).next();
        return digits
            .and_then(|digits| u128::from_str_radix(digits, 16).ok())
            .unwrap_or(u128::MAX);
    }
    let digits = text.split(|letter: char| !letter.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(u128::MAX)
}
