//! Which images a crash may leave: all of them where that is affordable, the telling ones where it is not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::choice::{Fate, ImageChoice, Tear};
use super::crash_image::OpenOperation;
use super::keyed;
use super::model::{DiskModel, DiskOrder, WriteTears};
use super::state::DiskState;

/// The number of choices that are tried for each wanted image, if the model excludes some.
const CHOICES_PER_IMAGE: usize = 8;

/// The images to try of one crash, and how many there are beside them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageChoices {
    /// The images to try, each once. Distinct choices may still mean equal images: compare [`Image::hash`].
    ///
    /// [`Image::hash`]: super::Image::hash
    pub choices: Vec<ImageChoice>,
    /// The number of combinations of fates that were not tried, saturating.
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
        let choose = |choices_max| match model.order {
            DiskOrder::Everything => prefix_choices(&open, choices_max, seed),
            DiskOrder::Names | DiskOrder::Nothing => self.subset_choices(&open, choices_max, seed),
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

    fn subset_choices(&self, open: &[OpenOperation], choices_max: usize, seed: u64) -> ImageChoices {
        let product = |factor: &dyn Fn(&OpenOperation) -> u32| {
            let factors = open.iter().map(|operation| u128::from(factor(operation)));
            factors.fold(1, u128::saturating_mul)
        };
        let combinations = product(&|operation| 2_u32.saturating_add(operation.tears.len()));
        if combinations <= choices_max as u128 {
            let choices = self.every_combination(open, |operation| operation.tears.len());
            return ImageChoices { choices, left_out: 0 };
        }
        let mut choices = if product(&|_| 2) <= choices_max as u128 / 2 {
            self.every_combination(open, |_| 0)
        } else {
            let mut choices = extremes(open);
            choices.extend(self.single_choices(open));
            choices
        };
        choices.extend(prefixes(open));
        choices.extend(single_tears(open));
        thin_out(2, &mut choices, choices_max, seed);
        let random = (0..).map(|index| ImageChoice::Random {
            seed: keyed::mix(seed, index),
        });
        choices.extend(random.take(choices_max - choices.len()));
        ImageChoices {
            left_out: combinations.saturating_sub(choices.len() as u128),
            choices,
        }
    }

    /// Every combination of fates, with as many tears of each operation as `tears_len` says.
    fn every_combination(
        &self,
        open: &[OpenOperation],
        tears_len: impl Fn(&OpenOperation) -> u32,
    ) -> Vec<ImageChoice> {
        let mut choices = extremes(open);
        let mut digits = vec![0; open.len()];
        while advance(&mut digits, |index| 2 + tears_len(&open[index])) {
            if digits.iter().all(|digit| *digit == 1) {
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

/// No operation and all operations: one choice if all operations are durable.
fn extremes(open: &[OpenOperation]) -> Vec<ImageChoice> {
    let mut choices = vec![ImageChoice::Synced];
    if !open.is_empty() {
        choices.push(ImageChoice::All);
    }
    choices
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

/// Each operation torn in the telling ways, with all other operations and with only those before it.
fn single_tears(open: &[OpenOperation]) -> Vec<ImageChoice> {
    let mut choices = Vec::new();
    for operation in open {
        for tear in operation.tears.telling() {
            let fates = [(operation.ordinal, Fate::Torn(tear.clone()))];
            choices.push(ImageChoice::Drop(BTreeMap::from(fates)));
            choices.push(torn_prefix(operation, tear));
        }
    }
    choices
}

fn torn_prefix(operation: &OpenOperation, tear: Tear) -> ImageChoice {
    ImageChoice::Prefix {
        before: operation.ordinal,
        torn: Some(tear),
    }
}

fn prefix_choices(open: &[OpenOperation], choices_max: usize, seed: u64) -> ImageChoices {
    let mut choices = extremes(open);
    choices.extend(prefixes(open));
    // `All` is the whole prefix.
    choices.pop_if(|_| !open.is_empty());
    let tears = open.iter().map(|operation| u128::from(operation.tears.len()));
    let combinations = choices.len() as u128 + tears.sum::<u128>();
    let torn = |operation, tears: Vec<Tear>| tears.into_iter().map(move |tear| torn_prefix(operation, tear));
    choices.extend(open.iter().flat_map(|it| torn(it, it.tears.telling())));
    if choices.len() < choices_max {
        let known: BTreeSet<_> = choices.iter().cloned().collect();
        let mut others: Vec<_> = open
            .iter()
            .flat_map(|it| torn(it, it.tears.all().collect()))
            .collect();
        others.retain(|choice| !known.contains(choice));
        let first = choices.len();
        choices.append(&mut others);
        thin_out(first, &mut choices, choices_max, seed);
    }
    thin_out(2, &mut choices, choices_max, seed);
    ImageChoices {
        left_out: combinations - choices.len() as u128,
        choices,
    }
}

/// Reduces the choices to at most `len`: keeps the first `kept`, and those of the others that `seed` draws.
fn thin_out(kept: usize, choices: &mut Vec<ImageChoice>, len: usize, seed: u64) {
    if choices.len() <= len {
        return;
    }
    for index in len.min(kept)..len {
        let left = (choices.len() - index) as u64;
        let drawn = index + (keyed::mix(seed, index as u64) % left) as usize;
        choices.swap(index, drawn);
    }
    choices.truncate(len);
}
