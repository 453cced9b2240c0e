//! One container: the values of up to 65,536 ids that share their high 48 bits.
//!
//! Invariant: an array is strictly ascending and holds at most [`ARRAY_LEN_MAX`] values, bits hold more than that.
//! The set algebra may yield an empty container, which is an array; the directory drops it.

use super::bits::{self, Bits};
use super::join::{Joined, join};
use crate::limits::ARRAY_LEN_MAX;

/// A set of `u16` in the form its length decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Container {
    /// At most [`ARRAY_LEN_MAX`] values, strictly ascending.
    Array(Vec<u16>),
    /// More than [`ARRAY_LEN_MAX`] values.
    Bits(Bits),
}

impl Default for Container {
    fn default() -> Self {
        Self::Array(Vec::new())
    }
}

impl Container {
    /// Makes a container of one value.
    pub(super) fn of(value: u16) -> Self {
        Self::Array(vec![value])
    }

    /// Makes the container of `values`, which must ascend strictly: checked in debug builds.
    fn from_ascending(mut values: Vec<u16>) -> Self {
        debug_assert!(values.is_sorted_by(|a, b| a < b));
        if values.len() > ARRAY_LEN_MAX {
            Self::Bits(Bits::from_values(&values))
        } else {
            // The algebra reserves for its longest result.
            values.shrink_to_fit();
            Self::Array(values)
        }
    }

    /// Makes the container of the values in `bits`, in the form their number asks for.
    fn from_bits(bits: Bits) -> Self {
        if bits.len() as usize > ARRAY_LEN_MAX {
            Self::Bits(bits)
        } else {
            Self::Array(bits.to_values())
        }
    }

    /// Adds `value`; returns whether it was absent.
    pub(super) fn insert(&mut self, value: u16) -> bool {
        match self {
            Self::Array(values) => {
                let Err(at) = position(values, value) else {
                    return false;
                };
                if values.len() < ARRAY_LEN_MAX {
                    values.insert(at, value);
                } else {
                    let mut bits = Bits::from_values(values);
                    bits.insert(value);
                    *self = Self::Bits(bits);
                }
                true
            }
            Self::Bits(bits) => bits.insert(value),
        }
    }

    /// Removes `value`; returns whether it was present. May leave the container empty.
    pub(super) fn remove(&mut self, value: u16) -> bool {
        match self {
            Self::Array(values) => {
                let found = position(values, value);
                if let Ok(at) = found {
                    values.remove(at);
                }
                found.is_ok()
            }
            Self::Bits(bits) => {
                let removed = bits.remove(value);
                if bits.len() as usize <= ARRAY_LEN_MAX {
                    *self = Self::Array(bits.to_values());
                }
                removed
            }
        }
    }

    /// Returns whether `value` is in the container.
    pub(super) fn contains(&self, value: u16) -> bool {
        match self {
            Self::Array(values) => position(values, value).is_ok(),
            Self::Bits(bits) => bits.contains(value),
        }
    }

    /// Returns the number of values, at most 65,536.
    pub(super) fn len(&self) -> u32 {
        match self {
            Self::Array(values) => values.len() as u32,
            Self::Bits(bits) => bits.len(),
        }
    }

