//! The scratchpad while a schedule is made: which bytes are free, and when each was last used.
//!
//! Space is given where it is free the earliest; where that makes no difference, in the hole that is the smallest, or at
//! one end of all. Short and long stays go to different ends, so that they do not chop each other up.

use std::ops::Range;

use crate::npu::Sram;
use crate::units::{Bytes, Cycles};

/// What is free, in order of address. What is tried can be taken back.
#[derive(Clone, Debug)]
pub(super) struct Space {
    alignment: u64,
    bytes: u64,
    /// Segments that touch are one hole, whose parts are free since different times.
    free: Vec<Segment>,
    /// What [`Space::undo`] takes back.
    changes: Vec<Change>,
    /// The segments that the changes have removed.
    removed: Vec<Segment>,
    /// How many segments there may be before it is worth joining some.
    crowded: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    begin: u64,
    end: u64,
    /// When its last users are done.
    since: Cycles,
}

/// Some segments in the place of others.
#[derive(Clone, Copy, Debug)]
struct Change {
    at: usize,
    inserted: usize,
    removed: usize,
}

/// At which end of a hole that is long enough a buffer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Low,
    High,
}

/// Which of the holes that are free equally early is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hole {
    /// The smallest; of those alike the one nearest to the buffer's end of the scratchpad.
    Smallest,
    /// The one nearest to that end.
    Nearest,
}

/// A place, and when it can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) address: u64,
    pub(super) ready: Cycles,
}

impl Space {
    pub(super) fn new(sram: &Sram) -> Self {
        let bytes = sram.bytes.get();
        Self {
            alignment: sram.alignment_bytes.get(),
            bytes,
            free: vec![Segment { begin: 0, end: bytes, since: Cycles::ZERO }],
            changes: Vec::new(),
            removed: Vec::new(),
            crowded: 0,
        }
    }

    /// Takes `bytes` where they can be written the earliest, if that is after `now`: all that is free by then is as
    /// good. `None` where no hole is long enough.
    pub(super) fn take(&mut self, bytes: Bytes, now: Cycles, side: Side, hole: Hole) -> Option<Place> {
        let wanted = Wanted { size: bytes.get().max(1), alignment: self.alignment, now };
        let mut best: Option<((Cycles, u64, u64), Place)> = None;
        for segments in self.free.chunk_by(|a, b| a.end == b.begin) {
            let length = segments[segments.len() - 1].end - segments[0].begin;
            if length < wanted.size {
                continue;
            }
            let length = if hole == Hole::Smallest { length } else { 0 };
            // No later than the best so far; earlier, where it would lose at a tie.
            let below = best.map_or(Cycles(u64::MAX), |((ready, shortest, _), _)| {
                let loses = length > shortest || (hole == Hole::Nearest && side == Side::Low);
                if loses { ready } else { ready + Cycles(1) }
            });
            let Some(place) = wanted.place_in(segments, side, below) else { continue };
            let from_end = if side == Side::Low { place.address } else { u64::MAX - place.address };
            let key = (place.ready, length, from_end);
            if best.is_none_or(|(least, _)| key < least) {
                best = Some((key, place));
            }
        }
        let (_, place) = best?;
        self.hold(place.address, bytes);
        Some(place)
    }

    /// Takes `bytes` at an address; `None` where some of it is held.
    pub(super) fn take_at(&mut self, address: u64, bytes: Bytes, now: Cycles) -> Option<Place> {
        let end = address + bytes.get().max(1);
        let (mut reached, mut ready) = (address, now);
        for segment in &self.free[self.within(address, end)] {
            if segment.begin > reached {
                return None;
            }
            (reached, ready) = (segment.end, ready.max(segment.since));
        }
        if reached < end {
            return None;
        }
        self.hold(address, bytes);
        Some(Place { address, ready })
    }

    /// The free segments that have some of a range.
    fn within(&self, begin: u64, end: u64) -> Range<usize> {
        let first = self.free.partition_point(|segment| segment.end <= begin);
        first..first + self.free[first..].partition_point(|segment| segment.begin < end)
    }

