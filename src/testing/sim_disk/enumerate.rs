//! Which images a crash may leave: all of them where that is affordable, the telling ones where it is not.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::choice::{Fate, ImageChoice};
use super::crash_image::Unit;
use super::keyed;
use super::model::Model;

/// How many ways of tearing one operation are tried when not all can be.
const TEARS_SAMPLED: u32 = 8;

/// What a disk may make of operations that were not made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DiskModel {
    /// They become durable in their order: there is a prefix of them, the last one of it torn or not.
    Prefix,
    /// They become durable in any order: there is any subset of them, each write of it torn or not.
    Subset,
}

impl DiskModel {
    /// Both models.
    pub const ALL: [Self; 2] = [Self::Prefix, Self::Subset];
}

impl fmt::Display for DiskModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Prefix => "prefix",
            Self::Subset => "subset",
        })
    }
}

impl FromStr for DiskModel {
    type Err = ParseModelError;

    fn from_str(text: &str) -> Result<Self, ParseModelError> {
        match text {
            "prefix" => Ok(Self::Prefix),
            "subset" => Ok(Self::Subset),
            _ => Err(ParseModelError),
        }
    }
}

/// A text is neither `prefix` nor `subset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseModelError;

impl fmt::Display for ParseModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a disk model is neither `prefix` nor `subset`")
    }
}

impl std::error::Error for ParseModelError {}

/// The images to try of one crash, and how many there are beside them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageChoices {
    /// The images to try, each once. Distinct choices may still mean equal images: compare [`Image::hash`].
    ///
    /// [`Image::hash`]: super::Image::hash
    pub choices: Vec<ImageChoice>,
    /// How many combinations of fates the model has, saturating.
    pub combinations: u128,
    /// How many of these are at least left out.
    pub left_out: u128,
}

impl fmt::Display for ImageChoices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.left_out {
            0 => write!(f, "all {} images", self.choices.len()),
            left_out => write!(
                f,
                "{} of {} images, {left_out} left out",
                self.choices.len(),
                self.combinations
            ),
        }
    }
}

impl IntoIterator for ImageChoices {
    type Item = ImageChoice;
    type IntoIter = std::vec::IntoIter<ImageChoice>;

    fn into_iter(self) -> Self::IntoIter {
        self.choices.into_iter()
    }
}

impl Model {
    /// At most `choices_max` images of a crash in this state; see [`super::SimDisk::choices`].
    pub(super) fn choices(&self, model: DiskModel, choices_max: usize, seed: u64) -> ImageChoices {
        let units = self.units();
        let lost = usize::from(self.has_lost_changes());
        match model {
            DiskModel::Prefix => prefix_choices(&units, lost, choices_max, seed),
            DiskModel::Subset => self.subset_choices(&units, lost, choices_max, seed),
        }
    }

    fn subset_choices(&self, units: &[Unit], lost: usize, choices_max: usize, seed: u64) -> ImageChoices {
        let combinations = product(units.iter().map(|unit| 2 + u128::from(unit.tears.len())), lost);
        if combinations <= choices_max as u128 {
            let choices = self.every_combination(units, lost, |unit| unit.tears.len());
            return ImageChoices {
                choices,
                combinations,
                left_out: 0,
            };
        }
        let subsets = product(units.iter().map(|_| 2), lost);
        let mut choices = if subsets <= choices_max as u128 / 2 {
            self.every_combination(units, lost, |_| 0)
        } else {
            let mut choices = extremes(units, lost);
            choices.extend(self.single_choices(units));
            choices
        };
        choices.extend(prefixes(units));
        choices.extend(single_tears(units));
        thin_out(&mut choices, choices_max, seed);
        let random = (0..).map(|index| ImageChoice::Random {
            seed: keyed::mix(seed, index),
        });
        let missing = choices_max - choices.len();
        choices.extend(random.take(missing));
        ImageChoices {
            left_out: combinations.saturating_sub(choices.len() as u128),
            choices,
            combinations,
        }
    }

    /// Every combination of fates, with as many tears of each operation as `tears_len` says.
    fn every_combination(
        &self,
        units: &[Unit],
        lost: usize,
        tears_len: impl Fn(&Unit) -> u32,
    ) -> Vec<ImageChoice> {
        let mut choices = extremes(units, lost);
        let mut digits = vec![0; units.len()];
        while advance(&mut digits, |index| 2 + tears_len(&units[index])) {
            if digits.iter().all(|digit| *digit == 1) && lost == 0 {
                continue;
            }
            let kept = |ordinal| {
                let found = units.binary_search_by_key(&ordinal, |unit| unit.ordinal);
                found.is_ok_and(|index| digits[index] != 0)
            };
            if self.is_closed(kept) {
                choices.push(combination(units, &digits));
            }
        }
        choices
    }

