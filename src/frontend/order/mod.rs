//! The order of the layers: one in which the fewest bytes are held at once.
//!
//! A file's order is any that runs; a branch whose large results soon shrink had better run before what waits for it.
//! What counts is what is held while a layer runs: every input from its first to its last reader, every result from
//! its layer to its last reader, and a result takes no room where it is written over an operand that dies. Weights pass
//! through, and that a tensor may be spilled is not foreseen.
//!
//! Where all layers before one are its ancestors and all after it its descendants, what is done and so what is held
//! then is the same in each order: the parts between such layers are ordered apart. To find the least peak is
//! NP-complete (Sethi 1975, "Complete register allocation problems"); parts are small, so [`search`] mostly finds it.

mod lives;
mod search;
#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::ir::{LayerId, Model};
use crate::units::Bytes;
use lives::{Done, Lives};

/// The states that a search keeps for all steps of a part together, and the most for one step. A part of 12 layers has
/// no more than 924 after any step, so it is searched in full.
const STATES: usize = 1 << 15;
const WIDEST: usize = 1 << 10;

/// Puts a model's layers in the order with the least peak that is found. Parts stay as the file has them unless they
/// hold more than the whole must; so no peak rises, and without gain nothing moves.
pub(super) fn for_least_peak(mut model: Model) -> Model {
    let order = order(&Lives::of(&model), |layers| (STATES / layers).clamp(1, WIDEST));
    model.layers = order.into_iter().map(|id| model.layers[id].clone()).collect();
    model
}

/// A part of the model: its layers in the file's order and in a better one, if there is one, with their peaks.
struct Part {
    layers: Range<usize>,
    peak: Bytes,
    better: Option<(Bytes, Vec<LayerId>)>,
}

impl Part {
    fn least(&self) -> Bytes {
        self.better.as_ref().map_or(self.peak, |(peak, _)| *peak)
    }
}

/// The order; `width` says how many states of a part of so many layers are kept after each step.
fn order(lives: &Lives, width: impl Fn(usize) -> usize) -> Vec<LayerId> {
    let floor = lives.floor();
    let mut held = Bytes::ZERO;
    let of_part = |layers: Range<usize>| {
        let before = held;
        let mut done = Done::new(&layers);
        let mut peak = floor;
        for layer in layers.clone().map(LayerId::from) {
            let run = lives.run(layer, &done, held);
            (peak, held) = (peak.max(run.during), run.after);
            done.add(layer);
        }
        let found = || search::least(lives, &layers, before, floor, width(layers.len()));
        let better = if peak > floor { Some(found()).filter(|(least, _)| *least < peak) } else { None };
        Part { layers, peak, better }
    };
    let parts: Vec<Part> = lives.parts().into_iter().map(of_part).collect();
    let least = parts.iter().map(Part::least).max().unwrap_or(floor);
    let in_order = |Part { layers, peak, better }| match better {
        Some((_, order)) if peak > least => order,
        Some(_) | None => layers.map(LayerId::from).collect(),
    };
    parts.into_iter().flat_map(in_order).collect()
}