    /// Takes what is known to be free.
    pub(super) fn hold(&mut self, address: u64, bytes: Bytes) {
        let end = address + bytes.get().max(1);
        let within = self.within(address, end);
        let (low, high) = (self.free[within.start], self.free[within.end - 1]);
        let left = [Segment { end: address, ..low }, Segment { begin: end, ..high }];
        let is_used_up = [low.begin == address, high.end == end].map(usize::from);
        self.replace(within, &left[is_used_up[0]..2 - is_used_up[1]]);
    }

    /// Gives back what was taken; its last users are done at `since`. What is lost behind it to alignment was free all the
    /// time, but of no use without it.
    pub(super) fn give(&mut self, address: u64, bytes: Bytes, since: Cycles) {
        let end = (address + bytes.get().max(1)).next_multiple_of(self.alignment).min(self.bytes);
        let within = self.within(address, end);
        let new = Segment { begin: address, end, since };
        match self.free[within.clone()].last() {
            Some(&last) if last.end > end => self.replace(within, &[new, Segment { begin: end, ..last }]),
            Some(_) | None => self.replace(within, &[new]),
        }
    }

    /// What is not free.
    pub(super) fn held(&self) -> Bytes {
        let free = self.free.iter().map(|segment| segment.end - segment.begin).sum::<u64>();
        Bytes(self.bytes - free)
    }

    /// The longest hole.
    pub(super) fn longest(&self) -> Bytes {
        let holes = self.free.chunk_by(|a, b| a.end == b.begin);
        Bytes(holes.map(|hole| hole[hole.len() - 1].end - hole[0].begin).max().unwrap_or(0))
    }

    /// A moment to which [`Space::undo`] can go back; 0 is that of [`Space::settle`].
    pub(super) fn moment(&self) -> usize {
        self.changes.len()
    }

    /// Takes back all changes since a moment.
    pub(super) fn undo(&mut self, moment: usize) {
        while self.changes.len() > moment {
            let Some(Change { at, inserted, removed }) = self.changes.pop() else { return };
            let old = self.removed.len() - removed;
            splice(&mut self.free, at..at + inserted, &self.removed[old..]);
            self.removed.truncate(old);
        }
    }

    /// Changes so far are final. Where segments have become many, those are joined whose difference can no longer matter:
    /// all that was free by `past`, which no later command of either engine can start before.
    pub(super) fn settle(&mut self, past: Cycles) {
        self.changes.clear();
        self.removed.clear();
        if self.free.len() <= self.crowded {
            return;
        }
        self.free.dedup_by(|next, kept| {
            let joins = kept.end == next.begin && (next.since == kept.since || next.since.max(kept.since) <= past);
            if joins {
                (kept.end, kept.since) = (next.end, next.since.max(kept.since));
            }
            joins
        });
        self.crowded = self.free.len() + self.free.len() / 4 + 4;
    }

    fn replace(&mut self, range: Range<usize>, new: &[Segment]) {
        self.changes.push(Change { at: range.start, inserted: new.len(), removed: range.len() });
        self.removed.extend_from_slice(&self.free[range.clone()]);
        splice(&mut self.free, range, new);
    }
}

/// Puts some segments in the place of others. Most often they are as many, and none need move.
fn splice(segments: &mut Vec<Segment>, range: Range<usize>, new: &[Segment]) {
    let (over, more) = new.split_at(new.len().min(range.len()));
    let end = range.start + over.len();
    segments[range.start..end].copy_from_slice(over);
    segments.splice(end..range.end, more.iter().copied());
}

/// What is looked for in a hole.
#[derive(Clone, Copy)]
struct Wanted {
    size: u64,
    alignment: u64,
    now: Cycles,
}

