//! Every schedule of two short jobs: each order of the transfers, stores among them, each order of the tiles, each address.
//! A peer for the bound and for `optimal` that shares nothing with the machine.

use std::collections::HashSet;

use crate::coschedule::testing::Plain;

/// Since a byte is held.
const HELD: u64 = u64::MAX;

/// What is run, on what.
pub(super) struct Peer<'a> {
    pub(super) jobs: [&'a [Plain]; 2],
    pub(super) sram: usize,
    pub(super) latency: u64,
}

/// After some commands. Commands come in the order in which they start: so what a load or a tile has room beside is known.
#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    dma: u64,
    compute: u64,
    done: u64,
    /// Tiles of each job whose load is queued, and tiles that are.
    loaded: [usize; 2],
    run: [usize; 2],
    /// Since when each byte is free.
    free: Vec<u64>,
    /// For each job, when the loads of tiles to come are there, and where.
    ahead: [Vec<(u64, usize)>; 2],
    left: Vec<Left>,
}

/// What a tile has left in the scratchpad.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Left {
    job: usize,
    /// The tile that is the last to use it, and when that was done.
    last: usize,
    until: Option<u64>,
    address: usize,
    bytes: usize,
    /// Cycles of its store, if that is to come, and when it can begin.
    owed: Option<u64>,
    ready: u64,
    stored: u64,
}

impl Peer<'_> {
    /// The least cycles of any schedule, if that is less than `limit`.
    pub(super) fn least(&self, limit: u64) -> Option<u64> {
        let mut known = HashSet::new();
        let mut stack = vec![State {
            dma: 0,
            compute: 0,
            done: 0,
            loaded: [0, 0],
            run: [0, 0],
            free: vec![0; self.sram],
            ahead: [Vec::new(), Vec::new()],
            left: Vec::new(),
        }];
        let mut best = None;
        while let Some(state) = stack.pop() {
            if self.bound(&state) >= best.unwrap_or(limit) || !known.insert(state.clone()) {
                continue;
            }
            let next = self.next(&state);
            let is_done = (0..2).all(|job| state.run[job] == self.jobs[job].len());
            if next.is_empty() && is_done {
                best = Some(state.done);
            }
            stack.extend(next);
        }
        best
    }

    /// By the sums of what is left.
    fn bound(&self, state: &State) -> u64 {
        let (mut compute, mut dma) = (state.compute, state.dma);
        for job in 0..2 {
            compute += self.jobs[job][state.run[job]..].iter().map(|tile| tile.compute).sum::<u64>();
            dma +=
                self.jobs[job][state.loaded[job]..].iter().filter_map(|tile| tile.load).map(|load| load.1).sum::<u64>();
        }
        state.done.max(compute).max(dma)
    }

    fn next(&self, state: &State) -> Vec<State> {
        let loads = (0..2).flat_map(|job| self.loads(state, job));
        let tiles = (0..2).flat_map(|job| self.tiles(state, job));
        let stores = (0..state.left.len()).filter_map(|left| self.store(state, left));
        loads.chain(tiles).chain(stores).map(State::settled).collect()
    }

    fn loads(&self, state: &State, job: usize) -> Vec<State> {
        let Some(tile) = self.jobs[job].get(state.loaded[job]) else { return Vec::new() };
        let with = |there: u64, address: usize, mut state: State| {
            state.loaded[job] += 1;
            state.ahead[job].push((there, address));
            state
        };
        let Some((bytes, cycles)) = tile.load else { return vec![with(0, 0, state.clone())] };
        let at = |(address, since): (usize, u64)| {
            let mut state = state.clone();
            state.dma = state.dma.max(since) + cycles;
            state.done = state.done.max(state.dma + self.latency);
            state.hold(address, size(bytes));
            with(state.dma + self.latency, address, state)
        };
        state.places(size(bytes)).into_iter().map(at).collect()
    }

    fn tiles(&self, state: &State, job: usize) -> Vec<State> {
        let run = state.run[job];
        if run == state.loaded[job] {
            return Vec::new();
        }
        let tile = &self.jobs[job][run];
        let bytes = size(tile.leaves.0);
        let places = if bytes == 0 { vec![(0, 0)] } else { state.places(bytes) };
        let at = |(address, since): (usize, u64)| {
            let mut state = state.clone();
            let (there, loaded) = state.ahead[job].remove(0);
            let done = state.compute.max(there).max(since) + tile.compute;
            (state.compute, state.done, state.run[job]) = (done, state.done.max(done), run + 1);
            if bytes > 0 {
                state.hold(address, bytes);
                let last = (run + tile.leaves.1).min(self.jobs[job].len() - 1);
                let left = Left { job, last, until: None, address, bytes, owed: tile.store, ready: done, stored: 0 };
                state.left.push(left);
            }
            if let Some((bytes, _)) = tile.load {
                state.give(loaded, size(bytes), done);
            }
            for at in (0..state.left.len()).rev() {
                if (state.left[at].job, state.left[at].last) == (job, run) {
                    state.left[at].until = Some(done);
                    state.drop_if_over(at);
                }
            }
            state
        };
        places.into_iter().map(at).collect()
    }

    fn store(&self, state: &State, at: usize) -> Option<State> {
        let cycles = state.left[at].owed?;
        let mut state = state.clone();
        state.dma = state.dma.max(state.left[at].ready) + cycles;
        let stored = state.dma + self.latency;
        state.done = state.done.max(stored);
        (state.left[at].owed, state.left[at].stored) = (None, stored);
        state.drop_if_over(at);
        Some(state)
    }
}

impl State {
    /// Where so many bytes are not held, and since when all of them are free.
    fn places(&self, bytes: usize) -> Vec<(usize, u64)> {
        let since = |at: usize| self.free[at..at + bytes].iter().copied().max().unwrap_or(0);
        let all = 0..(self.free.len() + 1).saturating_sub(bytes);
        all.map(|at| (at, since(at))).filter(|&(_, since)| since < HELD).collect()
    }

    fn hold(&mut self, address: usize, bytes: usize) {
        self.free[address..address + bytes].fill(HELD);
    }

    fn give(&mut self, address: usize, bytes: usize, since: u64) {
        self.free[address..address + bytes].fill(since);
    }

    /// Gives back what is neither used nor stored any more.
    fn drop_if_over(&mut self, at: usize) {
        if let Left { until: Some(until), owed: None, address, bytes, stored, .. } = self.left[at] {
            self.left.remove(at);
            self.give(address, bytes, until.max(stored));
        }
    }

    /// What nothing can start before is all the same.
    fn settled(mut self) -> Self {
        let past = self.dma.min(self.compute);
        self.free.iter_mut().filter(|since| **since <= past).for_each(|since| *since = 0);
        self
    }
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).expect("few")
}
