//! Boxes that are found by a box that they meet.

use std::ops::Range;

use super::geometry::meets;
use crate::schedule::{NdBox, Span};

/// As many boxes as are looked at one by one.
const LEAF: usize = 8;

/// Boxes of one rank with what belongs to each, in a tree of bounding boxes. A query takes about as many steps as it
/// finds boxes, whatever their sizes; at worst it looks at each box once.
pub(super) struct BoxIndex<T> {
    items: Vec<(NdBox, T)>,
    /// Positions in `items`, so ordered that a node has a range of them.
    order: Vec<usize>,
    /// The root first, if there are any boxes.
    nodes: Vec<Node>,
}

struct Node {
    bounds: NdBox,
    range: Range<usize>,
    halves: Option<[usize; 2]>,
}

impl<T> BoxIndex<T> {
    pub(super) fn new(items: Vec<(NdBox, T)>) -> Self {
        let order = (0..items.len()).collect();
        let mut index = Self { items, order, nodes: Vec::new() };
        if !index.items.is_empty() {
            index.grow(0..index.items.len());
        }
        index
    }

    /// All boxes, in the order in which they were given.
    pub(super) fn items(&self) -> &[(NdBox, T)] {
        &self.items
    }

    /// The boxes that meet this one, in the order in which they were given.
    pub(super) fn find<'a>(&'a self, part: &NdBox) -> impl Iterator<Item = &'a (NdBox, T)> + use<'a, T> {
        let mut found = Vec::new();
        let mut open = if self.nodes.is_empty() { Vec::new() } else { vec![0] };
        while let Some(at) = open.pop() {
            let node = &self.nodes[at];
            if !meets(&node.bounds, part) {
                continue;
            }
            match node.halves {
                Some(halves) => open.extend(halves),
                None => {
                    let inside = self.order[node.range.clone()].iter().copied();
                    found.extend(inside.filter(|&item| meets(&self.items[item].0, part)));
                }
            }
        }
        found.sort_unstable();
        found.into_iter().map(|item| &self.items[item])
    }

    /// Adds the node of a range of `order`, and its halves: split where begins lie furthest apart.
    fn grow(&mut self, range: Range<usize>) -> usize {
        let at = self.nodes.len();
        let bounds = self.bounds(range.clone());
        self.nodes.push(Node { bounds, range: range.clone(), halves: None });
        if range.len() > LEAF
            && let Some(dim) = self.widest(range.clone())
        {
            let items = &self.items;
            self.order[range.clone()].sort_by_key(|&item| items[item].0.0[dim].begin);
            let middle = range.start + range.len() / 2;
            let halves = [self.grow(range.start..middle), self.grow(middle..range.end)];
            self.nodes[at].halves = Some(halves);
        }
        at
    }

    fn bounds(&self, range: Range<usize>) -> NdBox {
        let mut parts = self.order[range].iter().map(|&item| &self.items[item].0);
        let mut bounds = parts.next().expect("a node has boxes").clone();
        for part in parts {
            for (all, span) in bounds.0.iter_mut().zip(&part.0) {
                *all = Span { begin: all.begin.min(span.begin), end: all.end.max(span.end) };
            }
        }
        bounds
    }

    /// The dimension in which begins lie furthest apart, if they differ in any.
    fn widest(&self, range: Range<usize>) -> Option<usize> {
        let rank = self.items.first().map_or(0, |(part, _)| part.0.len());
        let spread = |dim: usize| {
            let begins = || self.order[range.clone()].iter().map(|&item| self.items[item].0.0[dim].begin);
            begins().max().zip(begins().min()).map_or(0, |(most, least)| most - least)
        };
        (0..rank).map(|dim| (spread(dim), dim)).max().filter(|&(spread, _)| spread > 0).map(|(_, dim)| dim)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn small_box() -> impl Strategy<Value = NdBox> {
        proptest::collection::vec((0u64..20, 1u64..6), 3)
            .prop_map(|ends| NdBox(ends.into_iter().map(|(begin, size)| (begin, begin + size).into()).collect()))
    }

    proptest! {
        #[test]
        fn finds_what_a_look_at_each_box_finds(
            boxes in proptest::collection::vec(small_box(), 0..60), part in small_box()
        ) {
            let index = BoxIndex::new(boxes.iter().cloned().zip(0usize..).collect());
            let found: Vec<_> = index.find(&part).map(|(_, item)| *item).collect();
            let expected: Vec<_> = (0..boxes.len()).filter(|&i| meets(&boxes[i], &part)).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn boxes_without_dimensions_all_meet() {
        let index = BoxIndex::new((0..20).map(|i| (NdBox(Vec::new()), i)).collect());
        assert_eq!(index.find(&NdBox(Vec::new())).count(), 20);
    }
}
