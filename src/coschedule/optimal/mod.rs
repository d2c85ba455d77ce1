//! The best order that can be found, over all sizes of tile: a portfolio, then a search, until a bound is met.
//!
//! Layouts are taken by rising lower bound, so that those which cannot win are never tried. Orders are found on the
//! machine by counts; what counts is what the real machine, with its addresses, makes of them. Effort is a number of
//! states, never a time, so that the same input gives the same bytes everywhere.

mod ahead;
mod beam;
mod cells;
pub(super) mod counts;
mod exact;
pub(super) mod lattice;
#[cfg(test)]
mod peer;
pub(super) mod rules;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use ahead::Ahead;
use counts::Counts;
use rules::{Measure, Order, Rule};

use super::layouts::{Choice, Layouts};
use super::machine::{Machine, Style};
use super::placing::First;
use super::policy::Way;
use crate::units::Cycles;

/// How many states a search may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Effort(pub u64);

impl Effort {
    /// The portfolio, and hardly a search.
    pub const LOW: Self = Self(20_000);
    /// The default: some tens of milliseconds.
    pub const NORMAL: Self = Self(300_000);
    /// Some seconds.
    pub const HIGH: Self = Self(30_000_000);
}

/// Of the layouts, so many are searched, each with its share of the states.
const SEARCHED: usize = 4;

/// With each effort up to the one that is asked for, others may be searched.
const MOST_SEARCHED: usize = 3 * SEARCHED;

/// For each state that a search may make, so many steps may be made on the real machine.
const REPLAYS: u64 = 8;

/// Of the layouts, so many are searched on the real machine,
const BEAMED: usize = 2;
/// each with its share of so many steps for each state.
const BEAM_STEPS: u64 = 3;
/// A beam has no more states in a level.
const WIDEST: usize = 512;

/// The best choice: what is known, or something better.
///
/// The result is never longer than another policy's: what those give is asked for wherever a bound does not already
/// say that it cannot be shorter.
pub(super) fn search(layouts: &Layouts, known: Choice, effort: Effort) -> Choice {
    let mut search = Search { layouts, best: known, replays: effort.0.saturating_mul(REPLAYS) };
    let mut candidates = search.candidates();
    search.try_rules(&mut candidates);
    search.try_all_orders(&candidates, effort.0);
    // What less effort finds is tried first: a wider corridor need not lead to what has room.
    for Effort(states) in [Effort::LOW, Effort::NORMAL].into_iter().filter(|&less| less < effort).chain([effort]) {
        search.replays = states.saturating_mul(REPLAYS);
        search.try_cells(&mut candidates, states);
    }
    search.try_beams(&mut candidates, effort.0);
    for way in [Way::RoundRobin, Way::Greedy] {
        if candidates.iter().any(|candidate| candidate.bound < search.best.cycles) {
            let choice = layouts.best(&way).ok().filter(|choice| choice.cycles < search.best.cycles);
            search.best = choice.unwrap_or(search.best);
        }
    }
    search.start_from_best(effort);
    search.best
}

/// Layouts, and the best that is known of them by counts.
struct Candidate {
    picks: Vec<usize>,
    bound: Cycles,
    /// Whether the bound is the best that there is.
    is_tight: bool,
    order: Option<Order>,
}

impl Candidate {
    /// The least cycles that are known, by counts.
    fn cycles(&self) -> u64 {
        self.order.as_ref().map_or(u64::MAX, |order| order.cycles)
    }
}

struct Search<'a, 'b> {
    layouts: &'a Layouts<'b>,
    best: Choice,
    /// Steps of the real machine that may still be made.
    replays: u64,
}

impl Search<'_, '_> {
    /// All layouts, by rising bound.
    fn candidates(&self) -> Vec<Candidate> {
        let candidate =
            |picks: Vec<usize>| Candidate { bound: self.layouts.bound(&picks), picks, is_tight: false, order: None };
        let mut candidates: Vec<_> = self.layouts.all_picks().into_iter().map(candidate).collect();
        candidates.sort_by_key(|candidate| candidate.bound);
        candidates
    }

