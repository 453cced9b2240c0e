//! The dense form of a container: one bit for each of the 65,536 values.
//!
//! Invariant: `len` is the number of ones. Whether that many belong in this form is the container's business.

/// The number of words: one bit for each `u16`.
pub(super) const WORDS_LEN: usize = (1 << u16::BITS) / u64::BITS as usize;

/// A set of `u16`: value `v` is bit `v % 64` of word `v / 64`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bits {
    words: Box<[u64; WORDS_LEN]>,
    /// The number of ones.
    len: u32,
}

impl Bits {
    /// Makes the set of `values`.
    pub(super) fn from_values(values: &[u16]) -> Self {
        let mut bits = Self {
            words: Box::new([0; WORDS_LEN]),
            len: 0,
        };
        for &value in values {
            bits.insert(value);
        }
        bits
    }

    /// Returns the values in ascending order.
    pub(super) fn to_values(&self) -> Vec<u16> {
        let mut values = Vec::with_capacity(self.len as usize);
        values.extend(self.iter());
        values
    }

    /// Adds `value`; returns whether it was absent.
    pub(super) fn insert(&mut self, value: u16) -> bool {
        let (word, mask) = locate(value);
        let inserted = self.words[word] & mask == 0;
        self.words[word] |= mask;
        self.len += u32::from(inserted);
        inserted
    }

    /// Removes `value`; returns whether it was present.
    pub(super) fn remove(&mut self, value: u16) -> bool {
        let (word, mask) = locate(value);
        let removed = self.words[word] & mask != 0;
        self.words[word] &= !mask;
        self.len -= u32::from(removed);
        removed
    }

    /// Returns whether `value` is in the set.
    pub(super) fn contains(&self, value: u16) -> bool {
        let (word, mask) = locate(value);
        self.words[word] & mask != 0
    }

    /// Returns the number of values.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// Returns whether the cached length is the number of ones.
    pub(super) fn len_is_exact(&self) -> bool {
        self.len == count_ones(&self.words)
    }

    /// Returns the values in ascending order.
    pub(super) fn iter(&self) -> Ones<'_> {
        Ones {
            words: &self.words[..],
            index: 0,
            word: self.words[0],
        }
    }

    /// Returns the set whose words are `operation` of this set's words and `other`'s.
    pub(super) fn combine(&self, other: &Self, operation: impl Fn(u64, u64) -> u64) -> Self {
        let mut words = self.words.clone();
        for (word, &other_word) in words.iter_mut().zip(other.words.iter()) {
            *word = operation(*word, other_word);
        }
        let len = count_ones(&words);
        Self { words, len }
    }
}

/// The word that holds `value`, and its bit there.
fn locate(value: u16) -> (usize, u64) {
    (usize::from(value / 64), 1 << (value % 64))
}

fn count_ones(words: &[u64; WORDS_LEN]) -> u32 {
    words.iter().map(|word| word.count_ones()).sum()
}

/// The values of [`Bits`] in ascending order.
#[derive(Debug, Clone)]
pub(super) struct Ones<'a> {
    words: &'a [u64],
    /// The place of `word` among the words.
    index: usize,
    /// The ones of the current word that are still to come.
    word: u64,
}

impl Iterator for Ones<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        while self.word == 0 {
            // Past the end the index stays, so that the iterator goes on returning `None`.
            self.word = *self.words.get(self.index + 1)?;
            self.index += 1;
        }
        let value = self.index as u32 * u64::BITS + self.word.trailing_zeros();
        self.word &= self.word - 1;
        Some(value as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_that_is_not_the_number_of_ones_is_noticed() {
        let mut bits = Bits::from_values(&[0, 63, 64, u16::MAX]);
        assert!(bits.len_is_exact());
        bits.len += 1;
        assert!(!bits.len_is_exact());
    }

    #[test]
    fn values_on_word_borders_come_back_in_order_and_the_end_stays_the_end() {
        let values = [0, 1, 63, 64, 127, 4096, 65_471, 65_472, u16::MAX];
        let bits = Bits::from_values(&values);
        assert_eq!(bits.to_values(), values);
        let mut ones = bits.iter();
        assert_eq!(ones.by_ref().count(), values.len());
        assert_eq!((ones.next(), ones.next()), (None, None));
        assert_eq!(Bits::from_values(&[]).iter().next(), None);
    }
}