    /// Each operation missing alone, and each there alone, with what it cannot be without.
    fn single_choices(&self, units: &[Unit]) -> Vec<ImageChoice> {
        let mut choices = Vec::new();
        for unit in units {
            if self.is_closed(|ordinal| ordinal != unit.ordinal) {
                choices.push(drop_one(unit.ordinal, Fate::Lost));
            }
            choices.push(only_one(unit.ordinal));
        }
        choices
    }
}

fn product(factors: impl Iterator<Item = u128>, lost: usize) -> u128 {
    factors.fold(1, u128::saturating_mul).saturating_add(lost as u128)
}

/// Nothing and everything, which are one where nothing is open.
fn extremes(units: &[Unit], lost: usize) -> Vec<ImageChoice> {
    let mut choices = vec![ImageChoice::Synced];
    if !units.is_empty() || lost > 0 {
        choices.push(ImageChoice::All);
    }
    choices
}

fn drop_one(ordinal: u64, fate: Fate) -> ImageChoice {
    ImageChoice::Drop {
        fates: BTreeMap::from([(ordinal, fate)]),
        garbage_seed: 0,
    }
}

fn only_one(ordinal: u64) -> ImageChoice {
    ImageChoice::Only {
        fates: BTreeMap::from([(ordinal, Fate::Kept)]),
        garbage_seed: 0,
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
fn combination(units: &[Unit], digits: &[u32]) -> ImageChoice {
    let fates = |usual: u32| {
        let unusual = units.iter().zip(digits).filter(|(_, digit)| **digit != usual);
        unusual
            .map(|(unit, digit)| {
                let fate = match digit {
                    0 => Fate::Lost,
                    1 => Fate::Kept,
                    tear => Fate::Torn(unit.tears.get(tear - 2)),
                };
                (unit.ordinal, fate)
            })
            .collect()
    };
    let kept = digits.iter().filter(|digit| **digit == 1).count();
    let garbage_seed = 0;
    if kept * 2 > digits.len() {
        ImageChoice::Drop {
            fates: fates(1),
            garbage_seed,
        }
    } else {
        ImageChoice::Only {
            fates: fates(0),
            garbage_seed,
        }
    }
}

fn prefix_choices(units: &[Unit], lost: usize, choices_max: usize, seed: u64) -> ImageChoices {
    let sum: u128 = units.iter().map(|unit| 1 + u128::from(unit.tears.len())).sum();
    let combinations = 1 + sum + lost as u128;
    let mut choices = extremes(units, lost);
    choices.extend(prefixes(units));
    // `All` is the whole prefix, unless it holds what a failed sync lost.
    if lost == 0 {
        choices.pop_if(|_| !units.is_empty());
    }
    for unit in units {
        choices.extend((0..unit.tears.len()).map(|index| ImageChoice::Prefix {
            before: unit.ordinal,
            torn: Some(unit.tears.get(index)),
        }));
    }
    thin_out(&mut choices, choices_max, seed);
    ImageChoices {
        left_out: combinations - choices.len() as u128,
        choices,
        combinations,
    }
}

/// The prefixes that end behind each of the operations.
fn prefixes(units: &[Unit]) -> impl Iterator<Item = ImageChoice> {
    units.iter().map(|unit| ImageChoice::Prefix {
        before: unit.ordinal + 1,
        torn: None,
    })
}

/// Each operation torn in some ways, with all others there and with only those before it.
fn single_tears(units: &[Unit]) -> Vec<ImageChoice> {
    let mut choices = Vec::new();
    for unit in units {
        let len = unit.tears.len();
        let sampled = len.min(TEARS_SAMPLED);
        for tear in (0..sampled).map(|index| unit.tears.get(index * (len - 1) / (sampled - 1).max(1))) {
            choices.push(drop_one(unit.ordinal, Fate::Torn(tear.clone())));
            choices.push(ImageChoice::Prefix {
                before: unit.ordinal,
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
    let always = len.min(2);
    for index in always..len {
        let left = (choices.len() - index) as u64;
        let drawn = index + (keyed::mix(seed, index as u64) % left) as usize;
        choices.swap(index, drawn);
    }
    choices.truncate(len);
}
