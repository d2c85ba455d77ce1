//! A lower bound that knows the scratchpad: what it lets pass from each phase of a job to the next.
//!
//! A CNN computes much and loads little at first, and loads much later; several requests do so in turn. What one phase
//! does not load, the phase before can load ahead, but no more of it than the scratchpad holds. So between two points of
//! job A, the one at time t and the next at t', with job B at j of its points and then at j',
//!
//! ```text
//! t' − t ≥ C_A + C_B(j, j')                                     what is computed between them
//! t' − t ≥ R · (D_A + D_B(j, j') − (S − H_A − H_B(j)))          what is loaded for it, but what was begun before t
//! ```
//!
//! for what was begun before t is held at t, beside the H bytes that later tiles still use, in S bytes. At t both engines'
//! queues are between two tiles: compute has one engine. The bound is the least sum over all ways of B, found point by
//! point of A: `f'(j') = min over j ≤ j' of max(f(j) + C, f(j) + R · …)`. Both are a part of j alone plus a part of j'
//! alone, so of all j only those count that are smaller in one part than all smaller in the other: O(log) for each j'.
//! Any points of A give a bound; the turning points of `C_A − R · D_A` give a good one.

use super::chain::Chain;
use crate::analysis::LayerFloor;
use crate::npu::Npu;
use crate::units::{Bytes, Cycles};

/// A job at points of its way, from 0, where nothing is done, to the end.
#[derive(Clone, Debug)]
pub(super) struct Course {
    /// Cycles that are computed before each point.
    compute: Vec<i128>,
    /// Bytes that are loaded for what comes before it.
    loads: Vec<i128>,
    /// Bytes that are there at it, and are needed right after it.
    held: Vec<i128>,
    /// Whether the job is anywhere between two points while another is at one of its own; else it is at one.
    is_between: bool,
}

impl Course {
    /// At its start; `None` where it would have too many points.
    fn new(is_between: bool, points: usize, requests: u32) -> Option<Self> {
        let is_short = points.saturating_mul(requests as usize) <= MOST_POINTS;
        is_short.then(|| Self { compute: vec![0], loads: vec![0], held: vec![0], is_between })
    }

    fn step(&mut self, compute: Cycles, loads: Bytes, held: Bytes) {
        let last = self.end();
        self.compute.push(self.compute[last] + i128::from(compute.get()));
        self.loads.push(self.loads[last] + i128::from(loads.get()));
        self.held.push(i128::from(held.get()));
    }

    /// The tiles of all requests: a point after each. `None` if they are too many.
    pub(super) fn of_tiles(chain: &Chain, requests: u32) -> Option<Self> {
        let mut course = Self::new(false, chain.tiles.len(), requests)?;
        for _ in 0..requests {
            for (tile, held) in chain.tiles.iter().zip(chain.left_after()) {
                course.step(tile.cycles, tile.load_bytes, held);
            }
        }
        Some(course)
    }

    /// The layers of all requests, however they are tiled. `None` if they are too many.
    pub(super) fn of_layers(floor: &[LayerFloor], requests: u32) -> Option<Self> {
        let mut course = Self::new(true, floor.len(), requests)?;
        for _ in 0..requests {
            for layer in floor {
                course.step(layer.compute, layer.loads, layer.passed_on);
            }
        }
        Some(course)
    }

    fn end(&self) -> usize {
        self.compute.len() - 1
    }
}

/// A course has no more points than this.
const MOST_POINTS: usize = 1 << 18;

/// For no more points of A, times points of B, is the least way of B found: some milliseconds.
const MOST_STEPS: usize = 1 << 18;

/// The bound for two jobs; 0 for any other number of them, and where one of them is too long.
pub(super) fn bound(npu: &Npu, courses: impl Iterator<Item = Option<Course>>) -> Cycles {
    let courses: Vec<Course> = courses.flatten().collect();
    let ([a, b], Some(scale)) = (&courses[..], Scale::new(npu, &courses)) else { return Cycles::ZERO };
    // Turns of less than the scratchpad holds do not count; which part of it counts best, nobody knows before.
    let turns = |of: &Course| [8, 4, 2, 1].map(|part| scale.turning_points(of, scale.sram * scale.per_byte / part));
    let mut best = 0;
    for (a, b) in [(a, b), (b, a)] {
        let mut tried: Vec<Vec<usize>> = Vec::new();
        for points in turns(a) {
            if points.len() * b.compute.len() <= MOST_STEPS && !tried.contains(&points) {
                best = best.max(scale.along(&points, a, b));
                tried.push(points);
            }
        }
    }
    scale.cycles(best)
}

/// Time in fractions of a cycle in which a byte over the channel is a whole number.
struct Scale {
    per_byte: i128,
    per_cycle: i128,
    sram: i128,
}

