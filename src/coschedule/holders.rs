//! Which slots hold some of a box of a tensor: thousands of boxes where one is spilled in small tiles.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::chain::SlotId;
use crate::ir::{NdBox, Span};

/// The slots of one tensor, by where their boxes begin along the two dimensions in which the first is cut the finest.
#[derive(Debug, Default)]
pub(super) struct Holders {
    along: [usize; 2],
    by_begin: BTreeMap<u64, BTreeMap<u64, Vec<(SlotId, NdBox)>>>,
    /// The most that a box spans there.
    longest: [u64; 2],
}

impl Holders {
    pub(super) fn is_empty(&self) -> bool {
        self.by_begin.is_empty()
    }

    /// Adds a slot that holds a box of a tensor of this shape.
    pub(super) fn add(&mut self, slot: SlotId, part: &NdBox, shape: &[u64]) {
        if self.is_empty() {
            let parts = |d: &usize| Reverse(shape[*d] / part.0[*d].size().max(1));
            let mut finest: Vec<usize> = (0..shape.len()).collect();
            finest.sort_by_key(parts);
            self.along = [0, 1].map(|n| finest.get(n).copied().unwrap_or(usize::MAX));
        }
        let spans = self.spans(part);
        for (longest, span) in self.longest.iter_mut().zip(spans) {
            *longest = span.size().max(*longest);
        }
        let row = self.by_begin.entry(spans[0].begin).or_default();
        row.entry(spans[1].begin).or_default().push((slot, part.clone()));
    }

    /// The slots that hold some of a box, in the order of their ids.
    pub(super) fn of(&self, part: &NdBox) -> Vec<SlotId> {
        let spans = self.spans(part);
        let near = |n: usize| spans[n].begin.saturating_sub(self.longest[n])..spans[n].end;
        let rows = self.by_begin.range(near(0)).flat_map(|(_, row)| row.range(near(1)));
        let holding = rows.flat_map(|(_, slots)| slots).filter(|(_, held)| held.meets(part));
        let mut slots: Vec<SlotId> = holding.map(|(slot, _)| *slot).collect();
        slots.sort_unstable();
        slots
    }

    /// Where a box is along the two dimensions; a tensor of fewer is one element there.
    fn spans(&self, part: &NdBox) -> [Span; 2] {
        self.along.map(|d| part.0.get(d).copied().unwrap_or(Span { begin: 0, end: 1 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tensor of 4 × 12 in four rows of three boxes, of 1 × 5, 1 × 5 and 1 × 2: the first is cut into 4 along the rows
    /// and into 2 along the columns.
    #[test]
    fn boxes_that_meet_are_found() {
        let mut holders = Holders::default();
        let boxes: Vec<NdBox> = (0..4u64)
            .flat_map(|row| {
                [(0, 5), (5, 10), (10, 12)].map(|columns| NdBox(vec![(row, row + 1).into(), columns.into()]))
            })
            .collect();
        for (id, part) in (0..).zip(&boxes) {
            holders.add(SlotId(id), part, &[4, 12]);
        }
        let of = |rows: (u64, u64), columns: (u64, u64)| holders.of(&NdBox(vec![rows.into(), columns.into()]));
        assert_eq!(of((1, 3), (9, 11)), [4, 5, 7, 8].map(SlotId));
        assert_eq!(of((3, 4), (0, 12)), [9, 10, 11].map(SlotId));
        assert_eq!(of((0, 1), (0, 1)), [0].map(SlotId));
    }
}
