//! Every order of two short jobs on the real machine, by branch and bound.

use super::ahead::Ahead;
use crate::coschedule::machine::Machine;

/// Jobs of more tiles together are not tried: no bound would cut their tree down.
pub(super) const MOST_TILES: usize = 24;

/// Looks for an order that takes less than `limit`, in at most `states` steps, of which it takes what it needs.
pub(super) fn search(machine: &Machine, ahead: &Ahead, limit: u64, states: &mut u64) -> Option<(Vec<u8>, u64)> {
    let mut search = Search { ahead, limit, states, jobs: Vec::new(), best: None };
    search.visit(machine, [0, 0]);
    search.best
}

struct Search<'a> {
    ahead: &'a Ahead<'a>,
    limit: u64,
    states: &'a mut u64,
    jobs: Vec<u8>,
    best: Option<(Vec<u8>, u64)>,
}

impl Search<'_> {
    fn visit(&mut self, machine: &Machine, at: [usize; 2]) {
        let jobs = (0..2).filter(|&job| machine.has_next(job));
        let mut next: Vec<_> = jobs.filter_map(|job| self.step(machine, at, job)).collect();
        // The more promising first; of two alike A's.
        next.sort_by_key(|&(bound, job, _)| (bound, job));
        if next.is_empty() && !machine.has_next(0) && !machine.has_next(1) {
            let (_, cycles) = machine.clone().finish();
            if cycles.get() < self.limit {
                self.limit = cycles.get();
                self.best = Some((self.jobs.clone(), self.limit));
            }
        }
        for (bound, job, machine) in next {
            if bound < self.limit {
                let mut at = at;
                at[job] += 1;
                self.jobs.push(u8::try_from(job).expect("two jobs"));
                self.visit(&machine, at);
                self.jobs.pop();
            }
        }
    }

    /// The machine after a job's next tile, and the least that an order through it takes.
    fn step<'m>(&mut self, machine: &Machine<'m>, at: [usize; 2], job: usize) -> Option<(u64, usize, Machine<'m>)> {
        *self.states = self.states.checked_sub(1)?;
        let mut machine = machine.clone();
        let step = machine.probe(job).ok()?;
        let mut after = at;
        after[job] += 1;
        let bound = self.ahead.least(after, job, step.clock());
        (bound < self.limit).then(|| {
            machine.take(step);
            (bound, job, machine)
        })
    }
}
