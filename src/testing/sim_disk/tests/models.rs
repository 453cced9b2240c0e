//! The models: a table of images with the models that allow them.

use std::collections::BTreeSet;

use super::{Op, choice, disk_with_sectors, parse_image, path};
use crate::fs::FileAccess;
use crate::testing::sim_disk::{DiskModel, DiskOrder, SimDisk, WriteTears};

/// Each rule has a sentence, a line with the durable files and the operations on them, and choices of images with the
/// models that allow each image. Sectors have two bytes.
const RULES: &str = r"
every model can lose every unsynced write
/f=abcd: write /f 0 ABCD
synced = copy-on-write btrfs ext4-ordered ext4-writeback in-order weakest
all = copy-on-write btrfs ext4-ordered ext4-writeback in-order weakest

copy-on-write never tears a write
/f=abcdef: write /f 0 ABCDEF
drop:0=1n1o1n = ext4-ordered ext4-writeback in-order weakest
only:0=1o1n = ext4-ordered ext4-writeback in-order weakest
prefix:0=2n = ext4-ordered ext4-writeback in-order weakest

only the weakest disks leave garbage
/f=abcdef: write /f 0 ABCDEF
drop:0=1n2g = in-order weakest
only:0=1g = in-order weakest

the length of a file can be durable before its content if the model does not order them
/f=: write /f 0 ABCDEF
only:0=1n2z = ext4-writeback in-order weakest
only:0=3s = ext4-writeback in-order weakest
only:0=1n = ext4-ordered ext4-writeback in-order weakest

only the weakest disks replace durable content by zeros
/f=abcd: write /f 0 ABCDEF
only:0=1n2z = in-order weakest
only:0=2n1z = ext4-writeback in-order weakest

file systems with one journal keep the order of name changes
: create /a; create /b
only:1 = weakest
only:0 = copy-on-write btrfs ext4-ordered ext4-writeback in-order weakest

a name can be durable before the content of its file
: create /a; write /a 0 ABCD; create /b
drop:1 = btrfs ext4-ordered ext4-writeback weakest
drop:1=1n = ext4-ordered ext4-writeback weakest

a renaming that replaces a file is durable after the content of the renamed file
/f=old: create /t; write /t 0 new!; rename /t /f
drop:1 = weakest
drop:1=1n = weakest
prefix:2 = copy-on-write btrfs ext4-ordered ext4-writeback in-order weakest

a renaming to an unused name can be durable before the content of the renamed file
: create /t; write /t 0 new!; rename /t /f
drop:1 = btrfs ext4-ordered ext4-writeback weakest

a sync of another file makes earlier name changes durable
/f=old: create /a; write /f 0 new; sync /f; create /b
synced = btrfs in-order weakest
drop:3 = copy-on-write btrfs ext4-ordered ext4-writeback in-order weakest

disks that order all operations keep the order of writes
/f=abcd: write /f 0 AB; write /f 2 CD
only:1 = btrfs ext4-ordered ext4-writeback weakest
only:0 = copy-on-write btrfs ext4-ordered ext4-writeback in-order weakest
";

#[test]
fn each_model_allows_the_images_in_the_table() {
    for rule in RULES.trim().split("\n\n") {
        let mut lines = rule.lines();
        let (sentence, work) = (lines.next().unwrap(), lines.next().unwrap());
        let (files, script) = work.split_once(": ").unwrap();
        let disk = disk_with_sectors(2, &parse_image(files.trim_start_matches(':')));
        for line in script.split(';') {
            Op::parse(line).run(&disk).unwrap();
        }
        for line in lines {
            let (image, expected) = line.split_once(" = ").unwrap();
            let models = disk.models(&choice(image)).into_iter();
            let names: Vec<_> = models.map(|model| model.name).collect();
            assert_eq!(names.join(" "), expected, "{sentence}: {image}");
        }
    }
}

#[test]
fn every_model_has_a_unique_name_and_a_source() {
    let names: BTreeSet<_> = DiskModel::ALL.iter().map(|model| model.name).collect();
    assert_eq!(names.len(), DiskModel::ALL.len());
    for model in DiskModel::ALL {
        assert_eq!(DiskModel::named(model.name), Some(*model));
        assert!(model.source.len() > 20, "{model}");
    }
    assert_eq!(DiskModel::named("ext2"), None);
}

/// A disk with pending changes of names, pending overwrites, and pending writes that make files longer.
fn busy_disk() -> SimDisk {
    let disk = disk_with_sectors(2, &parse_image("/a=abcd /b=b"));
    for line in [
        "create /c",
        "write /a 0 ABC",
        "write /c 0 xyz",
        "sync /b",
        "rename /c /b",
        "create /d",
        "write /b 4 z",
    ] {
        Op::parse(line).run(&disk).unwrap();
    }
    disk
}

#[test]
fn the_choices_of_a_model_are_the_choices_of_the_weakest_model_that_it_allows() {
    let disk = busy_disk();
    let all = disk.choices(DiskModel::WEAKEST, 100_000, 0);
    assert_eq!(all.left_out, 0);
    for &model in DiskModel::ALL
        .iter()
        .filter(|model| model.order != DiskOrder::Everything)
    {
        let allowed: BTreeSet<_> = all
            .choices
            .iter()
            .filter(|it| disk.models(it).contains(&model))
            .collect();
        let chosen = disk.choices(model, 100_000, 0).choices;
        assert_eq!(chosen.iter().collect::<BTreeSet<_>>(), allowed, "{model}");
    }
    let images = |model| -> BTreeSet<u128> {
        let choices = disk.choices(model, 100_000, 0).choices;
        choices.iter().map(|choice| disk.image_hash(choice)).collect()
    };
    let weakest = images(DiskModel::WEAKEST);
    let mut lens = Vec::new();
    for &model in DiskModel::ALL {
        let model_images = images(model);
        assert!(model_images.is_subset(&weakest), "{model}");
        lens.push(model_images.len());
    }
    // Each model has a different number of images: an ordered model has few, the weakest model has most.
    assert!(
        lens.iter().collect::<BTreeSet<_>>().len() == lens.len() && lens[0] < 8,
        "{lens:?}"
    );
}

#[test]
fn the_choices_of_a_bounded_enumeration_are_allowed_by_the_model() {
    let disk = busy_disk();
    for &model in DiskModel::ALL {
        let chosen = disk.choices(model, 5, 3);
        assert!(
            chosen.choices.len() <= 5 && chosen.choices.len() > 1,
            "{model}: {chosen}"
        );
        assert!(
            chosen.left_out > 0 || model.tears == WriteTears::None,
            "{model}: {chosen}"
        );
        for choice in chosen.choices {
            assert!(disk.models(&choice).contains(&model), "{model}: {choice}");
        }
    }
}

#[test]
fn a_disk_with_only_durable_changes_has_one_image_under_every_model() {
    let disk = busy_disk();
    for file in ["/a", "/b", "/d"] {
        Op::Sync(file).run(&disk).unwrap();
    }
    disk.sync_dir(path("/")).unwrap();
    for &model in DiskModel::ALL {
        assert_eq!(disk.choices(model, 10, 0).choices, [choice("synced")], "{model}");
    }
}
