//! A search on the real machine, for where addresses decide what an order is worth.
//!
//! Level by level, level n having the states with n tiles done. Of those the `width` stay whose lower bound is the least,
//! and then whose engines are free first. What has room for neither job's next tile drops out by itself.

use super::ahead::Ahead;
use super::counts::Clock;
use crate::coschedule::machine::{Machine, Step};

/// What a search came to.
pub(super) struct Outcome {
    /// Levels that had a state.
    pub(super) levels: usize,
    /// The jobs in the order of their tiles, and its cycles, if it is less than the limit.
    pub(super) found: Option<(Vec<u8>, u64)>,
}

/// Looks for an order that takes less than `limit`; it tries no more than `2 · width` steps a level.
pub(super) fn search(machine: Machine, ahead: &Ahead, width: usize, limit: u64) -> Outcome {
    let mut beam = Beam { ahead, width, limit, path: vec![(0, 0)] };
    let mut states = vec![State { machine, at: [0, 0], node: 0 }];
    let mut levels = 0;
    while states.iter().any(|state| (0..2).any(|job| state.machine.has_next(job))) {
        let children = beam.children(&mut states);
        states = beam.settle(&states, children);
        levels += 1;
    }
    let end = |state: State| (state.machine.finish().1.get(), state.node);
    let best = states.into_iter().map(end).min().filter(|&(cycles, _)| cycles < limit);
    Outcome { levels, found: best.map(|(cycles, node)| (beam.jobs(node), cycles)) }
}

struct Beam<'a> {
    ahead: &'a Ahead<'a>,
    width: usize,
    limit: u64,
    /// How each state came about: the one before it, and whose tile was taken there.
    path: Vec<(usize, u8)>,
}

struct State<'a> {
    machine: Machine<'a>,
    at: [usize; 2],
    /// Its place in the path.
    node: usize,
}

/// A state that competes for a place in the next level.
struct Child {
    parent: usize,
    at: [usize; 2],
    clock: Clock,
    bound: u64,
    step: Step,
}

impl Child {
    fn is_as_good_as(&self, other: &Self) -> bool {
        self.at == other.at && self.clock.compute <= other.clock.compute && self.clock.dma <= other.clock.dma
    }
}

impl Beam<'_> {
    /// All states that can come next and may take less than the limit, the best first.
    fn children(&self, states: &mut [State]) -> Vec<Child> {
        let mut children = Vec::with_capacity(2 * states.len());
        for (parent, state) in states.iter_mut().enumerate() {
            for job in 0..2 {
                if !state.machine.has_next(job) {
                    continue;
                }
                let Ok(step) = state.machine.probe(job) else { continue };
                let mut at = state.at;
                at[job] += 1;
                let clock = step.clock();
                let bound = self.ahead.least(at, job, clock);
                if bound < self.limit {
                    children.push(Child { parent, at, clock, bound, step });
                }
            }
        }
        children.sort_by_key(|child| (child.bound, child.clock));
        children
    }

    /// The first of them, without those that are no better than one before.
    fn settle<'m>(&mut self, states: &[State<'m>], children: Vec<Child>) -> Vec<State<'m>> {
        let mut kept: Vec<Child> = Vec::with_capacity(self.width);
        for child in children {
            if kept.len() < self.width && !kept.iter().any(|other| other.is_as_good_as(&child)) {
                kept.push(child);
            }
        }
        let grow = |Child { parent, at, step, .. }: Child| {
            let mut machine = states[parent].machine.clone();
            self.path.push((states[parent].node, u8::try_from(step.job).expect("two jobs")));
            machine.take(step);
            State { machine, at, node: self.path.len() - 1 }
        };
        kept.into_iter().map(grow).collect()
    }

    /// The jobs on the way to a node.
    fn jobs(&self, mut node: usize) -> Vec<u8> {
        let mut jobs = Vec::new();
        while node > 0 {
            let (before, job) = self.path[node];
            jobs.push(job);
            node = before;
        }
        jobs.reverse();
        jobs
    }
}
