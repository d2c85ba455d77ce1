//! Boxes: half-open ranges, one per dimension, of a tensor's elements or of a layer's iterations.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A half-open range `begin..end`, never empty; in a file `[begin, end]`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
pub struct Span {
    /// The first index.
    pub begin: u64,
    /// The index after the last.
    pub end: u64,
}

impl Span {
    /// How many indices it has.
    pub const fn size(self) -> u64 {
        self.end.saturating_sub(self.begin)
    }

    /// What both have, or `None`.
    pub fn meet(self, other: Self) -> Option<Self> {
        let both = Self { begin: self.begin.max(other.begin), end: self.end.min(other.end) };
        (both.begin < both.end).then_some(both)
    }
}

impl From<(u64, u64)> for Span {
    fn from((begin, end): (u64, u64)) -> Self {
        Self { begin, end }
    }
}

impl From<Span> for (u64, u64) {
    fn from(span: Span) -> Self {
        (span.begin, span.end)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.begin, self.end)
    }
}

/// A box with any number of dimensions; one without any has a single element.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NdBox(pub Vec<Span>);

impl NdBox {
    /// The whole of a shape.
    pub fn whole(sizes: impl IntoIterator<Item = u64>) -> Self {
        Self(sizes.into_iter().map(|end| Span { begin: 0, end }).collect())
    }

    /// How many elements it has.
    pub fn volume(&self) -> u64 {
        self.0.iter().map(|span| span.size()).product()
    }

    /// The part that both have, or `None`. Both have the same rank.
    pub fn meet(&self, other: &Self) -> Option<Self> {
        self.0.iter().zip(&other.0).map(|(a, b)| a.meet(*b)).collect::<Option<_>>().map(Self)
    }

    /// Whether both have some element. Both have the same rank.
    pub fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a.meet(*b).is_some())
    }

    /// Whether all of `other` is in this one.
    pub fn contains(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a.begin <= b.begin && b.end <= a.end)
    }
}

impl fmt::Display for NdBox {
    /// `[0..64, 3..4]`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
