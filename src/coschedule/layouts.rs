//! The sizes of tile that each job is tried in.

use super::bound::{self, Outline};
use super::chain::{self, Chain};
use super::layout::{self, Fits, Limits};
use super::machine::{NoRoom, Style};
use super::optimal::counts::{Clock, Counts, Line};
use super::optimal::lattice::Lattice;
use super::optimal::rules::{self, Measure, Rule};
use super::phases::{self, Course};
use super::placing::Lives;
use super::policy::{Race, Way};
use super::{Job, NoFit};
use crate::npu::Npu;
use crate::units::{Bytes, Cycles};

/// The sizes that a tile's load may have, from the largest; first whole layers.
const LIMITS: [Bytes; 7] = [
    Bytes(u64::MAX),
    Bytes(4 << 20),
    Bytes(2 << 20),
    Bytes(1 << 20),
    Bytes(512 << 10),
    Bytes(256 << 10),
    Bytes(128 << 10),
];

/// The first of them that is for a small scratchpad.
const FINE: usize = 2;

/// Orders of more tiles are not placed at once.
const MOST_PLACED: usize = 1 << 13;
/// Jobs of more tiles together get no more tries than serial, in one style, and serial none beside the best.
const LONG: usize = 1 << 14;

/// What runs, on what, and in which tiles.
pub(super) struct Layouts<'a> {
    pub(super) npu: &'a Npu,
    pub(super) requests: Vec<u32>,
    /// For each job its different layouts, from the coarsest.
    of_jobs: Vec<Vec<Layout>>,
}

struct Layout {
    chain: Chain,
    outline: Outline,
    line: Option<Line>,
}

impl Layout {
    fn new(npu: &Npu, chain: Chain, requests: u32) -> Self {
        Self { outline: Outline::new(npu, &chain, requests), line: Line::new(npu, &chain, requests), chain }
    }
}

/// A layout for each job, an order, and what comes of it.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) layouts: Vec<usize>,
    /// The jobs by precedence.
    pub(super) order: Vec<usize>,
    pub(super) way: Way,
    pub(super) style: Style,
    pub(super) cycles: Cycles,
}

/// Why there is no room for some tile, and in which layouts.
pub(super) type NoLayoutFits = (NoRoom, Vec<usize>);

impl<'a> Layouts<'a> {
    pub(super) fn new(npu: &'a Npu, jobs: &[Job]) -> Result<Self, NoFit> {
        let of_jobs = jobs.iter().map(|job| layouts(npu, job, jobs.len() as u64)).collect::<Result<_, _>>()?;
        Ok(Self { npu, requests: jobs.iter().map(|job| job.requests).collect(), of_jobs })
    }

    /// The layouts of these chains alone.
    #[cfg(test)]
    pub(super) fn of_chains(npu: &'a Npu, chains: &[Chain]) -> Self {
        let layout = |chain: &Chain| vec![Layout::new(npu, chain.clone(), 1)];
        Self { npu, requests: vec![1; chains.len()], of_jobs: chains.iter().map(layout).collect() }
    }

    pub(super) fn chains(&self, picks: &[usize]) -> Vec<&Chain> {
        self.of_jobs.iter().zip(picks).map(|(all, &i)| &all[i].chain).collect()
    }

    fn outlines(&self, picks: &[usize]) -> Vec<&Outline> {
        self.of_jobs.iter().zip(picks).map(|(all, &i)| &all[i].outline).collect()
    }

    /// No order of these tiles takes less.
    pub(super) fn bound(&self, picks: &[usize]) -> Cycles {
        bound::of_tiles(self.npu, &self.outlines(picks))
    }

