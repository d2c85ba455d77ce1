//! A search over (tiles of A done, tiles of B done), within a corridor around a known order.
//!
//! Level by level, level n having the states with n tiles done. Of each cell at most [`KEPT`] states stay, those that
//! come first by a [`Sort`]; states whose lower bound is no better than the best order known are dropped. The corridor
//! makes time and memory linear in the tiles: its width follows from the number of states that may be made.

use super::ahead::Ahead;
use super::counts::{Clock, Counts};
use super::rules::Order;

/// States kept of a cell.
const KEPT: usize = 4;

/// No search holds more states than this: 56 bytes each, 168 MiB.
const MOST_STATES: usize = 3 << 20;

/// Which states of a cell are the better ones.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sort {
    /// Whose compute engine is free first, then whose DMA engine is: best where SRAM is short.
    ComputeFirst,
    /// By the sum of both.
    Sum,
    /// By the lower bound of what is left, which does not know the SRAM.
    Bound,
}

impl Sort {
    pub(super) const ALL: [Self; 3] = [Self::ComputeFirst, Self::Sum, Self::Bound];

    fn key(self, clock: Clock, bound: u64) -> (u64, u64, u64) {
        match self {
            Self::ComputeFirst => (clock.compute, clock.dma, 0),
            Self::Sum => (clock.compute + clock.dma, clock.dma, 0),
            Self::Bound => (bound, clock.compute, clock.dma),
        }
    }
}

/// A state, and how it came about.
#[derive(Clone, Copy)]
struct State {
    clock: Clock,
    /// What both jobs held while its last tile ran, but for loads.
    peak: i64,
    /// The most of that from here up to the jump, which does not count.
    highest: i64,
    parent: u32,
    /// An ancestor farther up, so that any is found in O(log) steps (Myers 1983, skew-binary jumps).
    jump: u32,
    level: u32,
    /// Tiles of A done.
    of_a: u32,
    job: u8,
}

impl State {
    fn tiles_of(&self, job: u8) -> u32 {
        if job == 0 { self.of_a } else { self.level - self.of_a }
    }
}

/// A state that competes for a place in its cell.
#[derive(Clone, Copy)]
struct Candidate {
    key: (u64, u64, u64),
    clock: Clock,
    parent: u32,
    job: u8,
}

/// The best order found that takes less than `limit`, and what is left of the number of states.
pub(super) fn search(
    counts: &Counts,
    ahead: &Ahead,
    around: &[u8],
    sort: Sort,
    limit: u64,
    states: &mut u64,
) -> Option<Order> {
    let levels = counts.levels();
    let of_a_level = usize::try_from(*states).unwrap_or(usize::MAX).min(MOST_STATES) / levels.max(1);
    let mut search = Search { counts, ahead, sort, limit, half: of_a_level / KEPT / 2, pool: Vec::new(), made: 0 };
    let found = search.run(around);
    *states = states.saturating_sub(search.made);
    found
}

struct Search<'a> {
    counts: &'a Counts<'a>,
    ahead: &'a Ahead<'a>,
    sort: Sort,
    limit: u64,
    /// Cells on each side of the known order.
    half: usize,
    pool: Vec<State>,
    /// States made so far.
    made: u64,
}

/// The cells of a level: from `first` tiles of A on, each with its states.
struct Level {
    first: usize,
    cells: Vec<Vec<u32>>,
}

