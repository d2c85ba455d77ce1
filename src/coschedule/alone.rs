//! One model alone in the whole scratchpad, in the coarsest tiles that fit: what each layer moves and holds.

use super::chain::{Chain, ChainTile, Layout, SlotId};
use super::layout::{self, Fits, Limits, TooLarge};
use super::{Job, NoFit};
use crate::analysis::Tiling;
use crate::ir::{IdVec, LayerId, NdBox, TensorId};
use crate::npu::Npu;
use crate::units::Bytes;

/// A model's layout, with no other model beside it.
#[derive(Debug)]
pub struct Alone {
    layout: Layout,
    chain: Chain,
    /// What is held while each tile runs.
    held: Vec<Bytes>,
    layers: usize,
}

/// A box of a tensor that is in the scratchpad or on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held<'a> {
    /// Of which tensor.
    pub tensor: TensorId,
    /// Which part of it.
    pub part: &'a NdBox,
    /// The tensor's, save for partial sums.
    pub element_bits: u64,
    /// Packed, without what alignment adds.
    pub bytes: Bytes,
}

impl Alone {
    /// Lays out a job, whatever its requests.
    pub fn new(npu: &Npu, job: &Job) -> Result<Self, NoFit> {
        let sram = npu.sram.bytes;
        let laid_out = layout::lay_out(npu, job, Limits::WHOLE_LAYERS, sram, &mut Fits::default());
        let (layout, chain) = laid_out.map_err(|too_large| NoFit::new(job.model, sram, too_large))?;
        let held = chain.held(npu.sram.alignment_bytes, |_| true);
        Ok(Self { layout, chain, held, layers: job.model.layers.len() })
    }

    /// What crosses the DRAM channel for each layer.
    pub fn traffic(&self) -> IdVec<LayerId, Bytes> {
        self.chain.traffic(self.layers)
    }

    /// The most that is held while one of a layer's tiles runs: what the tile uses, and what is kept for later layers.
    pub fn sram_bytes(&self) -> IdVec<LayerId, Bytes> {
        let mut most: IdVec<LayerId, Bytes> = (0..self.layers).map(|_| Bytes::ZERO).collect();
        for (tile, &held) in self.chain.tiles.iter().zip(&self.held) {
            most[tile.layer] = most[tile.layer].max(held);
        }
        most
    }

    /// How a layer is cut.
    pub fn tiling(&self, layer: LayerId) -> &Tiling {
        &self.layout.tilings[layer]
    }

    /// Whether a tensor is stored, and loaded again by who reads it.
    pub fn is_spilled(&self, tensor: TensorId) -> bool {
        self.layout.spilled[tensor]
    }

    /// The loads of a layer's tiles in order, each with its boxes.
    pub fn loads(&self, layer: LayerId) -> Vec<Vec<Held<'_>>> {
        let loads = self.tiles(layer).map(|(_, tile)| tile.loads.iter().map(|&slot| self.slot(slot)).collect());
        loads.filter(|boxes: &Vec<_>| !boxes.is_empty()).collect()
    }

    /// The stores of what a layer's tiles complete.
    pub fn stores(&self, layer: LayerId) -> Vec<Held<'_>> {
        self.tiles(layer).flat_map(|(_, tile)| tile.stores.iter().map(|&(slot, _)| self.slot(slot))).collect()
    }

    /// What is held while that tile of a layer runs that holds the most.
    pub fn held(&self, layer: LayerId) -> Vec<Held<'_>> {
        let tiles = self.tiles(layer).map(|(at, _)| at);
        let worst = tiles.max_by_key(|&at| (self.held[at], std::cmp::Reverse(at)));
        worst.into_iter().flat_map(|at| self.chain.live_at(at)).map(|slot| self.slot(slot)).collect()
    }

    fn tiles(&self, layer: LayerId) -> impl Iterator<Item = (usize, &ChainTile)> {
        self.chain.tiles.iter().enumerate().filter(move |(_, tile)| tile.layer == layer)
    }

    fn slot(&self, slot: SlotId) -> Held<'_> {
        let slot = &self.chain.slots[slot];
        Held { tensor: slot.tensor, part: &slot.part, element_bits: slot.element_bits, bytes: slot.bytes }
    }
}

impl NoFit {
    /// The words for a layer that no layout has room for.
    pub(super) fn new(model: &crate::ir::Model, sram: Bytes, TooLarge { layer, needs }: TooLarge) -> Self {
        Self::TooLarge { model: model.name.clone(), layer: model.layers[layer].name.clone(), tile: needs, sram }
    }
}
