//! The enumeration of the images that a crash can leave: all of them if they fit the bound, or else representative
//! ones.
//!
//! Invariant: the result never has more images than the bound, and counts the images that it does not contain.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::choice::{Fate, ImageChoice, Tear};
use super::crash_image::UndurableOperation;
use super::keyed;
use super::model::{DiskModel, DiskOrder, WriteTears};
use super::state::DiskState;

/// The number of choices to try for each image of the result, if the model excludes some choices.
const CHOICES_PER_IMAGE: usize = 8;

/// The images to try for one crash, and the number of images that are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageChoices {
    /// The choices, each once. Different choices can give equal images: compare [`Image::hash`].
    ///
    /// [`Image::hash`]: super::Image::hash
    pub choices: Vec<ImageChoice>,
    /// The number of combinations of fates that are not in `choices`. It saturates.
    pub left_out: u128,
}

impl fmt::Display for ImageChoices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} images, {} left out", self.choices.len(), self.left_out)
    }
}

impl IntoIterator for ImageChoices {
    type Item = ImageChoice;
    type IntoIter = std::vec::IntoIter<ImageChoice>;

    fn into_iter(self) -> Self::IntoIter {
        self.choices.into_iter()
    }
}

impl DiskState {
    /// At most `choices_max` images of a crash in this state; see [`super::SimDisk::choices`].
    pub(super) fn choices(&self, model: DiskModel, choices_max: usize, seed: u64) -> ImageChoices {
        let operations = self.undurable_operations();
        let choose = |choices_max| match model.order {
            DiskOrder::Everything => prefix_choices(&operations, choices_max, seed),
            DiskOrder::Names | DiskOrder::Nothing => self.subset_choices(&operations, choices_max, seed),
        };
        if model.tears == WriteTears::Any && model.order != DiskOrder::Names {
            return choose(choices_max);
        }
        let mut chosen = choose(choices_max.saturating_mul(CHOICES_PER_IMAGE));
        chosen.choices.retain(|choice| self.allows(model, choice));
        let excess = chosen.choices.len().saturating_sub(choices_max) as u128;
        chosen.left_out = chosen.left_out.saturating_add(excess);
        chosen.choices.truncate(choices_max);
        chosen
    }

    fn subset_choices(
        &self,
        operations: &[UndurableOperation],
        choices_max: usize,
        seed: u64,
    ) -> ImageChoices {
        let product = |factor: &dyn Fn(&UndurableOperation) -> u32| {
            let factors = operations.iter().map(|operation| u128::from(factor(operation)));
            factors.fold(1, u128::saturating_mul)
        };
        let combinations = product(&|operation| 2_u32.saturating_add(operation.tears.len()));
        if combinations <= choices_max as u128 {
            let choices = self.every_combination(operations, |operation| operation.tears.len());
            return ImageChoices { choices, left_out: 0 };
        }
        let mut choices = if product(&|_| 2) <= choices_max as u128 / 2 {
            self.every_combination(operations, |_| 0)
        } else {
            let mut choices = synced_and_all(operations);
            choices.extend(self.single_choices(operations));
            choices
        };
        choices.extend(prefixes(operations));
        choices.extend(single_tears(operations));
        sample(2, &mut choices, choices_max, seed);
        let random = (0..).map(|index| ImageChoice::Random {
            seed: keyed::mix(seed, index),
        });
        choices.extend(random.take(choices_max - choices.len()));
        ImageChoices {
            left_out: combinations.saturating_sub(choices.len() as u128),
            choices,
        }
    }

    /// Every combination of fates. `tears_len` returns the number of tears of an operation to use.
    fn every_combination(
        &self,
        operations: &[UndurableOperation],
        tears_len: impl Fn(&UndurableOperation) -> u32,
    ) -> Vec<ImageChoice> {
        let mut choices = synced_and_all(operations);
        let mut digits = vec![0; operations.len()];
        while increment(&mut digits, |index| 2 + tears_len(&operations[index])) {
            if digits.iter().all(|digit| *digit == 1) {
                continue;
            }
            let kept = |ordinal| {
                let found = operations.binary_search_by_key(&ordinal, |operation| operation.ordinal);
                found.is_ok_and(|index| digits[index] != 0)
            };
            if self.has_earlier_name_operations(kept) {
                choices.push(combination(operations, &digits));
            }
        }
        choices
    }

    /// For each operation two images: all operations except this one, and only this operation with the earlier
    /// operations on its name.
    fn single_choices(&self, operations: &[UndurableOperation]) -> Vec<ImageChoice> {
        let mut choices = Vec::new();
        for operation in operations {
            if self.has_earlier_name_operations(|ordinal| ordinal != operation.ordinal) {
                choices.push(ImageChoice::Drop(BTreeMap::from([(
                    operation.ordinal,
                    Fate::Lost,
                )])));
            }
            choices.push(ImageChoice::Only(BTreeMap::from([(
                operation.ordinal,
                Fate::Kept,
            )])));
        }
        choices
    }
}