impl Wanted {
    /// The place in a hole that is ready the earliest, if that is before `below`; of those alike the nearest to its end.
    fn place_in(self, hole: &[Segment], side: Side, mut below: Cycles) -> Option<Place> {
        let mut best = None;
        let mut left = hole;
        while self.now < below {
            let in_time = |segment: &Segment| segment.since < below;
            let rest = match side {
                Side::Low => left.iter().position(in_time).map(|at| &left[at..]),
                Side::High => left.iter().rposition(in_time).map(|at| &left[..=at]),
            };
            let Some((rest, address)) = rest.and_then(|rest| Some((rest, self.at_end(rest, side)?))) else { break };
            left = rest;
            match self.ready(left, address, side, below) {
                Ok(ready) => {
                    best = Some(Place { address, ready });
                    below = ready;
                }
                // Each place on this side of that segment has some of it.
                Err(late) if side == Side::Low => left = &left[late..],
                Err(late) => left = &left[..=late],
            }
        }
        best
    }

    /// The address at an end of a hole.
    fn at_end(self, hole: &[Segment], side: Side) -> Option<u64> {
        let (begin, end) = (hole.first()?.begin, hole.last()?.end);
        match side {
            Side::Low => begin
                .checked_next_multiple_of(self.alignment)
                .filter(|&address| self.size <= end.saturating_sub(address)),
            Side::High => {
                Some(end.checked_sub(self.size)? / self.alignment * self.alignment).filter(|&address| begin <= address)
            }
        }
    }

