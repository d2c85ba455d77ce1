//! How a model is laid out in the scratchpad: how its layers are cut, and what is spilled where it is too small.

use std::collections::HashMap;

use super::Job;
use super::chain::{Chain, Layout, Slot};
use crate::analysis::{self, Fit};
use crate::cost;
use crate::ir::{IdVec, LayerId, Operand, TensorId, TensorKind};
use crate::npu::Npu;
use crate::units::Bytes;

/// A layer that no cutting and no spilling makes fit.
#[derive(Clone, Copy, Debug)]
pub(super) struct TooLarge {
    pub(super) layer: LayerId,
    /// What its smallest tile needs.
    pub(super) needs: Bytes,
}

/// How large a tile may be, where a coarser one would be possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// What it loads.
    pub(super) load: Bytes,
    /// So many loads go into the room that a layer has beside what is kept for others; and no tile computes longer than
    /// [`LONGEST`] times its load takes. So the other job's loads find room soon, and in time, wherever this one is.
    pub(super) loads_in_room: Option<u64>,
    /// Whether packed groups are cut along k where that takes fewer cycles.
    pub(super) is_packed: bool,
}

impl Limits {
    /// One tile to a layer.
    pub(super) const WHOLE_LAYERS: Self = Self { load: Bytes(u64::MAX), loads_in_room: None, is_packed: false };
}

/// By how much a tile may compute longer than its load takes, where tiles are to be short.
const LONGEST: u64 = 2;

/// Lays out a job in `budget` bytes of the scratchpad: each layer in the coarsest of its tilings whose tiles are within
/// `limits`; and, where that is too much, spilled and cut finer, worst tile first, until it fits.
pub(super) fn lay_out(
    npu: &Npu,
    job: &Job,
    limits: Limits,
    budget: Bytes,
    fits: &mut Fits,
) -> Result<(Layout, Chain), TooLarge> {
    let (model, analysis) = (job.model, job.analysis);
    let coarsest = |id: LayerId, load: Bytes| {
        let tilings = &analysis.tilings[id];
        let packed = analysis.packed[id].iter().filter(|_| limits.is_packed);
        packed.chain(tilings).find(|tiling| tiling.load <= load).unwrap_or(&tilings[tilings.len() - 1]).clone()
    };
    let tilings = model.layers.ids().map(|id| coarsest(id, limits.load)).collect();
    // What takes half of the room or more leaves none to work in.
    let is_large =
        |tensor: &crate::ir::Tensor| tensor.kind != TensorKind::Weight && tensor.bytes_of(&tensor.whole()) * 2 > budget;
    let spilled: IdVec<TensorId, bool> = model.tensors.iter().map(is_large).collect();
    let refitted = model.layers.iter().map(|_| false).collect();
    let mut squeeze = Squeeze { npu, job, budget, fits, refitted, layout: Layout { tilings, spilled } };
    if let Some(loads) = limits.loads_in_room {
        let room = squeeze.room(&squeeze.chain());
        let short = |(id, layer)| {
            let load = limits.load.min(Bytes(room[id].get() / loads));
            let longest = cost::transfer_cycles(npu, load) * LONGEST;
            coarsest(id, load).shortened(model, layer, npu, analysis.measured[id], longest)
        };
        squeeze.layout.tilings = model.layers.iter_with_ids().map(short).collect();
    }
    squeeze.run()
}

/// The fits of a model's layers so far. Networks repeat their layers, and layouts the room of each.
#[derive(Debug, Default)]
pub(super) struct Fits(HashMap<(String, Bytes), Option<Fit>>);

impl Fits {
    fn of(&mut self, npu: &Npu, job: &Job, id: LayerId, spilled: &IdVec<TensorId, bool>, room: Bytes) -> Option<Fit> {
        let (model, layer, measured) = (job.model, &job.model.layers[id], job.analysis.measured[id]);
        let dims: Vec<_> = layer.dims.iter().map(|dim| (dim.size, dim.role)).collect();
        let of_operand = |operand: &Operand| {
            let tensor = &model.tensors[operand.tensor];
            // Which of them are the same tensor counts, not which one that is.
            let first = layer.operands().position(|other| other.tensor == operand.tensor);
            let is_spilled = spilled[operand.tensor];
            (first, operand.access.clone(), tensor.shape.clone(), tensor.element_bits, tensor.kind, is_spilled)
        };
        let operands: Vec<_> = layer.operands().map(of_operand).collect();
        let alike = format!("{:?}", (layer.op, layer.lane_operations, measured, dims, layer.reads.len(), operands));
        let fit = || analysis::fit(model, layer, npu, measured, spilled, room);
        self.0.entry((alike, room)).or_insert_with(fit).clone()
    }
}

struct Squeeze<'a> {
    npu: &'a Npu,
    job: &'a Job<'a>,
    budget: Bytes,
    fits: &'a mut Fits,
    layout: Layout,
    /// The layers that are cut for the room that they have.
    refitted: IdVec<LayerId, bool>,
}

