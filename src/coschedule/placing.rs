//! Addresses for an order of tiles that is known.
//!
//! On the machine a stay is placed when its tile's turn comes, and the scratchpad is cut up by and by. Of a known order
//! every stay's life is known: from the start of its load, or of the first tile that writes it, to the end of the last tile
//! that uses it, as the machine by counts has them. So what is hard to place can be placed first.
//!
//! Where no place is free for all of a life, one is taken that costs the shortest wait: what is there is used last before
//! the stay's own first tile, or first after its last one, so that a load waits for its end.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::chain::{Chain, SlotId};
use super::optimal::rules::Moment;
use crate::ir::IdVec;
use crate::npu::Sram;
use crate::units::Cycles;

/// Where stays go: by job, tile of all its requests, and place among what the tile loads and then begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Addresses(Vec<Vec<Vec<u64>>>);

impl Addresses {
    pub(super) fn of(&self, job: usize, tile: usize) -> &[u64] {
        &self.0[job][tile]
    }
}

/// Which stays are placed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// Those that begin first.
    Earliest,
    Largest,
    LongestLived,
    /// Those that take the most bytes for the most tiles.
    Greatest,
}

impl First {
    pub(super) const ALL: [Self; 4] = [Self::Greatest, Self::Earliest, Self::Largest, Self::LongestLived];
}

/// A stay for which there is no place is placed before all others, so many times.
const MOST_ATTEMPTS: usize = 32;

/// The order of some jobs' tiles, and the stays that come of it when they run as they do by counts.
pub(super) struct Lives<'a> {
    jobs: &'a [u8],
    moments: Vec<Moment>,
    stays: Vec<Stay>,
}

impl<'a> Lives<'a> {
    pub(super) fn new(chains: &[&Chain], jobs: &'a [u8], moments: Vec<Moment>) -> Self {
        Self { jobs, stays: stays(chains, jobs, &moments), moments }
    }

    /// When the last tile is done by counts.
    pub(super) fn done(&self) -> Cycles {
        self.moments.last().map_or(Cycles::ZERO, |last| Cycles(last.done))
    }

    /// Places all stays in at most `steps` steps, of which it takes what it needs; `None` where some find no place.
    pub(super) fn place(&self, sram: &Sram, first: First, steps: &mut u64) -> Option<Addresses> {
        let mut queue: Vec<usize> = (0..self.stays.len()).collect();
        queue.sort_by_key(|&stay| Reverse(first.rank(&self.stays[stay])));
        for _ in 0..MOST_ATTEMPTS {
            *steps = steps.checked_sub(self.jobs.len() as u64)?;
            let (addresses, at) = (vec![0; self.stays.len()], vec![Vec::new(); self.jobs.len()]);
            let mut attempt = Attempt { lives: self, sram, addresses, begun: at.clone(), at };
            match queue.iter().position(|&stay| attempt.add(stay).is_none()) {
                None => return Some(self.by_tile(&attempt.addresses)),
                Some(failed) => queue[..=failed].rotate_right(1),
            }
        }
        None
    }

    fn by_tile(&self, addresses: &[u64]) -> Addresses {
        let jobs = self.jobs.iter().max().map_or(0, |&last| usize::from(last) + 1);
        let mut by_tile: Vec<Vec<Vec<u64>>> = vec![Vec::new(); jobs];
        self.jobs.iter().for_each(|&job| by_tile[usize::from(job)].push(Vec::new()));
        for (stay, &address) in self.stays.iter().zip(addresses) {
            by_tile[stay.job][stay.tile].push(address);
        }
        Addresses(by_tile)
    }
}

/// What is placed. Times are steps of the order.
struct Stay {
    job: usize,
    /// Its tile of all requests.
    tile: usize,
    bytes: u64,
    /// The step during which, or before which, its load starts.
    from: usize,
    /// The step that is the first to use it.
    first: usize,
    /// The step that is the last to use it.
    last: usize,
    /// When its load starts.
    starts: u64,
}

impl First {
    fn rank(self, stay: &Stay) -> (u64, u64) {
        let life = (stay.last + 1 - stay.from) as u64;
        match self {
            Self::Earliest => (u64::MAX - stay.from as u64, stay.bytes),
            Self::Largest => (stay.bytes, life),
            Self::LongestLived => (life, stay.bytes),
            Self::Greatest => (stay.bytes.saturating_mul(life), stay.bytes),
        }
    }
}

