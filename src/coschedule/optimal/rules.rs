//! Orders by simple rules, on the machine by counts: the first members of the portfolio.
//!
//! Each takes a few nanoseconds a tile, so all of them are tried on every layout before anything is searched.

use std::cmp::Ordering;

use super::ahead::Ahead;
use super::counts::{Clock, Counts, Line, Tile};

/// How the next tile is chosen. Where a rule finds no difference it is A's, or the job's that is said to be `first`.
#[derive(Clone, Copy)]
pub(in crate::coschedule) enum Rule<'a> {
    /// All of one job, then the other.
    Serial { first: usize },
    /// In turn, in proportion to something of the jobs.
    Proportional { by: Measure, first: usize },
    /// The policy greedy's.
    LeastIdle { first: usize },
    /// The least lower bound of what comes after; then the shortest stall of the DMA engine; then the larger load less
    /// compute.
    Ahead(&'a Ahead<'a>),
    /// As given, by level; where that tile has no room, the other job's.
    Given(&'a [u8]),
}

/// What progress is measured by.
#[derive(Clone, Copy)]
pub(in crate::coschedule) enum Measure {
    Loads,
    Compute,
    Both,
    Tiles,
}

impl Measure {
    pub(super) const ALL: [Self; 4] = [Self::Loads, Self::Compute, Self::Both, Self::Tiles];

    /// What is left after n tiles.
    fn left(self, line: &Line, n: usize) -> u64 {
        match self {
            Self::Loads => line.loads_left[n],
            Self::Compute => line.compute_left[n],
            Self::Both => line.loads_left[n] + line.compute_left[n],
            Self::Tiles => (line.tiles.len() - n) as u64,
        }
    }
}

/// An order, and what it takes by counts.
#[derive(Clone, Debug)]
pub(in crate::coschedule) struct Order {
    pub(super) jobs: Vec<u8>,
    pub(in crate::coschedule) cycles: u64,
}

/// Runs a rule; `None` where it gets stuck, or takes `limit` cycles or more.
pub(in crate::coschedule) fn order(counts: &Counts, rule: Rule, limit: u64) -> Option<Order> {
    let mut run = Run::new(counts);
    for level in 0..counts.levels() {
        let next = [run.next(0), run.next(1)];
        let job = match next {
            [Some(a), Some(b)] => run.choose(rule, level, [a, b]),
            [Some(_), None] => 0,
            [None, Some(_)] => 1,
            [None, None] => return None,
        };
        run.take(job, next[job].expect("it was chosen"));
        if counts.least(run.at, run.clock) >= limit {
            return None;
        }
    }
    let last = *run.jobs.last()?;
    let cycles = run.clock.compute + counts.lines[usize::from(last)].tail;
    (cycles < limit).then_some(Order { jobs: run.jobs, cycles })
}

struct Run<'a> {
    counts: &'a Counts<'a>,
    at: [usize; 2],
    clock: Clock,
    jobs: Vec<u8>,
    /// Bytes given back by each tile so far and all before it, and when.
    freed: Vec<(u64, u64)>,
    /// The first of them that a load can still have to wait for.
    first: usize,
}

impl<'a> Run<'a> {
    fn new(counts: &'a Counts<'a>) -> Self {
        let levels = counts.levels();
        let (jobs, freed) = (Vec::with_capacity(levels), Vec::with_capacity(levels));
        Self { counts, at: [0, 0], clock: Clock::default(), jobs, freed, first: 0 }
    }

    /// The clock after a job's next tile.
    fn next(&self, job: usize) -> Option<Clock> {
        let due = self.counts.due(self.at, job)?;
        let ready = match due {
            0 => 0,
            due => {
                let enough = self.first + self.freed[self.first..].partition_point(|&(freed, _)| freed < due);
                self.freed.get(enough).map_or(self.clock.compute, |&(_, done)| done)
            }
        };
        Some(self.counts.run(self.clock, self.tile(job), ready))
    }

    fn choose(&self, rule: Rule, level: usize, next: [Clock; 2]) -> usize {
        match rule {
            Rule::Given(jobs) => usize::from(jobs[level]),
            Rule::Serial { first } => first,
            Rule::Proportional { by, first } => self.in_turn(by, first),
            Rule::LeastIdle { first } => {
                let idle = |job: usize| {
                    next[job].compute - self.clock.compute - self.tile(job).compute + self.stall(job, next[job])
                };
                match idle(0).cmp(&idle(1)) {
                    Ordering::Less => 0,
                    Ordering::Equal => self.in_turn(Measure::Tiles, first),
                    Ordering::Greater => 1,
                }
            }
            Rule::Ahead(ahead) => {
                let key = |job: usize| {
                    let mut at = self.at;
                    at[job] += 1;
                    (ahead.least(at, next[job]), self.stall(job, next[job]), self.tile(job).surplus())
                };
                usize::from(key(1) < key(0))
            }
        }
    }

    /// The job that with its next tile would be the less far.
    fn in_turn(&self, by: Measure, first: usize) -> usize {
        let share = |job: usize| {
            let line = self.counts.lines[job];
            let all = by.left(line, 0);
            (u128::from(all - by.left(line, self.at[job] + 1)), u128::from(all.max(1)))
        };
        let ((a_done, a_all), (b_done, b_all)) = (share(first), share(1 - first));
        if b_done * a_all < a_done * b_all { 1 - first } else { first }
    }

    fn tile(&self, job: usize) -> &Tile {
        &self.counts.lines[job].tiles[self.at[job]]
    }

    /// For how long the DMA engine would wait.
    fn stall(&self, job: usize, next: Clock) -> u64 {
        next.dma - self.clock.dma - if self.tile(job).has_load { self.tile(job).load } else { 0 }
    }

    fn take(&mut self, job: usize, clock: Clock) {
        self.at[job] += 1;
        self.clock = clock;
        self.jobs.push(u8::try_from(job).expect("two jobs"));
        self.freed.push((self.counts.freed(self.at), clock.compute));
        while self.freed[self.first..].first().is_some_and(|&(_, done)| done <= clock.dma) {
            self.first += 1;
        }
        // What is free by now is no wait: keep the newest of it, which stands for all before.
        self.first = self.first.saturating_sub(1);
    }
}