/// The image without undurable operations and the image with all of them. One choice if there are none.
fn synced_and_all(operations: &[UndurableOperation]) -> Vec<ImageChoice> {
    let mut choices = vec![ImageChoice::Synced];
    if !operations.is_empty() {
        choices.push(ImageChoice::All);
    }
    choices
}

/// Increments a number whose digits have the given bases. Returns false after the last number.
fn increment(digits: &mut [u32], base: impl Fn(usize) -> u32) -> bool {
    for (index, digit) in digits.iter_mut().enumerate() {
        *digit += 1;
        if *digit < base(index) {
            return true;
        }
        *digit = 0;
    }
    false
}

/// The choice with one fate for each operation: digit 0 is lost, 1 is kept, and greater digits are tears. The result is
/// a `Drop` if most operations are kept, and an `Only` otherwise, so that its text is short.
fn combination(operations: &[UndurableOperation], digits: &[u32]) -> ImageChoice {
    let fates = |default: u32| {
        let listed = operations
            .iter()
            .zip(digits)
            .filter(|(_, digit)| **digit != default);
        let fates = listed.map(|(operation, digit)| match digit {
            0 => (operation.ordinal, Fate::Lost),
            1 => (operation.ordinal, Fate::Kept),
            tear => (operation.ordinal, Fate::Torn(operation.tears.get(tear - 2))),
        });
        fates.collect()
    };
    let kept = digits.iter().filter(|digit| **digit == 1).count();
    if kept * 2 > digits.len() {
        ImageChoice::Drop(fates(1))
    } else {
        ImageChoice::Only(fates(0))
    }
}

/// For each operation the prefix that ends with it.
fn prefixes(operations: &[UndurableOperation]) -> impl Iterator<Item = ImageChoice> {
    operations.iter().map(|operation| ImageChoice::Prefix {
        before: operation.ordinal + 1,
        torn: None,
    })
}

/// For each operation its representative tears: with all other operations, and with only the operations before it.
fn single_tears(operations: &[UndurableOperation]) -> Vec<ImageChoice> {
    let mut choices = Vec::new();
    for operation in operations {
        for tear in operation.tears.representative() {
            let fates = [(operation.ordinal, Fate::Torn(tear.clone()))];
            choices.push(ImageChoice::Drop(BTreeMap::from(fates)));
            choices.push(torn_prefix(operation, tear));
        }
    }
    choices
}

fn torn_prefix(operation: &UndurableOperation, tear: Tear) -> ImageChoice {
    ImageChoice::Prefix {
        before: operation.ordinal,
        torn: Some(tear),
    }
}

fn prefix_choices(operations: &[UndurableOperation], choices_max: usize, seed: u64) -> ImageChoices {
    let mut choices = synced_and_all(operations);
    choices.extend(prefixes(operations));
    // The last prefix has all operations, like the choice `All`.
    choices.pop_if(|_| !operations.is_empty());
    let tears = operations
        .iter()
        .map(|operation| u128::from(operation.tears.len()));
    let combinations = choices.len() as u128 + tears.sum::<u128>();
    let torn = |operation, tears: Vec<Tear>| tears.into_iter().map(move |tear| torn_prefix(operation, tear));
    choices.extend(
        operations
            .iter()
            .flat_map(|it| torn(it, it.tears.representative())),
    );
    if choices.len() < choices_max {
        let included: BTreeSet<_> = choices.iter().cloned().collect();
        let mut others: Vec<_> = operations
            .iter()
            .flat_map(|it| torn(it, it.tears.all().collect()))
            .collect();
        others.retain(|choice| !included.contains(choice));
        let fixed_len = choices.len();
        choices.append(&mut others);
        sample(fixed_len, &mut choices, choices_max, seed);
    }
    sample(2, &mut choices, choices_max, seed);
    ImageChoices {
        left_out: combinations - choices.len() as u128,
        choices,
    }
}

/// Reduces the choices to at most `len`: the first `fixed_len` choices, and others that `seed` draws.
fn sample(fixed_len: usize, choices: &mut Vec<ImageChoice>, len: usize, seed: u64) {
    if choices.len() <= len {
        return;
    }
    for index in len.min(fixed_len)..len {
        let left = (choices.len() - index) as u64;
        let drawn = index + (keyed::mix(seed, index as u64) % left) as usize;
        choices.swap(index, drawn);
    }
    choices.truncate(len);
}