/// All stays of an order, by the step that begins them and their place in its tile.
fn stays(chains: &[&Chain], jobs: &[u8], moments: &[Moment]) -> Vec<Stay> {
    let mut stays: Vec<Stay> = Vec::new();
    let none = |chain: &&Chain| chain.slots.iter().map(|_| usize::MAX).collect();
    let mut of_slot: Vec<IdVec<SlotId, usize>> = chains.iter().map(none).collect();
    let mut next = vec![0; chains.len()];
    for (step, (&job, moment)) in jobs.iter().zip(moments).enumerate() {
        let job = usize::from(job);
        let chain = chains[job];
        let tile = &chain.tiles[next[job] % chain.tiles.len()];
        let before_load = moments[..step].partition_point(|earlier| earlier.done <= moment.load_start);
        let loads = tile.loads.iter().map(|&slot| (slot, before_load, moment.load_start));
        let begins = tile.begins.iter().map(|&slot| (slot, step, moment.done));
        for (slot, from, starts) in loads.chain(begins) {
            of_slot[job][slot] = stays.len();
            let bytes = chain.slots[slot].bytes.get().max(1);
            stays.push(Stay { job, tile: next[job], bytes, from, first: step, last: step, starts });
        }
        for &(slot, old) in &tile.replaces {
            of_slot[job][slot] = of_slot[job][old];
        }
        for &slot in &tile.ends {
            stays[of_slot[job][slot]].last = step;
        }
        next[job] += 1;
    }
    stays
}

/// Some bytes that another stay takes during a stay's life.
#[derive(Clone, Copy)]
struct Taken {
    begin: u64,
    end: u64,
    /// The wait that sharing them costs; `None` where both are in use at once.
    wait: Option<u64>,
}

/// The bytes that some stays take, as pieces apart. They come by rising address.
fn union<'t>(taken: impl Iterator<Item = &'t Taken>) -> Vec<(u64, u64)> {
    let mut pieces: Vec<(u64, u64)> = Vec::new();
    for other in taken {
        match pieces.last_mut() {
            Some((_, end)) if other.begin <= *end => *end = other.end.max(*end),
            Some(_) | None => pieces.push((other.begin, other.end)),
        }
    }
    pieces
}

/// What is placed so far.
struct Attempt<'a> {
    lives: &'a Lives<'a>,
    sram: &'a Sram,
    addresses: Vec<u64>,
    /// The placed stays that live at each step.
    at: Vec<Vec<usize>>,
    /// Those of them that begin there.
    begun: Vec<Vec<usize>>,
}

