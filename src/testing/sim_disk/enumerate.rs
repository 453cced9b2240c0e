//! Which images a crash may leave: all of them where that is affordable, the telling ones where it is not.

use std::collections::BTreeMap;
use std::fmt;

use super::choice::{Fate, ImageChoice};
use super::crash_image::OpenOperation;
use super::keyed;
use super::state::DiskState;

/// How many ways of tearing one operation are tried when not all can be.
const TEARS_SAMPLED: u32 = 8;

/// What a disk may make of operations that were not made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DiskModel {
    /// They become durable in their order: there is a prefix of them, the last one of it torn or not.
    Prefix,
    /// They become durable in any order: there is any subset of them, each write of it torn or not.
    Subset,
}

impl DiskModel {
    /// Both models.
    pub const ALL: &'static [Self] = &[Self::Prefix, Self::Subset];
}

/// The images to try of one crash, and how many there are beside them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageChoices {
    /// The images to try, each once. Distinct choices may still mean equal images: compare [`Image::hash`].
    ///
    /// [`Image::hash`]: super::Image::hash
    pub choices: Vec<ImageChoice>,
    /// How many combinations of fates are at least left out, saturating.
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
        let open = self.open_operations();
        match model {
            DiskModel::Prefix => self.prefix_choices(&open, choices_max, seed),
            DiskModel::Subset => self.subset_choices(&open, choices_max, seed),
        }
    }

    fn prefix_choices(&self, open: &[OpenOperation], choices_max: usize, seed: u64) -> ImageChoices {
        let mut choices = self.extremes(open);
        choices.extend(prefixes(open));
        // `All` is the whole prefix, unless it holds what a failed sync lost.
        if !self.has_lost_changes() {
            choices.pop_if(|_| !open.is_empty());
        }
        for operation in open {
            choices.extend((0..operation.tears.len()).map(|index| ImageChoice::Prefix {
                before: operation.ordinal,
                torn: Some(operation.tears.get(index)),
            }));
        }
        let combinations = choices.len() as u128;
        thin_out(&mut choices, choices_max, seed);
        ImageChoices {
            left_out: combinations - choices.len() as u128,
            choices,
        }
    }

    fn subset_choices(&self, open: &[OpenOperation], choices_max: usize, seed: u64) -> ImageChoices {
        let lost = u128::from(self.has_lost_changes());
        let product = |factor: &dyn Fn(&OpenOperation) -> u32| {
            let factors = open.iter().map(|operation| u128::from(factor(operation)));
            factors.fold(1, u128::saturating_mul).saturating_add(lost)
        };
        let combinations = product(&|operation| 2 + operation.tears.len());
        if combinations <= choices_max as u128 {
            let choices = self.every_combination(open, |operation| operation.tears.len());
            return ImageChoices { choices, left_out: 0 };
        }
        let mut choices = if product(&|_| 2) <= choices_max as u128 / 2 {
            self.every_combination(open, |_| 0)
        } else {
            let mut choices = self.extremes(open);
            choices.extend(self.single_choices(open));
            choices
        };
        choices.extend(prefixes(open));
        choices.extend(single_tears(open));
        thin_out(&mut choices, choices_max, seed);
        let random = (0..).map(|index| ImageChoice::Random {
            seed: keyed::mix(seed, index),
        });
        choices.extend(random.take(choices_max - choices.len()));
        ImageChoices {
            left_out: combinations.saturating_sub(choices.len() as u128),
            choices,
        }
    }

    /// Nothing and everything, which are one where nothing is open.
    fn extremes(&self, open: &[OpenOperation]) -> Vec<ImageChoice> {
        let mut choices = vec![ImageChoice::Synced];
        if !open.is_empty() || self.has_lost_changes() {
            choices.push(ImageChoice::All);
        }
        choices
    }

    /// Every combination of fates, with as many tears of each operation as `tears_len` says.
    fn every_combination(
        &self,
        open: &[OpenOperation],
        tears_len: impl Fn(&OpenOperation) -> u32,
    ) -> Vec<ImageChoice> {
        let mut choices = self.extremes(open);
        let all_is_a_combination = !self.has_lost_changes();
        let mut digits = vec![0; open.len()];
        while advance(&mut digits, |index| 2 + tears_len(&open[index])) {
            if digits.iter().all(|digit| *digit == 1) && all_is_a_combination {
                continue;
            }
            let kept = |ordinal| {
                let found = open.binary_search_by_key(&ordinal, |operation| operation.ordinal);
                found.is_ok_and(|index| digits[index] != 0)
            };
            if self.is_closed(kept) {
                choices.push(combination(open, &digits));
            }
        }
        choices
    }

    /// Each operation missing alone, and each there alone, with what it cannot be without.
    fn single_choices(&self, open: &[OpenOperation]) -> Vec<ImageChoice> {
        let mut choices = Vec::new();
        for operation in open {
            if self.is_closed(|ordinal| ordinal != operation.ordinal) {
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

/// Counts up in a system whose digits have the given bases; false after the last number.
fn advance(digits: &mut [u32], base: impl Fn(usize) -> u32) -> bool {
    for (index, digit) in digits.iter_mut().enumerate() {
        *digit += 1;
        if *digit < base(index) {
            return true;
        }
        *digit = 0;
    }
    false
}

/// The choice of one fate for each operation: 0 is lost, 1 is kept, then the tears. Written the shorter way.
fn combination(open: &[OpenOperation], digits: &[u32]) -> ImageChoice {
    let fates = |usual: u32| {
        let unusual = open.iter().zip(digits).filter(|(_, digit)| **digit != usual);
        let fates = unusual.map(|(operation, digit)| match digit {
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

/// The prefixes that end behind each of the operations.
fn prefixes(open: &[OpenOperation]) -> impl Iterator<Item = ImageChoice> {
    open.iter().map(|operation| ImageChoice::Prefix {
        before: operation.ordinal + 1,
        torn: None,
    })
}

/// Each operation torn in some ways, with all others there and with only those before it.
fn single_tears(open: &[OpenOperation]) -> Vec<ImageChoice> {
    let mut choices = Vec::new();
    for operation in open {
        let len = operation.tears.len();
        let sampled = len.min(TEARS_SAMPLED);
        for index in 0..sampled {
            let tear = operation.tears.get(index * (len - 1) / (sampled - 1).max(1));
            let fates = [(operation.ordinal, Fate::Torn(tear.clone()))];
            choices.push(ImageChoice::Drop(BTreeMap::from(fates)));
            choices.push(ImageChoice::Prefix {
                before: operation.ordinal,
                torn: Some(tear),
            });
        }
    }
    choices
}

/// Leaves `len` of the choices at most: the first two, and of the others those that the seed draws.
fn thin_out(choices: &mut Vec<ImageChoice>, len: usize, seed: u64) {
    if choices.len() <= len {
        return;
    }
    for index in len.min(2)..len {
        let left = (choices.len() - index) as u64;
        let drawn = index + (keyed::mix(seed, index as u64) % left) as usize;
        choices.swap(index, drawn);
    }
    choices.truncate(len);
}