    /// Runs an order on the real machine, in one style after the other, and then with all its stays placed at once.
    fn replay(&mut self, picks: &[usize], order: &[u8]) {
        for style in Style::ALL {
            self.run(picks, order, Way::Order(order.to_vec()), style);
        }
        if self.layouts.bound(picks) >= self.best.cycles {
            return;
        }
        let Some(lives) = self.layouts.lives(picks, order) else { return };
        for first in First::ALL {
            if self.layouts.bound(picks).max(lives.done()) < self.best.cycles
                && let Some(addresses) = lives.place(&self.layouts.npu.sram, first, &mut self.replays)
            {
                self.run(picks, order, Way::Placed(order.to_vec(), addresses), Style::PLAIN);
            }
        }
    }

    /// What comes of a way to run an order on the real machine, if anything better can come of these layouts.
    fn run(&mut self, picks: &[usize], order: &[u8], way: Way, style: Style) {
        if self.layouts.bound(picks) >= self.best.cycles || self.replays == 0 {
            return;
        }
        self.replays = self.replays.saturating_sub(order.len() as u64);
        let jobs = [0, 1];
        if let Ok(Some(cycles)) = self.layouts.race(picks, &jobs).cycles(&way, style, Some(self.best.cycles)) {
            self.take(picks, way, style, cycles);
        }
    }

    /// What has been found is the best.
    fn take(&mut self, picks: &[usize], way: Way, style: Style, cycles: Cycles) {
        self.best = Choice { layouts: picks.to_vec(), order: vec![0, 1], way, style, cycles };
    }

    /// The simple rules on all layouts. Each order that by counts beats the best so far is run on the real machine.
    fn try_rules(&mut self, candidates: &mut [Candidate]) {
        // The shortest orders so far, by counts: what is no shorter is never searched.
        let mut shortest = BinaryHeap::new();
        for candidate in candidates {
            if candidate.bound >= self.best.cycles {
                return;
            }
            let Some(counts) = self.layouts.counts(&candidate.picks) else { continue };
            let johnson = counts.johnson();
            let rules = Measure::ALL
                .map(|by| Rule::Proportional { by, first: 0 })
                .into_iter()
                .chain([Rule::LeastIdle { first: 0 }])
                .chain([Rule::Given(&johnson)]);
            let is_full = shortest.len() >= MOST_SEARCHED;
            let longest = shortest.peek().copied().filter(|_| is_full).unwrap_or(u64::MAX);
            let mut limit = longest.max(self.best.cycles.get());
            for rule in rules {
                if let Some(order) = rules::order(&counts, rule, limit) {
                    limit = order.cycles;
                    candidate.order = Some(order);
                }
            }
            shortest.extend(candidate.order.as_ref().map(|order| order.cycles));
            if shortest.len() > MOST_SEARCHED {
                shortest.pop();
            }
            if let Some(order) = candidate.order.as_ref().filter(|order| order.cycles < self.best.cycles.get()) {
                self.replay(&candidate.picks, &order.jobs);
            }
        }
    }

    /// The search over cells, on the layouts that promise most.
    fn try_cells(&mut self, candidates: &mut [Candidate], states: u64) {
        candidates.sort_by_key(Candidate::cycles);
        let share = states / SEARCHED as u64;
        for candidate in candidates.iter_mut().take(SEARCHED) {
            if !std::mem::replace(&mut candidate.is_tight, true) {
                candidate.bound = self.layouts.tight_bound(&candidate.picks, self.best.cycles);
            }
            let Some(order) = candidate.order.take().filter(|_| candidate.bound < self.best.cycles) else { continue };
            let Some(counts) = self.layouts.counts(&candidate.picks) else { continue };
            let mut states = share;
            candidate.order = Some(self.improve(&counts, candidate.bound.get(), &candidate.picks, order, &mut states));
        }
    }

    /// The search over cells around the best order, where that is a policy's.
    fn start_from_best(&mut self, effort: Effort) {
        let Choice { layouts: picks, order, way, style, cycles: _ } = self.best.clone();
        let bound = self.layouts.bound(&picks);
        let is_open = bound < self.best.cycles && way.jobs().is_none();
        let Some(counts) = self.layouts.counts(&picks).filter(|_| is_open) else { return };
        let jobs = self.layouts.race(&picks, &order).jobs(&way, style);
        if let Some(order) = jobs.ok().and_then(|jobs| rules::order(&counts, Rule::Given(&jobs), u64::MAX)) {
            let mut states = effort.0 / SEARCHED as u64;
            self.improve(&counts, bound.get(), &picks, order, &mut states);
        }
    }

