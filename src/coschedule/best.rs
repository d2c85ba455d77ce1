//! The best of a job's layouts, precedences and places for a way to order tiles.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::layouts::{Choice, Layouts, NoLayoutFits};
use super::machine::Style;
use super::placing::First;
use super::policy::{Timed, Way};
use crate::units::Cycles;

/// Serial is run on the machine with so many layouts, from the first that has room on, and then with those beside the best
/// of them.
const SERIAL_TRIES: usize = 6;
/// The other ways, where more depends on addresses.
const TRIES: usize = 16;
/// A policy's order is placed anew in no more attempts.
const REPLACEMENTS: u64 = 8;

impl Layouts<'_> {
    /// The best choice of layouts, precedence and places for a way, or why none has room.
    ///
    /// By counts all layouts are tried; on the machine those that seem the best.
    pub(super) fn best(&self, way: &Way) -> Result<Choice, NoLayoutFits> {
        let mut trials = Trials { layouts: self, way, known: Vec::new() };
        let found = trials.first_tries();
        if let Some(ahead) = trials.look_ahead(found.as_ref().ok()) {
            return Ok(ahead);
        }
        let mut best = found?;
        if *way == Way::Serial && !self.is_long() {
            trials.descend(&mut best);
        }
        trials.restyle(&mut best);
        trials.place_at_once(&mut best);
        Ok(best)
    }

    /// These styles; of long jobs the first alone.
    fn styles<const N: usize>(&self, of: [Style; N]) -> impl Iterator<Item = Style> {
        of.into_iter().take(if self.is_long() { 1 } else { N })
    }
}

/// What a way makes of layouts, each run but once.
struct Trials<'l, 'a> {
    layouts: &'l Layouts<'a>,
    way: &'l Way,
    /// What came of each trial so far, if that was less than what was known before.
    known: Vec<(Trial, Timed)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Trial {
    picks: Vec<usize>,
    order: Vec<usize>,
    style: Style,
}

impl Trials<'_, '_> {
    /// The best of the layouts that seem the best by counts.
    fn first_tries(&mut self) -> Result<Choice, NoLayoutFits> {
        let mut best: Option<Choice> = None;
        let mut no_room = None;
        let mut left = if *self.way == Way::Serial || self.layouts.is_long() { SERIAL_TRIES } else { TRIES };
        for (picks, order) in Tries::new(self.layouts, self.way) {
            for style in self.layouts.styles([Style::PLAIN, Style::APART]) {
                // Until something has room it is that which is asked.
                let limit = best.as_ref().map(|best| best.cycles);
                if limit.is_some_and(|limit| limit <= self.layouts.bound_of(self.way, &picks, &order)) {
                    break;
                }
                match self.run(Trial { picks: picks.clone(), order: order.clone(), style }, limit) {
                    Ok(Some(cycles)) => {
                        let (layouts, order, way) = (picks.clone(), order.clone(), self.way.clone());
                        best = Some(Choice { layouts, order, way, style, cycles });
                    }
                    Ok(None) => {}
                    Err(why) => no_room = Some((why, picks.clone())),
                }
            }
            left -= usize::from(best.is_some());
            if left == 0 {
                break;
            }
        }
        best.ok_or_else(|| no_room.expect("every job has a layout"))
    }

    /// Of the layouts in which a way by turn gets stuck by counts, the best, with a look ahead, if that beats what is known.
    fn look_ahead(&self, known: Option<&Choice>) -> Option<Choice> {
        let layouts = self.layouts;
        let mut all: Vec<_> = if self.way.is_by_turn() { layouts.all_picks() } else { Vec::new() };
        all.sort_by_cached_key(|picks| layouts.bound(picks));
        let (mut limit, mut best, mut left) = (known.map(|known| known.cycles), None, TRIES);
        for (picks, order) in all.into_iter().flat_map(both_orders) {
            if left == 0 || limit.is_some_and(|limit| limit <= layouts.bound(&picks)) {
                break;
            }
            let Some(jobs) = layouts.looking_ahead(self.way, &picks, &order) else { continue };
            left -= 1;
            for style in layouts.styles(Style::ALL) {
                let way = Way::Order(jobs.clone());
                if let Ok(Some(cycles)) = layouts.race(&picks, &order).cycles(&way, style, limit) {
                    limit = Some(cycles);
                    best = Some(Choice { layouts: picks.clone(), order: order.clone(), way, style, cycles });
                }
            }
        }
        best
    }

    /// The cycles of a trial, if less than a limit, which is no more than those before.
    fn run(&mut self, trial: Trial, limit: Option<Cycles>) -> Timed {
        if let Some((_, timed)) = self.known.iter().find(|(known, _)| *known == trial) {
            return timed.map(|cycles| cycles.filter(|&cycles| limit.is_none_or(|limit| cycles < limit)));
        }
        let Trial { picks, order, style } = &trial;
        let race = self.layouts.race(picks, order);
        if !self.way.is_by_turn() {
            let timed = race.cycles(self.way, *style, limit);
            self.known.push((trial, timed));
            return timed;
        }
        let [timed, of_opposite] = race.cycles_of_both(self.way, *style, limit);
        let opposite = Trial { order: order.iter().rev().copied().collect(), ..trial.clone() };
        self.known.extend([(trial, timed), (opposite, of_opposite)]);
        timed
    }

