//! The scratchpad while a schedule is made: who holds which bytes, and when those that are free were last used.
//!
//! Space is given where it is free the earliest; where that makes no difference, in the hole that is the smallest, or at
//! one end of all. Short and long stays go to different ends, so that they do not chop each other up.

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
    /// The bytes of the hole that it is in.
    hole: u64,
}

impl Space {
    pub(super) fn new(sram: &Sram) -> Self {
        let all = Segment { begin: 0, end: sram.bytes.get(), free_since: Some(Cycles::ZERO) };
        Self { alignment: sram.alignment_bytes.get(), segments: vec![all] }
    }

    /// Takes `bytes` where they can be written the earliest, if that is after `now`: all that is free by then is as
    /// good. `None` where no hole is long enough.
    pub(super) fn take(&mut self, bytes: Bytes, now: Cycles, side: Side, hole: Hole) -> Option<Place> {
        let size = bytes.get().max(1);
        let holes = self.segments.chunk_by(|a, b| a.free_since.is_some() == b.free_since.is_some());
        let free = holes.filter(|segments| segments[0].free_since.is_some());
        let places = free.filter_map(|segments| self.place_in(segments, size, now, side));
        let place = places.min_by_key(|place| {
            let from_end = if side == Side::Low { place.address } else { u64::MAX - place.address };
            (place.ready, if hole == Hole::Smallest { place.hole } else { 0 }, from_end)
        })?;
        self.set(place.address, place.address + size, None);
        Some(place)
    }

    /// Takes `bytes` at an address; `None` where some of it is held.
    pub(super) fn take_at(&mut self, address: u64, bytes: Bytes, now: Cycles) -> Option<Place> {
        let end = address + bytes.get().max(1);
        let mut covered = self.segments.iter().filter(|segment| segment.begin < end && address < segment.end);
        let ready = covered.try_fold(now, |ready, segment| Some(ready.max(segment.free_since?)))?;
        self.set(address, end, None);
        Some(Place { address, ready, hole: 0 })
    }

    /// Gives back what was taken; its last users are done at `since`.
    pub(super) fn give(&mut self, address: u64, bytes: Bytes, since: Cycles) {
        self.set(address, address + bytes.get().max(1), Some(since));
    }

    /// The place in a hole that is ready the earliest; of those alike the nearest to its end.
    fn place_in(&self, hole: &[Segment], size: u64, now: Cycles, side: Side) -> Option<Place> {
        let mut best: Option<(u64, Cycles)> = None;
        for step in 0..hole.len() {
            let below = best.map_or(Cycles(u64::MAX), |(_, ready)| ready);
            let better = match side {
                Side::Low => place_up(&hole[step..], size, self.alignment, now, below),
                Side::High => place_down(&hole[..hole.len() - step], size, self.alignment, now, below),
            };
            best = better.or(best);
            if best.is_some_and(|(_, ready)| ready == now) {
                break;
            }
        }
        let (address, ready) = best?;
        Some(Place { address, ready, hole: hole[hole.len() - 1].end - hole[0].begin })
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

/// Where a buffer goes that begins with the first of some free segments, and when it can be written, if that is earlier
/// than `below`.
fn place_up(free: &[Segment], size: u64, alignment: u64, now: Cycles, below: Cycles) -> Option<(u64, Cycles)> {
    let address = free[0].begin.checked_next_multiple_of(alignment)?;
    let end = address.checked_add(size)?;
    // Where all of the first segment is lost to alignment, the next one begins the same place.
    if address >= free[0].end || end > free[free.len() - 1].end {
        return None;
    }
    let mut ready = now;
    for segment in free {
        ready = ready.max(segment.free_since?);
        if ready >= below || segment.end >= end {
            break;
        }
    }
    (ready < below).then_some((address, ready))
}

/// The same, of a buffer that ends with the last of them.
fn place_down(free: &[Segment], size: u64, alignment: u64, now: Cycles, below: Cycles) -> Option<(u64, Cycles)> {
    let address = free[free.len() - 1].end.checked_sub(size)? / alignment * alignment;
    if address < free[0].begin {
        return None;
    }
    let mut ready = now;
    for segment in free.iter().rev() {
        ready = ready.max(segment.free_since?);
        if ready >= below || segment.begin <= address {
            break;
        }
    }
    (ready < below).then_some((address, ready))
}

#[cfg(test)]
mod tests {
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
        space.forget(Cycles(30));
        assert_eq!(take(&mut space, 200, 0, Side::Low), Some((100, 30)));
    }
}
