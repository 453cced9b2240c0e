//! Choices of images: their text form, and the choices of an enumeration.

use std::collections::BTreeSet;

use super::{choice, create, disk_with_sectors, image_of, open, path, write};
use crate::fs::FileAccess;
use crate::testing::sim_disk::{DiskModel, Image, ImageChoice, Piece, SimDisk, Tear};

#[test]
fn the_text_of_every_choice_parses_to_the_same_choice() {
    let texts = "synced all prefix:0 prefix:17 prefix:17=3n1g drop: drop:3 drop:3,17=3n1g,18=kept only: \
                 only:3,17=1o2z,18=lost random:18446744073709551615";
    for text in texts.split(' ') {
        let parsed: ImageChoice = text.parse().unwrap();
        assert_eq!(parsed.to_string(), text);
    }
}

#[test]
fn the_error_of_an_invalid_text_contains_the_text() {
    let texts = "|none|prefix|prefix:|prefix:x|prefix:1=|prefix:1=n|prefix:1=0n|prefix:1=2q|drop|drop:1,|\
               drop:,1|drop:1=|drop:1,1|drop@1:2|only:1=3|only:-1|random:|random:1,2|synced:1| all|\
               prefix:1=99999999999n";
    for text in texts.split('|') {
        let error = text.parse::<ImageChoice>().unwrap_err();
        assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
    }
}

#[test]
fn pieces_after_the_last_range_of_a_tear_are_old() {
    use Piece::{Garbage, New, Old, Zeros};
    let tear = Tear::new([(2, New), (0, Zeros), (1, Garbage)]);
    let pieces: Vec<_> = (0..5).map(|index| tear.piece(index)).collect();
    assert_eq!(pieces, [New, New, Garbage, Old, Old]);
    assert_eq!(Tear::new([]).to_string(), "1o");
}

/// A disk with pending writes to two files and a pending renaming.
fn busy_disk(writes: usize) -> SimDisk {
    let mut image = image_of("/a", &[b'.'; 64]);
    image.insert_file("/b", vec![b'.'; 64]);
    let disk = disk_with_sectors(16, &image);
    let a = open(&disk, "/a");
    let b = open(&disk, "/b");
    for index in 0..writes {
        let file = if index % 2 == 0 { &a } else { &b };
        write(file, &[b'a' + index as u8; 20], 20 * (index as u64 / 2));
    }
    disk.rename(path("/b"), path("/c")).unwrap();
    disk
}

fn images(disk: &SimDisk, choices: &[ImageChoice]) -> BTreeSet<u128> {
    let hash = |choice| {
        let hash = disk.image_hash(choice);
        assert_eq!(hash, disk.image(choice).hash(), "{choice}");
        hash
    };
    choices.iter().map(hash).collect()
}

#[test]
fn a_disk_without_undurable_changes_has_one_image() {
    let disk = SimDisk::from_image(&image_of("/f", b"x"));
    for &model in DiskModel::ALL {
        let choices = disk.choices(model, 10, 0);
        assert_eq!(choices.choices, [ImageChoice::Synced]);
        assert_eq!(choices.to_string(), "1 images, 0 left out");
    }
}

#[test]
fn a_small_set_of_images_is_enumerated_completely_and_without_duplicates() {
    let disk = busy_disk(2);
    let choices = disk.choices(DiskModel::WEAKEST, 1_000, 0);
    // Each write has the fates lost, kept, and at least three tears. The renaming has the fates lost and kept.
    assert_eq!(choices.left_out, 0);
    let distinct: BTreeSet<_> = choices.choices.iter().collect();
    assert_eq!(distinct.len(), choices.choices.len());
    assert_eq!(images(&disk, &choices.choices).len(), choices.choices.len());
}

#[test]
fn a_write_of_whole_sectors_has_one_piece_for_each_sector() {
    let disk = disk_with_sectors(16, &image_of("/f", &[b'.'; 64]));
    let file = open(&disk, "/f");
    write(&file, &[b'x'; 32], 16);
    let choices = disk.choices(DiskModel::WEAKEST, 100, 0);
    let texts: Vec<_> = choices.choices.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "synced",
            "all",
            "only:0=1n",
            "only:0=1o1n",
            "only:0=1g",
            "only:0=2g",
            "only:0=1n1g",
            "only:0=1g1n",
        ]
    );
}