    /// From a choice on, each job alone tries its other layouts on the machine, for as long as that helps.
    fn descend(&mut self, best: &mut Choice) {
        let mut before = None;
        while before != Some(best.cycles) {
            before = Some(best.cycles);
            for job in 0..best.layouts.len() {
                for size in 0..self.layouts.sizes(job) {
                    let mut layouts = best.layouts.clone();
                    layouts[job] = size;
                    self.try_instead(best, Choice { layouts, ..best.clone() });
                }
            }
        }
    }

    /// The other styles, as long as one helps.
    fn restyle(&mut self, best: &mut Choice) {
        for style in self.layouts.styles(Style::ALL) {
            self.try_instead(best, Choice { style, ..best.clone() });
        }
    }

    /// Runs another choice on the machine, if it may be shorter, and takes it if it is.
    fn try_instead(&mut self, best: &mut Choice, other: Choice) {
        if self.layouts.bound_of(self.way, &other.layouts, &other.order) < best.cycles {
            let trial = Trial { picks: other.layouts.clone(), order: other.order.clone(), style: other.style };
            if let Ok(Some(cycles)) = self.run(trial, Some(best.cycles)) {
                *best = Choice { cycles, ..other };
            }
        }
    }

    /// The same order with all its stays placed at once, where that helps.
    fn place_at_once(&self, best: &mut Choice) {
        let (layouts, picks) = (self.layouts, best.layouts.clone());
        let bound = layouts.bound_of(&best.way, &picks, &best.order);
        if bound >= best.cycles || !layouts.can_be_placed(&picks) {
            return;
        }
        let order = best.order.clone();
        let race = layouts.race(&picks, &order);
        let Ok(jobs) = race.jobs(&best.way, best.style) else { return };
        let Some(lives) = layouts.lives(&picks, &jobs) else { return };
        let mut steps = jobs.len() as u64 * REPLACEMENTS;
        for first in First::ALL {
            if layouts.bound_of(&best.way, &picks, &order).max(lives.done()) < best.cycles
                && let Some(addresses) = lives.place(&layouts.npu.sram, first, &mut steps)
            {
                let way = Way::Placed(jobs.clone(), addresses);
                if let Ok(Some(cycles)) = race.cycles(&way, Style::PLAIN, Some(best.cycles)) {
                    *best = Choice { way, style: Style::PLAIN, cycles, ..best.clone() };
                }
            }
        }
    }
}

/// All layouts with either job first, by what they take by counts; where those say nothing, by bound. Each is counted only
/// when none that is counted is surely before it.
struct Tries<'l, 'a> {
    layouts: &'l Layouts<'a>,
    way: &'l Way,
    all: Vec<(Vec<usize>, Vec<usize>)>,
    queue: BinaryHeap<Reverse<Rank>>,
}

/// Layouts with either job first.
fn both_orders(picks: Vec<usize>) -> [(Vec<usize>, Vec<usize>); 2] {
    let forward: Vec<usize> = (0..picks.len()).collect();
    let backward = forward.iter().rev().copied().collect();
    [(picks.clone(), forward), (picks, backward)]
}

/// Of those alike, the finest tiles go into the smallest holes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    estimate: u64,
    fineness: Reverse<usize>,
    at: usize,
    /// Whether the estimate is that, and no less.
    is_exact: bool,
}

impl<'l, 'a> Tries<'l, 'a> {
    fn new(layouts: &'l Layouts<'a>, way: &'l Way) -> Self {
        let all: Vec<_> = layouts.all_picks().into_iter().flat_map(both_orders).collect();
        let rank = |(at, (picks, order)): (usize, &(Vec<usize>, Vec<usize>))| {
            let (estimate, is_exact) = layouts.least_estimate(way, picks, order);
            let fineness = Reverse(picks.iter().sum());
            Reverse(Rank { estimate, fineness, at, is_exact })
        };
        let queue = all.iter().enumerate().map(rank).collect();
        Self { layouts, way, all, queue }
    }
}

impl Iterator for Tries<'_, '_> {
    type Item = (Vec<usize>, Vec<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Reverse(rank) = self.queue.pop()?;
            let (picks, order) = &self.all[rank.at];
            if rank.is_exact {
                return Some((picks.clone(), order.clone()));
            }
            let estimate = self.layouts.estimate(self.way, picks, order);
            self.queue.push(Reverse(Rank { estimate, is_exact: true, ..rank }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coschedule::testing::{Plain, chain, npu};

    /// By hand, in 14 bytes: the first tile of either job leaves 5, which the second uses and leaves 5 itself. In turn both
    /// first tiles hold 10, and neither second one has room. So the first job's second tile comes first: 4 tiles of 1 cycle.
    #[test]
    fn turns_are_not_taken_into_a_dead_end() {
        let tile = |later| Plain { compute: 1, leaves: (5, later), ..Plain::default() };
        let chain = chain(&[tile(1), tile(0)]);
        let npu = npu(14, 0);
        let layouts = Layouts::of_chains(&npu, &[chain.clone(), chain]);
        let choice = layouts.best(&Way::RoundRobin).expect("one job after the other has room");
        assert_eq!((choice.way, choice.cycles), (Way::Order(vec![0, 0, 1, 1]), Cycles(4)));
    }
}
