//! The order of a part: breadth first over the sets of layers that have run, the most promising of each size.

use std::collections::BTreeSet;
use std::ops::Range;

use super::lives::{Done, Lives, Run};
use crate::ir::LayerId;
use crate::units::Bytes;

/// Of the layers that can run, so many are tried: the first in the file's order.
const TRIED: usize = 64;

/// Some layers of the part have run, in an order of the least peak so far.
struct State {
    done: Done,
    /// What can run now, in the file's order.
    ready: Vec<LayerId>,
    held: Bytes,
    peak: Bytes,
    /// The newest step.
    step: Option<usize>,
}

/// A state's layer that runs next: the peak with it, what is held then, which state, which layer. Less is better; with
/// the last two the file's order decides ties.
type Next = (Bytes, Bytes, usize, LayerId);

/// The least peak of a part, at least `floor`, and an order for it. What is held after some layers does not depend on
/// their order, so one state stands for all; the search is exact unless one is dropped because more than `width` have as
/// many layers.
pub(super) fn least(
    lives: &Lives,
    part: &Range<usize>,
    held: Bytes,
    floor: Bytes,
    width: usize,
) -> (Bytes, Vec<LayerId>) {
    let done = Done::new(part);
    let ready = lives.sources(part, &done);
    let mut states = vec![State { done, ready, held, peak: floor, step: None }];
    // Each layer that ran, and the step before.
    let mut steps: Vec<(LayerId, Option<usize>)> = Vec::new();
    for _ in part.clone() {
        let mut nexts: Vec<Next> = states.iter().enumerate().flat_map(|(at, state)| nexts(lives, at, state)).collect();
        nexts.sort_unstable();
        let mut seen = BTreeSet::new();
        let mut after = Vec::new();
        for (peak, held, at, layer) in nexts {
            if after.len() == width {
                break;
            }
            let before = &states[at];
            let mut done = before.done.clone();
            done.add(layer);
            if seen.insert(done.clone()) {
                let mut ready: Vec<LayerId> = before.ready.iter().copied().filter(|&other| other != layer).collect();
                ready.extend(lives.made_ready(layer, &done));
                ready.sort_unstable();
                steps.push((layer, before.step));
                after.push(State { done, ready, held, peak, step: Some(steps.len() - 1) });
            }
        }
        states = after;
    }
    let last = states.first();
    let mut order = Vec::with_capacity(part.len());
    let mut step = last.and_then(|state| state.step);
    while let Some((layer, before)) = step.map(|at| steps[at]) {
        order.push(layer);
        step = before;
    }
    order.reverse();
    (last.map_or(floor, |state| state.peak), order)
}

fn nexts(lives: &Lives, at: usize, state: &State) -> impl Iterator<Item = Next> {
    state.ready.iter().take(TRIED).map(move |&layer| {
        let Run { during, after } = lives.run(layer, &state.done, state.held);
        (state.peak.max(during), after, at, layer)
    })
}