#[test]
fn a_write_of_three_sectors_has_every_tear_at_every_position() {
    let disk = disk_with_sectors(16, &image_of("/f", &[b'.'; 64]));
    write(&open(&disk, "/f"), &[b'x'; 48], 0);
    let texts = |choices_max| -> BTreeSet<String> {
        let choices = disk.choices(DiskModel::WEAKEST, choices_max, 0).choices;
        let tears = choices.iter().map(ToString::to_string);
        tears
            .filter_map(|text| Some(text.strip_prefix("only:0=")?.to_owned()))
            .collect()
    };
    let expected = "1n 2n 1o2n 2o1n 1n1o1n 1o1n 1g 2g 3g 1n1g 1n2g 2n1g 1g2n 2g1n 1n1g1n";
    assert_eq!(texts(100), expected.split(' ').map(str::to_owned).collect());
}

#[test]
fn each_kind_of_tear_of_a_long_write_is_tried_if_a_bound_excludes_some_tears() {
    let mut image = image_of("/f", &[b'.'; 16]);
    image.insert_file("/removed", vec![b'x'; 400]);
    let disk = disk_with_sectors(16, &image);
    disk.remove(path("/removed")).unwrap();
    disk.sync_dir(path("/")).unwrap();
    write(&open(&disk, "/f"), &[b'x'; 160], 16);
    for model in DiskModel::EVERY_IMAGE {
        let chosen = disk.choices(*model, 64, 0);
        assert!(chosen.left_out > 0, "{model}");
        let texts: Vec<_> = chosen.choices.iter().map(ToString::to_string).collect();
        for tear in [
            // A lost end, a lost beginning, a gap, only a middle.
            "=5n", "=6o4n", "=5n1o4n", "=5o1n", "=1n8o1n", "=1o8n",
            // Garbage in one sector and in several sectors, before missing pieces and before written pieces.
            "=5n1g", "=10g", "=9n1g", "=5n1g4n", "=9g1n", // A length without content.
            "=5n5z", "=10z", "=5n1s4n", "=10s", "=9n1s",
        ] {
            assert!(
                texts.iter().any(|text| text.ends_with(tear)),
                "{model}: {tear} of {texts:?}"
            );
        }
    }
}

#[test]
fn an_operation_on_a_name_is_never_kept_without_earlier_operations_on_the_name() {
    let disk = SimDisk::new();
    create(&disk, "/tmp");
    disk.rename(path("/tmp"), path("/f")).unwrap();
    create(&disk, "/other");
    let choices = disk.choices(DiskModel::WEAKEST, 100, 0).choices;
    assert_eq!(choices.len(), 6);
    assert_eq!(images(&disk, &choices).len(), 6);
}

#[test]
fn a_large_set_gives_prefixes_images_without_one_operation_and_images_with_only_one_operation() {
    let disk = busy_disk(12);
    let choices = disk.choices(DiskModel::WEAKEST, 1_000, 0).choices;
    assert_eq!(choices[..2], [ImageChoice::Synced, ImageChoice::All]);
    for ordinal in 0..13_u64 {
        for text in [
            format!("drop:{ordinal}"),
            format!("only:{ordinal}"),
            format!("prefix:{}", ordinal + 1),
        ] {
            assert!(choices.contains(&choice(&text)), "{text}");
        }
    }
    let random = choices
        .iter()
        .filter(|choice| matches!(choice, ImageChoice::Random { .. }));
    assert!(random.count() > 100);
}

#[test]
fn all_subsets_of_whole_operations_are_tried_before_tears() {
    let disk = busy_disk(5);
    let choices = disk.choices(DiskModel::WEAKEST, 200, 0);
    assert!(choices.left_out > 0);
    let tried = images(&disk, &choices.choices);
    for mask in 0..1_u32 << 6 {
        let kept: Vec<_> = (0..6)
            .filter(|bit| mask >> bit & 1 == 1)
            .map(|bit| bit.to_string())
            .collect();
        let subset = choice(&format!("only:{}", kept.join(",")));
        assert!(tried.contains(&disk.image(&subset).hash()), "{subset}");
    }
}

#[test]
fn the_in_order_model_has_each_prefix_with_its_last_write_whole_or_torn() {
    let disk = busy_disk(4);
    let choices = disk.choices(DiskModel::IN_ORDER, 1_000, 0);
    assert_eq!(choices.left_out, 0);
    let whole = choices.choices.iter().filter(|choice| match choice {
        ImageChoice::Prefix { torn, .. } => torn.is_none(),
        _ => true,
    });
    assert_eq!(whole.count(), 6);
}

#[test]
fn the_same_seed_gives_the_same_choices() {
    let disk = busy_disk(9);
    let choices = |seed| disk.choices(DiskModel::WEAKEST, 60, seed);
    assert_eq!(choices(3), choices(3));
    assert_ne!(choices(3), choices(4));
}