impl Attempt<'_> {
    fn add(&mut self, id: usize) -> Option<()> {
        let stay = &self.lives.stays[id];
        let taken = self.taken(stay);
        self.addresses[id] = self.free_place(stay, &taken).or_else(|| self.shared_place(stay, &taken))?;
        self.at[stay.from..=stay.last].iter_mut().for_each(|living| living.push(id));
        self.begun[stay.from].push(id);
        Some(())
    }

    /// What other stays take during a stay's life, by address.
    fn taken(&self, stay: &Stay) -> Vec<Taken> {
        // Those that live at its first step, and those that begin later.
        let later = self.begun[stay.from + 1..=stay.last].iter().flatten();
        let wait = |for_last: usize, starts: u64| self.lives.moments[for_last].done.saturating_sub(starts);
        let of = |&other: &usize| {
            let (begin, other) = (self.addresses[other], &self.lives.stays[other]);
            let wait = if other.last < stay.first {
                Some(wait(other.last, stay.starts))
            } else if stay.last < other.first {
                Some(wait(stay.last, other.starts))
            } else {
                None
            };
            Taken { begin, end: begin + other.bytes, wait }
        };
        let mut taken: Vec<Taken> = self.at[stay.from].iter().chain(later).map(of).collect();
        taken.sort_unstable_by_key(|taken| (taken.begin, taken.end));
        taken
    }

    /// The smallest hole between what is taken, at its low end.
    fn free_place(&self, stay: &Stay, taken: &[Taken]) -> Option<u64> {
        let mut best: Option<(u64, u64)> = None;
        let mut low = 0;
        let end = Taken { begin: self.sram.bytes.get(), end: u64::MAX, wait: None };
        for next in taken.iter().chain([&end]) {
            let address = self.aligned(low);
            if address + stay.bytes <= next.begin && best.is_none_or(|(hole, _)| next.begin - low < hole) {
                best = Some((next.begin - low, address));
            }
            low = low.max(next.end);
        }
        best.map(|(_, address)| address)
    }

    /// Where sharing costs the shortest wait: beside the end of something that is taken.
    fn shared_place(&self, stay: &Stay, taken: &[Taken]) -> Option<u64> {
        let above = taken.iter().map(|other| self.aligned(other.end));
        let step = self.sram.alignment_bytes.get();
        let below = taken.iter().filter_map(|other| Some(other.begin.checked_sub(stay.bytes)? / step * step));
        let mut places: Vec<u64> = std::iter::once(0).chain(above).chain(below).collect();
        places.sort_unstable();
        let in_use = union(taken.iter().filter(|other| other.wait.is_none()));
        // What a place shares with others, by wait: those begin before its end, and end after its begin.
        let mut others = taken.iter().filter_map(|other| Some((other, other.wait?))).peekable();
        let mut shared = BinaryHeap::new();
        let mut best: Option<(u64, u64)> = None;
        for address in places {
            let end = address + stay.bytes;
            while let Some((other, wait)) = others.next_if(|(other, _)| other.begin < end) {
                shared.push((wait, other.end));
            }
            while shared.peek().is_some_and(|&(_, shared_end)| shared_end <= address) {
                shared.pop();
            }
            let used = in_use.partition_point(|&(_, used_end)| used_end <= address);
            let is_free = in_use.get(used).is_none_or(|&(used_begin, _)| end <= used_begin);
            let wait = shared.peek().map_or(0, |&(wait, _)| wait);
            if is_free && end <= self.sram.bytes.get() && best.is_none_or(|(least, _)| wait < least) {
                best = Some((wait, address));
            }
        }
        best.map(|(_, address)| address)
    }

    fn aligned(&self, address: u64) -> u64 {
        address.next_multiple_of(self.sram.alignment_bytes.get())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::units::Bytes;

    /// The wait at a place; `None` where something there is in use.
    fn wait(address: u64, bytes: u64, taken: &[Taken]) -> Option<u64> {
        let mut over = taken.iter().filter(|other| other.begin < address + bytes && address < other.end);
        over.try_fold(0, |longest: u64, other| Some(longest.max(other.wait?)))
    }

    /// The least wait of any place, by trying each.
    fn naive(bytes: u64, sram: &Sram, taken: &[Taken]) -> Option<u64> {
        let step = usize::try_from(sram.alignment_bytes.get()).unwrap();
        let places = (0..sram.bytes.get()).step_by(step).filter(|address| address + bytes <= sram.bytes.get());
        places.filter_map(|address| wait(address, bytes, taken)).min()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        /// Stays that overlap in time and in space, some in use all the time. A place between two ends is never better
        /// than the lower of these.
        #[test]
        fn the_shared_place_has_the_shortest_wait(
            bytes in 1..20u64,
            alignment in 1..4u64,
            others in prop::collection::vec((0..40u64, 1..12u64, prop::option::of(0..6u64)), 1..12),
        ) {
            let sram = Sram { bytes: Bytes(48), alignment_bytes: Bytes(alignment) };
            let of = |&(begin, bytes, wait): &(u64, u64, Option<u64>)| {
                let begin = begin / alignment * alignment;
                Taken { begin, end: begin + bytes, wait }
            };
            let mut taken: Vec<Taken> = others.iter().map(of).collect();
            taken.sort_unstable_by_key(|taken| (taken.begin, taken.end));
            let lives = Lives { jobs: &[], moments: Vec::new(), stays: Vec::new() };
            let attempt = Attempt { lives: &lives, sram: &sram, addresses: Vec::new(), at: Vec::new(), begun: Vec::new() };
            let stay = Stay { job: 0, tile: 0, bytes, from: 0, first: 0, last: 0, starts: 0 };
            let found = attempt.shared_place(&stay, &taken);
            prop_assert_eq!(found.and_then(|address| wait(address, bytes, &taken)), naive(bytes, &sram, &taken));
        }
    }
}
