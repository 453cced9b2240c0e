//! The merge of two ascending sequences, on which the set algebra of directories and of array containers rests.

use std::cmp::Ordering;

/// What two ascending sequences hold at one key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Joined<T> {
    /// Only the left sequence has the key.
    Left(T),
    /// Only the right sequence has the key.
    Right(T),
    /// Both sequences have the key: the left one's item, then the right one's.
    Both(T, T),
}

/// Merges two sequences, each strictly ascending by `key`, into one that is ascending too.
pub(super) fn join<T, K: Ord>(
    left: impl IntoIterator<Item = T>,
    right: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> K,
) -> impl Iterator<Item = Joined<T>> {
    let mut left = left.into_iter().peekable();
    let mut right = right.into_iter().peekable();
    std::iter::from_fn(move || {
        let order = match (left.peek(), right.peek()) {
            (Some(left), Some(right)) => key(left).cmp(&key(right)),
            (_, None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
        };
        match order {
            Ordering::Less => left.next().map(Joined::Left),
            Ordering::Greater => right.next().map(Joined::Right),
            Ordering::Equal => left
                .next()
                .zip(right.next())
                .map(|(left, right)| Joined::Both(left, right)),
        }
    })
}