    /// The same, and what the scratchpad lets pass: takes some milliseconds, and is not asked for where the first says
    /// that these cycles cannot be less.
    pub(super) fn tight_bound(&self, picks: &[usize], cycles: Cycles) -> Cycles {
        let bound = self.bound(picks);
        if bound >= cycles {
            return bound;
        }
        let outlines = self.outlines(picks);
        let course = |(chain, &requests): (&Chain, &u32)| Course::of_tiles(chain, requests);
        let courses = self.chains(picks).into_iter().zip(&self.requests).map(course);
        let by_phases = phases::bound(self.npu, courses) + bound::least_tail(&outlines);
        let by_lattice = self.counts(picks).and_then(|counts| Some(Lattice::new(&counts, u64::MAX)?.bound()));
        bound.max(by_phases).max(Cycles(by_lattice.unwrap_or(0)))
    }

    /// Two jobs' tiles by counts; `None` if there are more jobs, or too many tiles.
    pub(super) fn counts(&self, picks: &[usize]) -> Option<Counts<'_>> {
        let [(a, a_pick), (b, b_pick)] = self.of_jobs.iter().zip(picks).collect::<Vec<_>>().try_into().ok()?;
        Some(Counts::new(self.npu, [a[*a_pick].line.as_ref()?, b[*b_pick].line.as_ref()?]))
    }

    /// Every choice of a layout for each job.
    pub(super) fn all_picks(&self) -> Vec<Vec<usize>> {
        let with = |picks: Vec<Vec<usize>>, of_job: &Vec<Layout>| {
            let and = |pick: Vec<usize>| (0..of_job.len()).map(move |i| [pick.as_slice(), &[i]].concat());
            picks.into_iter().flat_map(and).collect()
        };
        self.of_jobs.iter().fold(vec![Vec::new()], with)
    }

    pub(super) fn race<'r>(&'r self, picks: &[usize], order: &'r [usize]) -> Race<'r> {
        Race { npu: self.npu, chains: self.chains(picks), requests: &self.requests, order }
    }

    /// How many layouts a job has.
    pub(super) fn sizes(&self, job: usize) -> usize {
        self.of_jobs[job].len()
    }

    /// Whether even the coarsest tiles are so many that each try takes tens of milliseconds.
    pub(super) fn is_long(&self) -> bool {
        let tiles = |(of_job, &requests): (&Vec<Layout>, &u32)| {
            of_job.first().map_or(0, |layout| layout.chain.tiles.len()).saturating_mul(requests as usize)
        };
        self.of_jobs.iter().zip(&self.requests).map(tiles).fold(0, usize::saturating_add) > LONG
    }

    /// The stays of two jobs' tiles in this order; `None` where they are too many to place at once, or have no room by
    /// counts.
    pub(super) fn lives<'j>(&self, picks: &[usize], jobs: &'j [u8]) -> Option<Lives<'j>> {
        let counts = self.counts(picks).filter(|_| self.can_be_placed(picks))?;
        Some(Lives::new(&self.chains(picks), jobs, rules::moments(&counts, jobs)?))
    }

    /// Whether the stays are few enough to place all at once.
    pub(super) fn can_be_placed(&self, picks: &[usize]) -> bool {
        self.counts(picks).is_some_and(|counts| counts.levels() <= MOST_PLACED) && !self.is_long()
    }

    /// What a way takes by counts; where those say nothing, its bound.
    pub(super) fn estimate(&self, way: &Way, picks: &[usize], order: &[usize]) -> u64 {
        match self.counts(picks) {
            Some(counts) => rules::order(&counts, rule(way, order[0]), u64::MAX).map_or(u64::MAX, |order| order.cycles),
            None => self.bound_of(way, picks, order).get(),
        }
    }

    /// Where a way gets stuck by counts, its order but for tiles after which no order has room to finish.
    pub(super) fn looking_ahead(&self, way: &Way, picks: &[usize], order: &[usize]) -> Option<Vec<u8>> {
        let counts = self.counts(picks)?;
        let rule = rule(way, order[0]);
        match rules::order(&counts, rule, u64::MAX) {
            Some(_) => None,
            None => rules::order_looking_ahead(&counts, rule).map(|order| order.jobs),
        }
    }

    /// No estimate is less. Where it takes no time, it is the estimate.
    pub(super) fn least_estimate(&self, way: &Way, picks: &[usize], order: &[usize]) -> (u64, bool) {
        match self.counts(picks) {
            Some(counts) => (counts.least([0, 0], Clock::default()), false),
            None => (self.bound_of(way, picks, order).get(), true),
        }
    }

    /// A way takes no less than this.
    pub(super) fn bound_of(&self, way: &Way, picks: &[usize], order: &[usize]) -> Cycles {
        let outlines = self.outlines(picks);
        match way {
            Way::Serial => bound::of_serial(order.iter().map(|&job| outlines[job])),
            Way::RoundRobin | Way::Greedy | Way::Order(_) | Way::Placed(..) => bound::of_tiles(self.npu, &outlines),
        }
    }
}