impl Scale {
    /// `None` where sums over the courses could leave `i128`.
    fn new(npu: &Npu, courses: &[Course]) -> Option<Self> {
        let (per_byte, per_cycle) = npu.cycles_per_byte();
        let scale = Self {
            per_byte: i128::try_from(per_byte).ok()?,
            per_cycle: i128::try_from(per_cycle).ok()?,
            sram: i128::from(npu.sram.bytes.get()),
        };
        let sum = |of: fn(&Course) -> &Vec<i128>| courses.iter().map(|course| of(course)[course.end()]).sum::<i128>();
        let compute = sum(|course| &course.compute).checked_mul(scale.per_cycle)?;
        let loads = sum(|course| &course.loads).checked_add(scale.sram)?.checked_mul(scale.per_byte)?;
        compute.checked_add(loads).filter(|&all| all < i128::MAX / 8).map(|_| scale)
    }

    fn cycles(&self, time: i128) -> Cycles {
        let whole = time / self.per_cycle + i128::from(time % self.per_cycle > 0);
        Cycles(u64::try_from(whole).unwrap_or(0))
    }

    /// Where compute turns from running ahead of the loads to falling behind, or back, by at least `least`.
    fn turning_points(&self, of: &Course, least: i128) -> Vec<usize> {
        let lead = |point: usize| of.compute[point] * self.per_cycle - of.loads[point] * self.per_byte;
        let mut points = Vec::new();
        let (mut high, mut low) = (0, 0);
        // Whether the last turn was downwards.
        let mut is_falling = None;
        for point in 1..=of.end() {
            high = if lead(point) > lead(high) { point } else { high };
            low = if lead(point) < lead(low) { point } else { low };
            if is_falling != Some(true) && lead(high) - lead(point) >= least {
                points.push(high);
                (is_falling, low) = (Some(true), point);
            } else if is_falling != Some(false) && lead(point) - lead(low) >= least {
                points.push(low);
                (is_falling, high) = (Some(false), point);
            }
        }
        points.retain(|point| (1..of.end()).contains(point));
        points
    }

    /// The least time over all ways of B, by these points of A.
    fn along(&self, points: &[usize], a: &Course, b: &Course) -> i128 {
        let mut from = 0;
        // When B may be at each of its points, at the earliest; at first it is at 0.
        let mut times: Vec<Option<i128>> = vec![None; b.compute.len()];
        times[0] = Some(0);
        for &to in points.iter().chain([&a.end()]) {
            times = self.advance(a, (from, to), b, &times);
            from = to;
        }
        times[b.end()].unwrap_or(0)
    }

    /// From the times at one point of A to those at another.
    fn advance(&self, a: &Course, (from, to): (usize, usize), b: &Course, times: &[Option<i128>]) -> Vec<Option<i128>> {
        let compute = a.compute[to] - a.compute[from];
        let loads = a.loads[to] - a.loads[from];
        // Before the start nothing was begun. Between two points of B what it needs may be used already.
        let held_b = |j: usize| if b.is_between { 0 } else { b.held[j] };
        let begun = |j: usize| if from == 0 { 0 } else { self.sram - a.held[from] - held_b(j) };
        // And then all work up to its next point may be done.
        let late = usize::from(b.is_between && from > 0);
        let mut front = Front::default();
        let mut after = Vec::with_capacity(times.len());
        for to_b in 0..times.len() {
            let from_b = to_b.checked_sub(late);
            if let Some((j, time)) = from_b.and_then(|j| Some((j, times[j]?))) {
                front.add(time - b.compute[to_b] * self.per_cycle, time - (b.loads[to_b] + begun(j)) * self.per_byte);
            }
            let of_others =
                front.least((compute + b.compute[to_b]) * self.per_cycle, (loads + b.loads[to_b]) * self.per_byte);
            let at_rest = times[to_b].map(|time| {
                (time + compute * self.per_cycle).max(time + (loads - begun(to_b)) * self.per_byte).max(time)
            });
            after.push(of_others.into_iter().chain(at_rest).min());
        }
        after
    }
}

/// Pairs none of which is as small as another in both parts, by rising first part.
#[derive(Default)]
struct Front(Vec<(i128, i128)>);

impl Front {
    fn add(&mut self, x: i128, y: i128) {
        let place = self.0.partition_point(|&(first, _)| first <= x);
        if place > 0 && self.0[place - 1].1 <= y {
            return;
        }
        let beaten = self.0[place..].iter().take_while(|&&(_, second)| second >= y).count();
        let same = usize::from(place > 0 && self.0[place - 1].0 == x);
        self.0.splice(place - same..place + beaten, [(x, y)]);
    }

    /// The least over all pairs of `max(x + dx, y + dy)`.
    fn least(&self, dx: i128, dy: i128) -> Option<i128> {
        let value = |&(x, y): &(i128, i128)| (x + dx).max(y + dy);
        let turn = self.0.partition_point(|&(x, y)| x + dx < y + dy);
        self.0[turn.saturating_sub(1)..].iter().take(2).map(value).min()
    }
}