impl Search<'_> {
    fn run(&mut self, around: &[u8]) -> Option<Order> {
        let [a, b] = self.counts.lines.map(|line| line.tiles.len());
        let root =
            State { clock: Clock::default(), peak: 0, highest: 0, parent: 0, jump: 0, level: 0, of_a: 0, job: 0 };
        self.pool.push(root);
        let mut level = Level { first: 0, cells: vec![vec![0]] };
        let mut center = 0;
        for (done, &job) in around.iter().enumerate() {
            center += usize::from(job == 0);
            let first = (done + 1).saturating_sub(b).max(center.saturating_sub(self.half));
            let last = a.min(done + 1).min(center + self.half);
            let mut next: Vec<Vec<Candidate>> = vec![Vec::new(); last + 1 - first];
            for (i, states) in (level.first..).zip(&level.cells) {
                for &state in states {
                    for job in 0..2 {
                        let cell = (i + 1 - job).checked_sub(first).and_then(|cell| next.get_mut(cell));
                        if let Some(cell) = cell {
                            self.made += 1;
                            let at = [i, done - i];
                            self.expand(state, at, job).into_iter().for_each(|candidate| keep(cell, candidate));
                        }
                    }
                }
            }
            level = self.settle(done + 1, first, next);
        }
        let ends = level.cells.iter().flatten();
        let end = |&state: &u32| {
            let State { clock, job, .. } = self.pool[state as usize];
            (clock.compute + self.counts.lines[usize::from(job)].tail, state)
        };
        let (cycles, state) = ends.map(end).min()?;
        (cycles < self.limit).then(|| Order { jobs: self.jobs(state), cycles })
    }

    /// The state after a job's next tile, if it could lead to something better than what is known.
    fn expand(&self, parent: u32, at: [usize; 2], job: usize) -> Option<Candidate> {
        let spare = self.counts.spare(at, job)?;
        let state = &self.pool[parent as usize];
        let tile = &self.counts.lines[job].tiles[at[job]];
        let of_job = u8::try_from(job).expect("two jobs");
        let computed = tile.due.map_or(0, |due| self.done(parent, of_job, due.after));
        let clock = self.counts.run(state.clock, tile, self.below(parent, spare), computed);
        let mut after = at;
        after[job] += 1;
        let bound = self.ahead.least(after, job, clock);
        let job = of_job;
        (bound < self.limit).then(|| Candidate { key: self.sort.key(clock, bound), clock, parent, job })
    }

    /// When the last tile was done on the way to a state while which more was held; any time before its DMA engine is
    /// free is as good.
    fn below(&self, state: u32, spare: i64) -> u64 {
        let mut now = &self.pool[state as usize];
        let dma = now.clock.dma;
        while now.level > 0 && now.clock.compute > dma {
            if now.peak > spare {
                return now.clock.compute;
            }
            now = &self.pool[if now.highest > spare { now.parent } else { now.jump } as usize];
        }
        0
    }

    /// When so many tiles of a job were done, on the way to a state where they are.
    fn done(&self, state: u32, job: u8, tiles: usize) -> u64 {
        let are_done = |state: u32| self.pool[state as usize].tiles_of(job) as usize >= tiles;
        let mut now = &self.pool[state as usize];
        while are_done(now.parent) {
            now = &self.pool[if are_done(now.jump) { now.jump } else { now.parent } as usize];
        }
        now.clock.compute
    }

    fn settle(&mut self, level: usize, first: usize, cells: Vec<Vec<Candidate>>) -> Level {
        let level = u32::try_from(level).expect("bounded by the states");
        let mut settled = Vec::with_capacity(cells.len());
        for (i, candidates) in (first..).zip(cells) {
            let push = |Candidate { key: _, clock, parent, job }: Candidate| {
                let mut before = [i, level as usize - i];
                before[usize::from(job)] -= 1;
                let peak = self.counts.peak(before, usize::from(job));
                let above = self.pool[parent as usize];
                let jump = self.pool[above.jump as usize];
                let beyond = self.pool[jump.jump as usize];
                let is_even = above.level - jump.level == jump.level - beyond.level;
                let (jump, highest) =
                    if is_even { (jump.jump, peak.max(above.highest).max(jump.highest)) } else { (parent, peak) };
                let of_a = u32::try_from(i).expect("no more than the level");
                self.pool.push(State { clock, peak, highest, parent, jump, level, of_a, job });
                u32::try_from(self.pool.len() - 1).expect("bounded by the states")
            };
            settled.push(candidates.into_iter().map(push).collect());
        }
        Level { first, cells: settled }
    }

    /// The jobs on the way to a state.
    fn jobs(&self, mut state: u32) -> Vec<u8> {
        let mut jobs = Vec::new();
        while self.pool[state as usize].level > 0 {
            jobs.push(self.pool[state as usize].job);
            state = self.pool[state as usize].parent;
        }
        jobs.reverse();
        jobs
    }
}

/// Adds a candidate in order, unless it is as another, or too many are better.
fn keep(cell: &mut Vec<Candidate>, candidate: Candidate) {
    let place = cell.partition_point(|other| other.key <= candidate.key);
    if place > 0 && cell[place - 1].clock == candidate.clock {
        return;
    }
    if place < KEPT {
        cell.truncate(KEPT - 1);
        cell.insert(place, candidate);
    }
}