/// A way by counts.
fn rule(way: &Way, first: usize) -> Rule<'_> {
    match way {
        Way::Serial => Rule::Serial { first },
        Way::RoundRobin => Rule::Proportional { by: Measure::Tiles, first },
        Way::Greedy => Rule::LeastIdle { first },
        Way::Order(jobs) | Way::Placed(jobs, _) => Rule::Given(jobs),
    }
}

/// The different layouts of a job: each limit on a tile's load; where its finest takes a good part of the scratchpad, also
/// with groups not packed, and with tiles that leave room for those of another job everywhere; and where it takes more
/// than the job's share, in less and less of the scratchpad. A job alone shares it with what is free between its buffers.
fn layouts(npu: &Npu, job: &Job, jobs: u64) -> Result<Vec<Layout>, NoFit> {
    let sram = npu.sram.bytes;
    let mut found: Vec<(chain::Layout, Chain)> = Vec::new();
    let mut why = None;
    let mut fits = Fits::default();
    let mut tried = Vec::new();
    // Where no groups can be packed, whether they are makes no difference.
    let can_pack = job.analysis.packed.iter().any(Option::is_some);
    let mut add = |found: &mut Vec<_>, limits: Limits, budget| {
        let limits = Limits { is_packed: limits.is_packed && can_pack, ..limits };
        if tried.contains(&(limits, budget)) {
            return;
        }
        tried.push((limits, budget));
        match layout::lay_out(npu, job, limits, budget, &mut fits) {
            Ok(new) if found.iter().any(|(known, _)| *known == new.0) => {}
            Ok(new) => found.push(new),
            Err(too_large) => why = why.or(Some(too_large)),
        }
    };
    let by_load = |load, is_packed| Limits { load, loads_in_room: None, is_packed };
    // A limit above the scratchpad's size leaves as much to be cut as none.
    let limits = |from: usize| LIMITS.into_iter().skip(from).filter(|&load| load == LIMITS[0] || load <= sram);
    limits(0).for_each(|load| add(&mut found, by_load(load, true), sram));
    let peak = |(_, chain): &(_, Chain)| chain.held(npu.sram.alignment_bytes, |_| true).into_iter().max();
    let peak = found.last().and_then(peak);
    if peak.is_none_or(|peak| peak * jobs * 2 > sram) {
        limits(FINE).for_each(|load| add(&mut found, by_load(load, false), sram));
        for (loads, is_packed) in [4, 8, 16].into_iter().flat_map(|loads| [(loads, true), (loads, false)]) {
            add(&mut found, Limits { load: LIMITS[FINE], loads_in_room: Some(loads), is_packed }, sram);
        }
    }
    if peak.is_none_or(|peak| peak * jobs.max(2) > sram) {
        let shares = [6, 4, 3, 2, 1].map(|eighths| Bytes(sram.get() / 8 * eighths));
        shares.into_iter().for_each(|share| add(&mut found, by_load(LIMITS[LIMITS.len() - 1], false), share));
    }
    match (found.is_empty(), why) {
        (true, Some(too_large)) => Err(NoFit::new(job.model, sram, too_large)),
        (_, _) => Ok(found.into_iter().map(|(_, chain)| Layout::new(npu, chain, job.requests)).collect()),
    }
}
