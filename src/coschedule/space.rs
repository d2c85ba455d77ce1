//! The scratchpad while a schedule is made: who holds which bytes, and when those that are free were last used.
//!
//! Space is given where it is free the earliest; where that makes no difference, what is loaded goes low and what is
//! computed goes high, so that short and long stays do not chop each other up.

use crate::npu::Sram;
use crate::units::{Bytes, Cycles};

/// A cut of the address range into segments, each held or free.
#[derive(Clone, Debug)]
pub(super) struct Space {
    alignment: u64,
    /// In order of address, without gaps; no two neighbours are free since the same time.
    segments: Vec<Segment>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    begin: u64,
    end: u64,
    /// `None` while it is held; else when its last users are done.
    free_since: Option<Cycles>,
}

/// At which end of a place that is long enough a buffer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Low,
    High,
}

/// A place, and when it can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) address: u64,
    pub(super) ready: Cycles,
}

impl Space {
    pub(super) fn new(sram: &Sram) -> Self {
        let all = Segment { begin: 0, end: sram.bytes.get(), free_since: Some(Cycles::ZERO) };
        Self { alignment: sram.alignment_bytes.get(), segments: vec![all] }
    }

    /// Takes `bytes` where they can be written the earliest, if that is after `now`: all that is free by then is as
    /// good. `None` where no free place is long enough.
    pub(super) fn take(&mut self, bytes: Bytes, now: Cycles, side: Side) -> Option<Place> {
        let size = bytes.get().max(1);
        let place = match side {
            Side::Low => (0..self.segments.len()).filter_map(|i| self.place_up(i, size, now)).min_by_key(best_low),
            Side::High => (0..self.segments.len()).filter_map(|i| self.place_down(i, size, now)).min_by_key(best_high),
        }?;
        self.set(place.address, place.address + size, None);
        Some(place)
    }

    /// Gives back what was taken; its last users are done at `since`.
    pub(super) fn give(&mut self, address: u64, bytes: Bytes, since: Cycles) {
        self.set(address, address + bytes.get().max(1), Some(since));
    }

    /// The place that begins with segment i.
    fn place_up(&self, i: usize, size: u64, now: Cycles) -> Option<Place> {
        let address = self.segments[i].begin.checked_next_multiple_of(self.alignment)?;
        let end = address.checked_add(size)?;
        let mut ready = now;
        for segment in &self.segments[i..] {
            ready = ready.max(segment.free_since?);
            if segment.end >= end {
                return (address < segment.end).then_some(Place { address, ready });
            }
        }
        None
    }

    /// The place that ends with segment i.
    fn place_down(&self, i: usize, size: u64, now: Cycles) -> Option<Place> {
        let address = self.segments[i].end.checked_sub(size)? / self.alignment * self.alignment;
        let mut ready = now;
        for segment in self.segments[..=i].iter().rev() {
            ready = ready.max(segment.free_since?);
            if segment.begin <= address {
                return Some(Place { address, ready });
            }
        }
        None
    }

    /// Makes `begin..end` one segment, and joins it with neighbours that say the same.
    fn set(&mut self, begin: u64, end: u64, free_since: Option<Cycles>) {
        let first = self.segments.partition_point(|segment| segment.end <= begin);
        let after = self.segments.partition_point(|segment| segment.begin < end);
        let (low, high) = (self.segments[first], self.segments[after - 1]);
        let mut new = [
            Segment { begin: low.begin, end: begin, ..low },
            Segment { begin, end, free_since },
            Segment { begin: end, end: high.end, ..high },
        ]
        .into_iter()
        .filter(|segment| segment.begin < segment.end)
        .collect::<Vec<_>>();
        if free_since.is_some() {
            new.dedup_by(|next, kept| {
                let joins = next.free_since == kept.free_since;
                kept.end = if joins { next.end } else { kept.end };
                joins
            });
        }
        self.segments.splice(first..after, new);
    }

    /// Joins free segments whose difference can no longer matter: all that was free by `past`, which no later command
    /// of either engine can start before.
    pub(super) fn forget(&mut self, past: Cycles) {
        self.segments.dedup_by(|next, kept| {
            let (Some(a), Some(b)) = (kept.free_since, next.free_since) else { return false };
            let joins = a.max(b) <= past || a == b;
            if joins {
                kept.end = next.end;
                kept.free_since = Some(a.max(b));
            }
            joins
        });
    }
}

fn best_low(place: &Place) -> (Cycles, u64) {
    (place.ready, place.address)
}

fn best_high(place: &Place) -> (Cycles, std::cmp::Reverse<u64>) {
    (place.ready, std::cmp::Reverse(place.address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(bytes: u64, alignment: u64) -> Space {
        Space::new(&Sram { bytes: Bytes(bytes), alignment_bytes: Bytes(alignment) })
    }

    fn take(space: &mut Space, bytes: u64, now: u64, side: Side) -> Option<(u64, u64)> {
        space.take(Bytes(bytes), Cycles(now), side).map(|place| (place.address, place.ready.get()))
    }

    #[test]
    fn loads_go_low_and_results_high() {
        let mut space = space(1000, 64);
        assert_eq!(take(&mut space, 100, 0, Side::Low), Some((0, 0)));
        assert_eq!(take(&mut space, 100, 0, Side::Low), Some((128, 0)));
        assert_eq!(take(&mut space, 100, 0, Side::High), Some((896, 0)));
        assert_eq!(take(&mut space, 700, 0, Side::High), None);
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
        space.forget(Cycles(30));
        assert_eq!(take(&mut space, 200, 0, Side::Low), Some((100, 30)));
    }
}
