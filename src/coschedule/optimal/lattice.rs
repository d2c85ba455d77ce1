//! The least that is left after some tiles of each job, as far as the scratchpad decides it.
//!
//! Whatever the order of the transfers, the compute engine takes the tiles in some order: a way from (0, 0) to the end,
//! through cells of so many tiles done of each job. When a tile of it is done, at v, the loads of later tiles that have
//! begun hold no more than the room that is left beside what both jobs hold while that tile runs. The channel moves bytes
//! at a rate R; `T` are the cycles of the transfers without which some tiles cannot run, and `B` of those that can have
//! begun when these tiles are done, but for the loads ahead. So of what a later tile needs at least
//! `T(later) − B(now) − R · room` comes after v, one transfer after the other. With the *lag*, the most of
//! `v − B − R · room` over the tiles that are done, each next tile ends no earlier than
//!
//! ```text
//! max(v, lag + T) + compute        or, without a load,        v + compute
//! ```
//!
//! (The latency of the last transfer would count only where the lag says that there is one.)
//!
//! Backwards: on a given way the end is no earlier than `max(v + after, lag + behind)`, two figures that follow from
//! those of the next cell. A cell has those pairs that no other is as small as in both. Where there are more than a few,
//! two neighbours are taken for one as small as either in both: what comes of it is still a lower bound.

use super::counts::{Clock, Counts, Line, signed};

/// More cells than this are not tabulated.
const MOST_CELLS: usize = 1 << 20;

/// Nor more ways than this, 16 bytes each: 64 MiB.
const MOST_WAYS: usize = 4 << 20;

/// Ways kept of a cell, fewer where they would be too many.
const KEPT: [usize; 3] = [16, 4, 1];

/// Times are in parts of a cycle, so that rounding does not add up.
const PARTS: i64 = 1 << 10;

/// Sums of more cycles than this are left to plainer bounds, so that none leaves `i64`.
const MOST_CYCLES: u64 = 1 << 50;

/// Above every time.
const NEVER: i64 = 1 << 61;

/// What is left on a way to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Way {
    /// From when the last tile is done.
    after: i64,
    /// From the lag.
    behind: i64,
}

/// The ways from each cell.
pub(in crate::coschedule) struct Lattice<'a> {
    counts: &'a Counts<'a>,
    flow: Flow,
    /// Where the ways of each cell begin, from the last cell to the first.
    starts: Vec<usize>,
    ways: Vec<Way>,
}

impl<'a> Lattice<'a> {
    /// The ways that may take less than `limit`; `None` where there are too many cells.
    pub(in crate::coschedule) fn new(counts: &'a Counts<'a>, limit: u64) -> Option<Self> {
        let [a, b] = counts.lines.map(|line| line.tiles.len() + 1);
        let stores: u64 = counts.lines.map(|line| line.stored[line.tiles.len()]).iter().sum();
        if a.checked_mul(b).is_none_or(|cells| cells > MOST_CELLS)
            || counts.least([0, 0], Clock::default()).max(stores) > MOST_CYCLES
        {
            return None;
        }
        let limit = i64::try_from(limit.min(MOST_CYCLES)).unwrap_or(NEVER) * PARTS;
        KEPT.into_iter().find_map(|kept| {
            let mut lattice = Self { counts, flow: Flow::new(counts), starts: vec![0], ways: Vec::new() };
            lattice.fill(kept, limit).then_some(lattice)
        })
    }

    /// No order of the tiles takes less; `u64::MAX` if none takes less than the limit.
    pub(in crate::coschedule) fn bound(&self) -> u64 {
        self.of(&self.ways[self.starts[self.starts.len() - 2]..], 0, 0)
    }

    /// No order of the tiles that are left is done earlier, `job`'s having been the last; `u64::MAX` if none is before the
    /// limit.
    pub(super) fn least(&self, at: [usize; 2], job: usize, clock: Clock) -> u64 {
        let (Ok(done), Ok(dma)) = (i64::try_from(clock.compute), i64::try_from(clock.dma)) else { return 0 };
        let (done, begun) = (done * PARTS, self.flow.begun(at));
        let room = self.flow.room(self.counts, at, job).unwrap_or(0);
        let cell = self.cell(at);
        self.of(&self.ways[self.starts[cell]..self.starts[cell + 1]], done, (dma * PARTS).max(done - room) - begun)
    }

    fn of(&self, ways: &[Way], done: i64, lag: i64) -> u64 {
        let end = ways.iter().map(|way| (done + way.after).max(lag + way.behind)).min();
        let cycles = end.map(|end| end / PARTS + i64::from(end % PARTS > 0));
        cycles.map_or(u64::MAX, |cycles| u64::try_from(cycles).unwrap_or(0))
    }

    fn cell(&self, at: [usize; 2]) -> usize {
        let [a, b] = self.counts.lines.map(|line| line.tiles.len());
        (a - at[0]) * (b + 1) + b - at[1]
    }