    /// Looks for better orders in corridors around the best known one, which move along with it.
    fn improve(&mut self, counts: &Counts, bound: u64, picks: &[usize], known: Order, states: &mut u64) -> Order {
        let best_known = known.cycles.max(self.best.cycles.get()) + 1;
        let ahead = Ahead::new(counts, best_known);
        let bound = bound.max(ahead.bound());
        let mut best = known;
        if let Some(order) = rules::order(counts, Rule::Ahead(&ahead), best.cycles) {
            self.replay(picks, &order.jobs);
            best = order;
        }
        let rounds = 2 * cells::Sort::ALL.len() as u64;
        let share = *states / rounds;
        let mut in_vain = 0;
        for sort in cells::Sort::ALL.into_iter().cycle() {
            let mut of_round = share.min(*states);
            if in_vain == cells::Sort::ALL.len() || of_round == 0 || self.best.cycles.get() <= bound {
                return best;
            }
            let before = of_round;
            let found = cells::search(counts, &ahead, &best.jobs, sort, best.cycles, &mut of_round);
            *states -= (before - of_round).max(1).min(*states);
            in_vain += 1;
            if let Some(order) = found {
                in_vain = 0;
                self.replay(picks, &order.jobs);
                best = order;
            }
        }
        best
    }

    /// The search on the real machine, on the layouts that promise most: a narrow one in each style, and a wide one in that
    /// which did best.
    fn try_beams(&mut self, candidates: &mut [Candidate], states: u64) {
        candidates.sort_by_key(Candidate::cycles);
        for Candidate { picks, bound, .. } in candidates.iter().take(BEAMED) {
            let is_open = *bound < self.best.cycles;
            let Some(counts) = self.layouts.counts(picks).filter(|_| is_open) else { continue };
            // Each of two children is a step, and half the steps are for one style.
            let steps = states.saturating_mul(BEAM_STEPS) / BEAMED as u64;
            let width = usize::try_from(steps / 4 / counts.levels() as u64).unwrap_or(usize::MAX).min(WIDEST);
            let narrow = width / Style::ALL.len();
            if narrow > 0 {
                let ahead = Ahead::new(&counts, self.beam_limit());
                let runs = Style::ALL.map(|style| (self.beam(picks, &ahead, style, narrow), style));
                if let Some((_, style)) = runs.into_iter().min_by_key(|&(rank, _)| rank) {
                    self.beam(picks, &ahead, style, width);
                }
            }
        }
    }

    /// A little more than the best so far, so that a style is known that might beat it with a wider beam.
    fn beam_limit(&self) -> u64 {
        let best = self.best.cycles.get();
        best + best / 64
    }

    /// Ranks by how far it came, then by the cycles.
    fn beam(&mut self, picks: &[usize], ahead: &Ahead, style: Style, width: usize) -> (Reverse<usize>, u64) {
        let chains = self.layouts.chains(picks);
        let machine = Machine::new(self.layouts.npu, &chains, &self.layouts.requests).with_style(style);
        let beam::Outcome { levels, found } = beam::search(machine, ahead, width, self.beam_limit());
        let Some((order, cycles)) = found else { return (Reverse(levels), u64::MAX) };
        if cycles < self.best.cycles.get() {
            self.take(picks, Way::Order(order), style, Cycles(cycles));
        }
        (Reverse(levels), cycles)
    }

    /// Every order of short jobs, on the real machine.
    fn try_all_orders(&mut self, candidates: &[Candidate], mut states: u64) {
        for candidate in candidates {
            let Some(counts) =
                self.layouts.counts(&candidate.picks).filter(|counts| counts.levels() <= exact::MOST_TILES)
            else {
                continue;
            };
            let ahead = Ahead::new(&counts, self.best.cycles.get());
            let chains = self.layouts.chains(&candidate.picks);
            for style in Style::ALL {
                if candidate.bound >= self.best.cycles {
                    break;
                }
                let machine = Machine::new(self.layouts.npu, &chains, &self.layouts.requests).with_style(style);
                let found = exact::search(&machine, &ahead, self.best.cycles.get(), &mut states);
                if let Some((order, cycles)) = found {
                    self.take(&candidate.picks, Way::Order(order), style, Cycles(cycles));
                }
            }
        }
    }
}