impl Squeeze<'_> {
    fn run(mut self) -> Result<(Layout, Chain), TooLarge> {
        let large: Vec<TensorId> = self.layout.spilled.iter_with_ids().filter(|(_, s)| **s).map(|(id, _)| id).collect();
        if !large.is_empty() {
            self.refit_around(&large, &self.room(&self.chain()));
        }
        loop {
            let chain = self.chain();
            let worst = self.worst_tiles(&chain);
            if worst.is_empty() {
                return Ok((self.layout, chain));
            }
            self.relieve(&chain, &worst)?;
        }
    }

    /// For each layer that holds more than the budget its worst tile, and what that holds.
    fn worst_tiles(&self, chain: &Chain) -> Vec<(usize, Bytes)> {
        let held = chain.held(self.npu.sram.alignment_bytes, |_| true);
        let mut worst: IdVec<LayerId, Option<(usize, Bytes)>> = self.job.model.layers.iter().map(|_| None).collect();
        for (at, (tile, held)) in chain.tiles.iter().zip(held).enumerate() {
            let of_layer = &mut worst[tile.layer];
            if held > self.budget && of_layer.is_none_or(|(_, most)| held > most) {
                *of_layer = Some((at, held));
            }
        }
        worst.into_iter().flatten().collect()
    }

    /// Cuts each layer that holds too much for the room that it has; and where that does not go, or has not helped,
    /// spills a tensor.
    fn relieve(&mut self, chain: &Chain, worst: &[(usize, Bytes)]) -> Result<(), TooLarge> {
        let room = self.room(chain);
        let mut spilled: Vec<TensorId> = Vec::new();
        for &(tile, needs) in worst {
            let layer = chain.tiles[tile].layer;
            let kept = chain.live_at(tile).into_iter().map(|slot| &chain.slots[slot]).collect::<Vec<_>>();
            let freed = kept.iter().filter(|slot| spilled.contains(&slot.tensor)).map(|slot| slot.bytes).sum();
            if needs.saturating_sub(freed) <= self.budget {
                continue;
            }
            if !std::mem::replace(&mut self.refitted[layer], true) && self.refit(layer, room[layer]) {
                continue;
            }
            let tensor = self.next_to_spill(layer, &kept).ok_or(TooLarge { layer, needs })?;
            self.layout.spilled[tensor] = true;
            self.refitted[layer] = false;
            spilled.push(tensor);
        }
        self.refit_around(&spilled, &self.room(chain));
        Ok(())
    }

    fn chain(&self) -> Chain {
        Chain::new(self.job.model, self.job.analysis, self.npu, &self.layout)
    }

    /// What each layer's tiles may take of their own: the budget less what is kept for others meanwhile.
    fn room(&self, chain: &Chain) -> IdVec<LayerId, Bytes> {
        let kept = chain.held(self.npu.sram.alignment_bytes, |slot| self.layout.keeps(self.job.model, slot.tensor));
        let mut room: IdVec<LayerId, Bytes> = self.job.model.layers.iter().map(|_| self.budget).collect();
        for (tile, kept) in chain.tiles.iter().zip(kept) {
            room[tile.layer] = room[tile.layer].min(self.budget.saturating_sub(kept));
        }
        room
    }

    /// Cuts the layers that use a spilled tensor anew: what they load of it counts now.
    fn refit_around(&mut self, spilled: &[TensorId], room: &IdVec<LayerId, Bytes>) {
        for (id, layer) in self.job.model.layers.iter_with_ids() {
            if layer.operands().any(|operand| spilled.contains(&operand.tensor)) {
                self.refitted[id] = self.refit(id, room[id]);
            }
        }
    }

    /// Cuts a layer for half of its room, where the next tile is loaded while one runs, or for all of it, where they take
    /// turns: whichever is shorter.
    fn refit(&mut self, id: LayerId, room: Bytes) -> bool {
        let mut fit = |room| self.fits.of(self.npu, self.job, id, &self.layout.spilled, room);
        let in_half = fit(Bytes(room.get() / 2)).map(|fit| (fit.tiling.compute.max(fit.transfers), fit.tiling));
        let in_all = fit(room).map(|fit| (fit.tiling.compute + fit.transfers, fit.tiling));
        let best = in_half.into_iter().chain(in_all).min_by_key(|(cycles, _)| *cycles);
        let is_fit = best.is_some();
        if let Some((_, tiling)) = best {
            self.layout.tilings[id] = tiling;
        }
        is_fit
    }

    /// The tensor to spill next: of those that are kept while a layer's worst tile runs, one that it does not use itself
    /// if there is one, for that adds only its store and one load; of these the largest.
    fn next_to_spill(&self, layer: LayerId, live: &[&Slot]) -> Option<TensorId> {
        let layer = &self.job.model.layers[layer];
        let is_used = |tensor| layer.operands().any(|operand| operand.tensor == tensor);
        let kept = live.iter().filter(|slot| self.layout.keeps(self.job.model, slot.tensor));
        let key = |slot: &&&Slot| (!is_used(slot.tensor), slot.bytes, std::cmp::Reverse(slot.tensor));
        kept.max_by_key(key).map(|slot| slot.tensor)
    }
}