    /// Fills the cells from the end; `false` if there are too many ways.
    fn fill(&mut self, kept: usize, limit: i64) -> bool {
        let [a, b] = self.counts.lines.map(|line| line.tiles.len());
        let all = self.flow.needed([a, b]) + self.flow.outputs;
        let tail = i64::try_from(self.counts.least_tail()).unwrap_or(0) * PARTS;
        self.ways.push(Way { after: tail, behind: all });
        let mut cell = Vec::new();
        for i in (0..=a).rev() {
            for j in (0..=b).rev() {
                for job in 0..2 {
                    self.through([i, j], job, limit, kept, &mut cell);
                }
                self.ways.append(&mut cell);
                self.starts.push(self.ways.len());
                if self.ways.len() > MOST_WAYS {
                    return false;
                }
            }
        }
        true
    }

    /// Adds the ways that go on with a job's next tile.
    fn through(&self, at: [usize; 2], job: usize, limit: i64, kept: usize, cell: &mut Vec<Way>) {
        let Some(tile) = self.counts.lines[job].tiles.get(at[job]) else { return };
        let mut after = at;
        after[job] += 1;
        let Some(room) = self.flow.room(self.counts, after, job) else { return };
        let (needed, begun) = (self.flow.needed(after), self.flow.begun(after));
        let compute = i64::try_from(tile.compute).unwrap_or(NEVER) * PARTS;
        let earliest = self.flow.compute[0][at[0]] + self.flow.compute[1][at[1]];
        let next = self.cell(after);
        for way in &self.ways[self.starts[next]..self.starts[next + 1]] {
            let left = compute + way.after.max(way.behind - begun - room);
            let behind = if tile.has_load { way.behind.max(needed + left) } else { way.behind };
            if earliest + left < limit {
                add(cell, Way { after: left, behind }, kept);
            }
        }
    }
}

/// Adds a way to a cell, which is by rising `after` and falling `behind`.
fn add(cell: &mut Vec<Way>, new: Way, kept: usize) {
    let place = cell.partition_point(|way| way.after <= new.after);
    if place > 0 && cell[place - 1].behind <= new.behind {
        return;
    }
    let beaten = cell[place..].iter().take_while(|way| way.behind >= new.behind).count();
    let same = usize::from(place > 0 && cell[place - 1].after == new.after);
    cell.splice(place - same..place + beaten, [new]);
    if cell.len() > kept {
        let loss = |i: &usize| (cell[i + 1].after - cell[*i].after).min(cell[*i].behind - cell[i + 1].behind);
        let least = (0..cell.len() - 1).min_by_key(loss).unwrap_or(0);
        cell[least].behind = cell[least + 1].behind;
        cell.remove(least + 1);
    }
}

/// What crosses the channel along the tiles of both jobs, in parts of a cycle.
struct Flow {
    /// Parts of a cycle for 2^30 bytes.
    rate: u128,
    /// The scratchpad, to whole steps of the alignment.
    sram: i64,
    /// Of the first n tiles of each job: what they compute, what must be transferred before the n-th runs, and what can
    /// have been when it is done, but for loads of later ones.
    compute: [Vec<i64>; 2],
    needed: [Vec<i64>; 2],
    begun: [Vec<i64>; 2],
    /// Stores that no tile waits for.
    outputs: i64,
}

impl Flow {
    fn new(counts: &Counts) -> Self {
        let parts = |cycles: u64| i64::try_from(cycles).unwrap_or(NEVER) * PARTS;
        let of_lines = |of: &dyn Fn(&Line, usize) -> i64| {
            counts.lines.map(|line| (0..=line.tiles.len()).map(|n| of(line, n)).collect::<Vec<_>>())
        };
        let rate = counts.rate;
        let loads = |line: &Line, n: usize| -> i64 {
            i64::try_from(u128::from(line.loaded[n]) * rate.0 * PARTS as u128 / rate.1).unwrap_or(NEVER)
        };
        let all = counts.lines.map(|line| (line.stored[line.tiles.len()], line.due[line.tiles.len()]));
        let outputs: u64 = all.iter().map(|(stored, due)| stored - due).sum();
        Self {
            rate: ((rate.0 << 30) * PARTS as u128).div_ceil(rate.1),
            sram: signed(counts.sram.next_multiple_of(counts.alignment)),
            compute: of_lines(&|line, n| parts(line.compute_left[0] - line.compute_left[n])),
            needed: of_lines(&|line, n| loads(line, n) + parts(line.due[n])),
            begun: of_lines(&|line, n| loads(line, n) + parts(line.stored[n])),
            outputs: parts(outputs),
        }
    }

    fn needed(&self, at: [usize; 2]) -> i64 {
        self.needed[0][at[0]] + self.needed[1][at[1]]
    }

    fn begun(&self, at: [usize; 2]) -> i64 {
        self.begun[0][at[0]] + self.begun[1][at[1]]
    }

    /// What can be loaded ahead while `job` runs the tile after which it is here; `None` if there is no room for that.
    fn room(&self, counts: &Counts, at: [usize; 2], job: usize) -> Option<i64> {
        let mut before = at;
        before[job] -= 1;
        let bytes = u64::try_from(self.sram - counts.held(at) - counts.peak(before, job)).ok()?;
        Some(i64::try_from(((u128::from(bytes) * self.rate) >> 30) + 1).unwrap_or(NEVER).min(NEVER))
    }
}