    /// Returns whether there is no value.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the values in ascending order.
    pub(super) fn iter(&self) -> Values<'_> {
        match self {
            Self::Array(values) => Values::Array(values.iter()),
            Self::Bits(bits) => Values::Bits(bits.iter()),
        }
    }

    /// Returns the values that are in both containers.
    pub(super) fn and(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Array(left), Self::Array(right)) => {
                let mut values = Vec::with_capacity(left.len().min(right.len()));
                values.extend(
                    join(left, right, |&&value| value).filter_map(|joined| match joined {
                        Joined::Both(value, _) => Some(*value),
                        Joined::Left(_) | Joined::Right(_) => None,
                    }),
                );
                Self::from_ascending(values)
            }
            (Self::Array(values), Self::Bits(bits)) | (Self::Bits(bits), Self::Array(values)) => {
                Self::from_ascending(
                    values
                        .iter()
                        .copied()
                        .filter(|&value| bits.contains(value))
                        .collect(),
                )
            }
            (Self::Bits(left), Self::Bits(right)) => Self::from_bits(left.combine(right, |l, r| l & r)),
        }
    }

    /// Returns the values that are in either container or in both.
    pub(super) fn or(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Array(left), Self::Array(right)) => {
                let mut values = Vec::with_capacity(left.len() + right.len());
                values.extend(join(left, right, |&&value| value).map(|joined| match joined {
                    Joined::Left(value) | Joined::Right(value) | Joined::Both(value, _) => *value,
                }));
                Self::from_ascending(values)
            }
            (Self::Array(values), Self::Bits(bits)) | (Self::Bits(bits), Self::Array(values)) => {
                let mut bits = bits.clone();
                for &value in values {
                    bits.insert(value);
                }
                Self::Bits(bits)
            }
            (Self::Bits(left), Self::Bits(right)) => Self::Bits(left.combine(right, |l, r| l | r)),
        }
    }

    /// Returns the values that are in this container and not in `other`.
    pub(super) fn difference(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Array(left), Self::Array(right)) => {
                let mut values = Vec::with_capacity(left.len());
                values.extend(
                    join(left, right, |&&value| value).filter_map(|joined| match joined {
                        Joined::Left(value) => Some(*value),
                        Joined::Right(_) | Joined::Both(..) => None,
                    }),
                );
                Self::from_ascending(values)
            }
            (Self::Array(left), Self::Bits(right)) => Self::from_ascending(
                left.iter()
                    .copied()
                    .filter(|&value| !right.contains(value))
                    .collect(),
            ),
            (Self::Bits(left), Self::Array(right)) => {
                let mut bits = left.clone();
                for &value in right {
                    bits.remove(value);
                }
                Self::from_bits(bits)
            }
            (Self::Bits(left), Self::Bits(right)) => Self::from_bits(left.combine(right, |l, r| l & !r)),
        }
    }

    /// Returns the bytes the container takes from the heap.
    pub(super) fn heap_bytes(&self) -> u64 {
        match self {
            Self::Array(values) => (values.capacity() * size_of::<u16>()) as u64,
            Self::Bits(_) => (bits::WORDS_LEN * size_of::<u64>()) as u64,
        }
    }

    /// Checks the invariant of a container that is in a directory, where none is empty.
    pub(super) fn validate(&self) -> Result<(), &'static str> {
        match self {
            Self::Array(values) if values.is_empty() => Err("a container is empty"),
            Self::Array(values) if values.len() > ARRAY_LEN_MAX => Err("an array is too long"),
            Self::Array(values) if !values.is_sorted_by(|a, b| a < b) => Err("an array is out of order"),
            Self::Bits(bits) if !bits.len_is_exact() => Err("the length of bits is not the number of ones"),
            Self::Bits(bits) if bits.len() as usize <= ARRAY_LEN_MAX => Err("bits hold too few values"),
            Self::Array(_) | Self::Bits(_) => Ok(()),
        }
    }
}

/// Where `value` is in `values`, or where it belongs.
fn position(values: &[u16], value: u16) -> Result<usize, usize> {
    match values.last() {
        // Ids often come in ascending order: an append needs no search.
        Some(&last) if last < value => Err(values.len()),
        _ => values.binary_search(&value),
    }
}

/// The values of a container in ascending order.
#[derive(Debug, Clone)]
pub(super) enum Values<'a> {
    /// What is left of an array.
    Array(std::slice::Iter<'a, u16>),
    /// What is left of bits.
    Bits(bits::Ones<'a>),
}

impl Iterator for Values<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        match self {
            Self::Array(values) => values.next().copied(),
            Self::Bits(ones) => ones.next(),
        }
    }
}