    /// When the place at an end of a hole is ready; or the first segment from that end on that is too late.
    fn ready(self, hole: &[Segment], address: u64, side: Side, below: Cycles) -> Result<Cycles, usize> {
        let place = Segment { begin: address, end: address + self.size, since: self.now };
        let is_out = |from: &Segment, to: &Segment| from.end <= to.begin;
        let mut ready = self.now;
        for step in 0..hole.len() {
            let at = if side == Side::Low { step } else { hole.len() - 1 - step };
            let (is_before, is_behind) = match side {
                Side::Low => (is_out(&hole[at], &place), is_out(&place, &hole[at])),
                Side::High => (is_out(&place, &hole[at]), is_out(&hole[at], &place)),
            };
            if is_behind {
                break;
            }
            if hole[at].since >= below && !is_before {
                return Err(at);
            }
            ready = if is_before { ready } else { ready.max(hole[at].since) };
        }
        Ok(ready)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn space(bytes: u64, alignment: u64) -> Space {
        Space::new(&Sram { bytes: Bytes(bytes), alignment_bytes: Bytes(alignment) })
    }

    fn take(space: &mut Space, bytes: u64, now: u64, side: Side) -> Option<(u64, u64)> {
        space.take(Bytes(bytes), Cycles(now), side, Hole::Nearest).map(|place| (place.address, place.ready.get()))
    }

    #[test]
    fn loads_go_low_and_results_high() {
        let mut space = space(1000, 64);
        assert_eq!(take(&mut space, 100, 0, Side::Low), Some((0, 0)));
        assert_eq!(take(&mut space, 100, 0, Side::Low), Some((128, 0)));
        assert_eq!(take(&mut space, 100, 0, Side::High), Some((896, 0)));
        assert_eq!(take(&mut space, 700, 0, Side::High), None);
    }

    /// Holes of 100 and, at the low end, 200: the smaller one, though the other is nearer.
    #[test]
    fn the_smallest_hole_is_taken() {
        let mut space = space(500, 1);
        for (address, size) in [(0, 200), (200, 100), (300, 100), (400, 100)] {
            assert_eq!(take(&mut space, size, 0, Side::Low), Some((address, 0)));
        }
        space.give(0, Bytes(200), Cycles(0));
        space.give(300, Bytes(100), Cycles(0));
        assert_eq!(take(&mut space.clone(), 80, 0, Side::Low), Some((0, 0)));
        let smallest = space.take(Bytes(80), Cycles(0), Side::Low, Hole::Smallest);
        assert_eq!(smallest.map(|place| place.address), Some(300));
    }

    /// Free since 50, 10 and 30: what is free the earliest is taken, and of what spans two the later counts.
    #[test]
    fn the_place_that_is_free_the_earliest_is_taken() {
        let mut space = space(300, 1);
        for address in [0, 100, 200] {
            assert_eq!(take(&mut space, 100, 0, Side::Low), Some((address, 0)));
        }
        for (address, since) in [(0, 50), (100, 10), (200, 30)] {
            space.give(address, Bytes(100), Cycles(since));
        }
        assert_eq!(take(&mut space.clone(), 100, 0, Side::Low), Some((100, 10)));
        assert_eq!(take(&mut space.clone(), 100, 40, Side::Low), Some((100, 40)));
        assert_eq!(take(&mut space.clone(), 100, 40, Side::High), Some((200, 40)));
        assert_eq!(take(&mut space.clone(), 200, 0, Side::Low), Some((100, 30)));
        space.settle(Cycles(30));
        assert_eq!(take(&mut space, 200, 0, Side::Low), Some((100, 30)));
    }

    /// Since when each byte is free, if it is.
    struct Naive(Vec<Option<u64>>);

    impl Naive {
        /// Tries each address.
        fn take(&self, bytes: usize, alignment: usize, now: u64, side: Side, hole: Hole) -> Option<(u64, u64)> {
            let key = |address: usize| {
                let since = self.0.get(address..address + bytes)?.iter().copied().collect::<Option<Vec<u64>>>()?;
                let below = self.0[..address].iter().rev().take_while(|byte| byte.is_some()).count();
                let above = self.0[address..].iter().take_while(|byte| byte.is_some()).count();
                let length = if hole == Hole::Smallest { below + above } else { 0 };
                let from_end = if side == Side::Low { address } else { usize::MAX - address };
                Some((since.into_iter().max()?.max(now), length, from_end, address as u64))
            };
            let best = (0..self.0.len()).step_by(alignment).filter_map(key).min();
            best.map(|(ready, _, _, address)| (address, ready))
        }

        fn set(&mut self, address: u64, bytes: usize, to: Option<u64>) {
            let begin = usize::try_from(address).unwrap();
            self.0[begin..begin + bytes].fill(to);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        /// Buffers come and go, while time goes on; each second step is taken back, and made again.
        #[test]
        fn the_place_is_the_best_of_all(
            alignment in 1..5usize,
            steps in prop::collection::vec((1..20usize, 0..4u64, any::<bool>(), any::<bool>(), 0..30u64, any::<u16>()), 1..60),
        ) {
            let mut space = space(61, alignment as u64);
            let mut naive = Naive(vec![Some(0); 61]);
            let mut held: Vec<(u64, usize, u64)> = Vec::new();
            let mut now = 0;
            for (bytes, pause, is_low, is_smallest, use_for, pick) in steps {
                now += pause;
                let side = if is_low { Side::Low } else { Side::High };
                let hole = if is_smallest { Hole::Smallest } else { Hole::Nearest };
                let wanted = naive.take(bytes, alignment, now, side, hole);
                let moment = space.moment();
                for is_final in [false, true] {
                    let place = space.take(Bytes(bytes as u64), Cycles(now), side, hole);
                    prop_assert_eq!(place.map(|place| (place.address, place.ready.get())), wanted);
                    if !is_final {
                        space.undo(moment);
                    }
                }
                if let Some((address, ready)) = wanted {
                    naive.set(address, bytes, None);
                    held.push((address, bytes, ready));
                }
                if wanted.is_none() || pick % 2 == 0 {
                    let (address, bytes, ready) = held.swap_remove(usize::from(pick) % held.len());
                    let since = now.max(ready) + use_for;
                    space.give(address, Bytes(bytes as u64), Cycles(since));
                    naive.set(address, bytes, Some(since));
                }
                if pick % 3 == 0 {
                    space.settle(Cycles(now));
                }
            }
        }
    }
}