#[test]
fn random_fates_of_a_file_do_not_depend_on_operations_on_other_files() {
    let write_file = |disk: &SimDisk, between: &dyn Fn(usize)| {
        let file = create(disk, "/f");
        disk.sync_dir(path("/")).unwrap();
        for index in 0..8 {
            between(index);
            write(&file, &[index as u8 + 1; 600], 600 * index as u64);
        }
        file
    };
    let quiet = SimDisk::new();
    write_file(&quiet, &|_| {});
    let busy = SimDisk::new();
    let other = create(&busy, "/other");
    let between = |index: usize| {
        write(&other, &[9; 5], index as u64);
        drop(create(&busy, &format!("/g{index}")));
    };
    write_file(&busy, &between);
    let mut contents = BTreeSet::new();
    for seed in 0..50 {
        let random = ImageChoice::Random { seed };
        let content = |image: Image| image.file("/f").map(<[u8]>::to_vec);
        let expected = content(quiet.image(&random));
        assert_eq!(content(busy.image(&random)), expected, "seed {seed}");
        contents.insert(expected);
    }
    assert!(contents.len() > 25, "{}", contents.len());
}

#[test]
fn random_choices_keep_few_changes_of_some_files_and_most_changes_of_others() {
    let disk = SimDisk::from_image(&image_of("/f", b""));
    let file = open(&disk, "/f");
    for index in 0..20 {
        write(&file, b"x", index);
    }
    let kept_len = |seed| {
        let image = disk.image(&ImageChoice::Random { seed });
        let bytes = image.file("/f").unwrap();
        bytes.iter().map(|byte| usize::from(*byte == b'x')).sum()
    };
    let mut kept: Vec<usize> = (0..200).map(kept_len).collect();
    kept.sort_unstable();
    assert!(kept[20] < 8 && kept[180] > 16, "{kept:?}");
}

#[test]
fn files_created_one_after_another_with_the_same_name_have_different_random_choices() {
    let disk = SimDisk::new();
    for target in ["/1", "/2", "/3"] {
        let file = create(&disk, "/tmp");
        write(&file, b"content", 0);
        disk.rename(path("/tmp"), path(target)).unwrap();
        disk.sync_dir(path("/")).unwrap();
    }
    let mut contents = BTreeSet::new();
    for seed in 0..100 {
        let image = disk.image(&ImageChoice::Random { seed });
        contents.insert(["/1", "/2", "/3"].map(|file| image.file(file) == Some(b"content")));
    }
    assert_eq!(contents.len(), 8);
}

#[test]
fn changes_of_a_file_without_a_name_are_not_enumerated() {
    let disk = SimDisk::from_image(&image_of("/f", b"old"));
    let file = open(&disk, "/f");
    disk.remove(path("/f")).unwrap();
    disk.sync_dir(path("/")).unwrap();
    write(&file, b"new", 0);
    assert_eq!(
        disk.choices(DiskModel::WEAKEST, 100, 0).choices,
        [ImageChoice::Synced]
    );
}

/// Tests that take more than a second. The quick set does not run them.
mod full {
    use super::*;

    #[test]
    fn a_bounded_enumeration_counts_the_images_that_it_leaves_out() {
        let disk = busy_disk(6);
        for &model in DiskModel::EVERY_IMAGE {
            let everything = disk.choices(model, usize::MAX, 0);
            assert_eq!(everything.left_out, 0);
            let all_len = everything.choices.len();
            for bound in [0, 1, 2, 3, 10, 50, 200, 1_000] {
                let choices = disk.choices(model, bound, 5);
                let len = choices.choices.len();
                assert_eq!(len, bound.min(all_len), "{model:?}");
                assert_eq!(choices.left_out, (all_len - len) as u128, "{model:?} {bound}");
                let distinct: BTreeSet<_> = choices.choices.iter().collect();
                assert_eq!(distinct.len(), len, "{model:?} {bound}");
            }
        }
        // Each image of a bounded enumeration is in the complete one, except images with garbage from another seed.
        let has_garbage = |image: &Image| {
            let bytes = image.files().flat_map(|(_, bytes)| bytes);
            bytes
                .into_iter()
                .any(|byte| !matches!(byte, 0 | b'.' | b'a'..=b'f'))
        };
        let everything = disk.choices(DiskModel::WEAKEST, usize::MAX, 0);
        let all = images(&disk, &everything.choices);
        for seed in 0..20 {
            for choice in disk.choices(DiskModel::WEAKEST, 300, seed) {
                let image = disk.image(&choice);
                assert!(
                    all.contains(&image.hash()) || has_garbage(&image),
                    "seed {seed}: {choice}"
                );
            }
        }
    }
}
