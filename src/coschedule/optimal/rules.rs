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
    pub(in crate::coschedule) jobs: Vec<u8>,
    pub(in crate::coschedule) cycles: u64,
}

/// Runs a rule; `None` where it gets stuck, or takes `limit` cycles or more.
pub(in crate::coschedule) fn order(counts: &Counts, rule: Rule, limit: u64) -> Option<Order> {
    Run::new(counts).finish(rule, limit)
}

/// The same, but no tile is taken after which there is no room to finish, in whichever order; for a rule that gets stuck.
pub(in crate::coschedule) fn order_looking_ahead(counts: &Counts, rule: Rule) -> Option<Order> {
    let ahead = Ahead::new(counts, u64::MAX);
    Run { ahead: Some(&ahead), ..Run::new(counts) }.finish(rule, u64::MAX)
}

/// When a tile of an order is there.
#[derive(Clone, Copy, Debug)]
pub(in crate::coschedule) struct Moment {
    /// When its load starts, if it has one.
    pub(in crate::coschedule) load_start: u64,
    /// When it is done.
    pub(in crate::coschedule) done: u64,
}

/// The moments of an order's tiles; `None` where one has no room.
pub(in crate::coschedule) fn moments(counts: &Counts, jobs: &[u8]) -> Option<Vec<Moment>> {
    let mut run = Run::new(counts);
    let of = |&job: &u8| {
        let job = usize::from(job);
        let clock = run.next(job)?;
        let load = run.tile(job).load;
        run.take(job, clock);
        Some(Moment { load_start: clock.dma - load, done: clock.compute })
    };
    jobs.iter().map(of).collect()
}

struct Run<'a> {
    counts: &'a Counts<'a>,
    /// Knows from where there is no room to finish, if that is asked.
    ahead: Option<&'a Ahead<'a>>,
    at: [usize; 2],
    clock: Clock,
    jobs: Vec<u8>,
    /// When the tiles of each job were done.
    done: [Vec<u64>; 2],
    /// What was held while a tile ran, and when it was done, of those tiles that held more than all after them.
    peaks: Vec<(i64, u64)>,
}

impl<'a> Run<'a> {
    fn new(counts: &'a Counts<'a>) -> Self {
        let levels = counts.levels();
        let jobs = Vec::with_capacity(levels);
        let done = [Vec::new(), Vec::new()];
        Self { counts, ahead: None, at: [0, 0], clock: Clock::default(), jobs, done, peaks: Vec::new() }
    }

    fn finish(mut self, rule: Rule, limit: u64) -> Option<Order> {
        for level in 0..self.counts.levels() {
            let (job, clock) = self.step(rule, level)?;
            self.take(job, clock);
            if self.counts.least(self.at, self.clock) >= limit {
                return None;
            }
        }
        let last = *self.jobs.last()?;
        let cycles = self.clock.compute + self.counts.lines[usize::from(last)].tail;
        (cycles < limit).then_some(Order { jobs: self.jobs, cycles })
    }

    /// The clock after a job's next tile.
    fn next(&self, job: usize) -> Option<Clock> {
        let spare = self.counts.spare(self.at, job)?;
        let above = self.peaks.partition_point(|&(peak, _)| peak > spare);
        let ready = above.checked_sub(1).map_or(0, |last| self.peaks[last].1);
        let tile = self.tile(job);
        let computed = tile.due.map_or(0, |due| self.done[job][due.after - 1]);
        let clock = self.counts.run(self.clock, tile, ready, computed);
        let mut after = self.at;
        after[job] += 1;
        self.ahead.is_none_or(|ahead| ahead.least(after, job, clock) < u64::MAX).then_some(clock)
    }

    /// The job whose tile comes next, and the clock after it; `None` where none has room.
    fn step(&self, rule: Rule, level: usize) -> Option<(usize, Clock)> {
        let is_left = [0, 1].map(|job: usize| self.at[job] < self.counts.lines[job].tiles.len());
        let wanted = match rule {
            _ if !is_left[0] || !is_left[1] => usize::from(!is_left[0]),
            Rule::Given(jobs) => usize::from(jobs[level]),
            Rule::Serial { first } => first,
            Rule::Proportional { by, first } => self.in_turn(by, first),
            Rule::LeastIdle { first } => return self.either(|next| self.least_idle(first, next)),
            Rule::Ahead(ahead) => return self.either(|next| self.least_ahead(ahead, next)),
        };
        let of = |job| Some((job, self.next(job)?));
        of(wanted).or_else(|| of(1 - wanted))
    }

    /// The one of two jobs that is chosen by the clocks after their tiles, if both have room.
    fn either(&self, choose: impl FnOnce([Clock; 2]) -> usize) -> Option<(usize, Clock)> {
        match [self.next(0), self.next(1)] {
            [Some(a), Some(b)] => {
                let job = choose([a, b]);
                Some((job, [a, b][job]))
            }
            [a, b] => a.map(|clock| (0, clock)).or(b.map(|clock| (1, clock))),
        }
    }

    fn least_idle(&self, first: usize, next: [Clock; 2]) -> usize {
        let idle =
            |job: usize| next[job].compute - self.clock.compute - self.tile(job).compute + self.stall(job, next[job]);
        match idle(0).cmp(&idle(1)) {
            Ordering::Less => 0,
            Ordering::Equal => self.in_turn(Measure::Tiles, first),
            Ordering::Greater => 1,
        }
    }

    fn least_ahead(&self, ahead: &Ahead, next: [Clock; 2]) -> usize {
        let key = |job: usize| {
            let mut at = self.at;
            at[job] += 1;
            (ahead.least(at, job, next[job]), self.stall(job, next[job]), self.tile(job).surplus())
        };
        usize::from(key(1) < key(0))
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
        next.dma - self.clock.dma - self.tile(job).channel()
    }

    fn take(&mut self, job: usize, clock: Clock) {
        let peak = self.counts.peak(self.at, job);
        while self.peaks.pop_if(|before| before.0 <= peak).is_some() {}
        self.peaks.push((peak, clock.compute));
        self.at[job] += 1;
        self.clock = clock;
        self.done[job].push(clock.compute);
        self.jobs.push(u8::try_from(job).expect("two jobs"));
    }
}
