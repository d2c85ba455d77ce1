//! One request of a model as a chain of tiles, and what each tile needs of the scratchpad.
//!
//! A *slot* is one stay of one box of one tensor within a request: a weight box from its load to the last of the tiles
//! in a row that read it; an input, whole; what one layer writes, from its first tile to the last reader; partial sums.
//! All of it is the same for every request, so it is worked out once.
//!
//! A tensor that is *spilled* is not kept: what a tile writes of it is stored, and what a tile reads of it is loaded, box
//! by box, as weights are.

use super::holders::Holders;
use crate::analysis::{Analysis, Tiling};
use crate::cost;
use crate::ir::entity;
use crate::ir::{IdVec, Layer, LayerId, Model, NdBox, Op, Role, TensorId, TensorKind};
use crate::npu::Npu;
use crate::units::{Bytes, Cycles};

entity! {
    /// A stay of data within one request of one model.
    SlotId, "slot"
}

/// What a slot holds.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) tensor: TensorId,
    pub(crate) part: NdBox,
    pub(crate) element_bits: u64,
    pub(crate) bytes: Bytes,
    /// Loaded again after a spill: the slots that must be stored before.
    pub(crate) sources: Vec<SlotId>,
    /// Tiles of its job from the one that begins it to the last that uses it.
    pub(crate) tiles: usize,
}

/// A tile with what it takes and leaves.
#[derive(Clone, Debug)]
pub(crate) struct ChainTile {
    pub(crate) layer: LayerId,
    pub(crate) part: NdBox,
    pub(crate) op: Op,
    pub(crate) cycles: Cycles,
    /// What is loaded for it, in one transfer.
    pub(crate) loads: Vec<SlotId>,
    pub(crate) load_bytes: Bytes,
    pub(crate) load_cycles: Cycles,
    pub(crate) reads: Vec<SlotId>,
    pub(crate) writes: Vec<SlotId>,
    /// The slots that it is the first to write, and that take space of their own.
    pub(crate) begins: Vec<SlotId>,
    /// The slots that it is the first to write, and whose place they take.
    pub(crate) replaces: Vec<(SlotId, SlotId)>,
    /// The slots that it is the last to use, save for those whose place another takes.
    pub(crate) ends: Vec<SlotId>,
    /// The outputs that it completes, with the cycles of their stores.
    pub(crate) stores: Vec<(SlotId, Cycles)>,
}

impl ChainTile {
    pub(super) fn new(layer: LayerId, op: Op, part: NdBox, cycles: Cycles) -> Self {
        Self {
            layer,
            part,
            op,
            cycles,
            loads: Vec::new(),
            load_bytes: Bytes::ZERO,
            load_cycles: Cycles::ZERO,
            reads: Vec::new(),
            writes: Vec::new(),
            begins: Vec::new(),
            replaces: Vec::new(),
            ends: Vec::new(),
            stores: Vec::new(),
        }
    }
}

/// How a model is laid out in the scratchpad.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// How each layer is cut.
    pub(crate) tilings: IdVec<LayerId, Tiling>,
    /// Which tensors are not kept between the tiles that use them.
    pub(crate) spilled: IdVec<TensorId, bool>,
}

impl Layout {
    /// Whether a tensor stays in the scratchpad from its first use to its last: weights never do.
    pub(crate) fn keeps(&self, model: &Model, tensor: TensorId) -> bool {
        model.tensors[tensor].kind != TensorKind::Weight && !self.spilled[tensor]
    }
}

/// A request's tiles, in the order in which they run.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) slots: IdVec<SlotId, Slot>,
    pub(crate) tiles: Vec<ChainTile>,
}

impl Chain {
    /// Lays out a request, each layer in the given one of its tilings.
    pub(crate) fn new(model: &Model, analysis: &Analysis, npu: &Npu, layout: &Layout) -> Self {
        let mut builder = Builder {
            model,
            npu,
            layout,
            slots: IdVec::new(),
            tiles: Vec::new(),
            of_tensor: model.tensors.iter().map(|_| Holders::default()).collect(),
            last_use: IdVec::new(),
            outputs: Vec::new(),
        };
        for (id, layer) in model.layers.iter_with_ids() {
            builder.lay_out(id, layer, &layout.tilings[id], analysis.measured[id]);
        }
        builder.finish()
    }

    /// The bytes that are held while each tile runs, each slot rounded up to whole steps of the alignment. With
    /// `counts` only some slots count.
    pub(crate) fn held(&self, alignment: Bytes, counts: impl Fn(&Slot) -> bool) -> Vec<Bytes> {
        let size = |&slot: &SlotId| {
            let slot = &self.slots[slot];
            let bytes = slot.bytes.get().next_multiple_of(alignment.get());
            if counts(slot) { Bytes(bytes) } else { Bytes::ZERO }
        };
        let mut held = Bytes::ZERO;
        let of_tile = |tile: &ChainTile| {
            held += tile.loads.iter().chain(&tile.begins).map(size).sum();
            for (slot, old) in &tile.replaces {
                held = held + size(slot) - size(old);
            }
            let during = held;
            held = held - tile.ends.iter().map(size).sum();
            during
        };
        self.tiles.iter().map(of_tile).collect()
    }

    /// The bytes that later tiles still use, after each tile.
    pub(crate) fn left_after(&self) -> impl Iterator<Item = Bytes> {
        let bytes = |slots: &[SlotId]| slots.iter().map(|&slot| self.slots[slot].bytes).sum::<Bytes>();
        self.tiles.iter().scan(Bytes::ZERO, move |held, tile| {
            *held = *held + tile.load_bytes + bytes(&tile.begins) - bytes(&tile.ends);
            Some(*held)
        })
    }

    /// The slots that are held while a tile runs.
    pub(crate) fn live_at(&self, tile: usize) -> Vec<SlotId> {
        let mut live = Vec::new();
        for (at, of_tile) in self.tiles[..=tile].iter().enumerate() {
            live.extend(of_tile.loads.iter().chain(&of_tile.begins));
            live.extend(of_tile.replaces.iter().map(|(slot, _)| slot));
            live.retain(|slot| !of_tile.replaces.iter().any(|(_, old)| old == slot));
            if at < tile {
                live.retain(|slot| !of_tile.ends.contains(slot));
            }
        }
        live
    }

    /// The bytes that cross the DRAM channel for each layer.
    pub(crate) fn traffic(&self, layers: usize) -> IdVec<LayerId, Bytes> {
        let mut traffic: IdVec<LayerId, Bytes> = (0..layers).map(|_| Bytes::ZERO).collect();
        for tile in &self.tiles {
            let stored = tile.stores.iter().map(|&(slot, _)| self.slots[slot].bytes);
            traffic[tile.layer] += tile.load_bytes + stored.sum();
        }
        traffic
    }
}

struct Builder<'a> {
    model: &'a Model,
    npu: &'a Npu,
    layout: &'a Layout,
    slots: IdVec<SlotId, Slot>,
    tiles: Vec<ChainTile>,
    /// The slots of inputs and of what layers have written.
    of_tensor: IdVec<TensorId, Holders>,
    /// The last tile that uses each slot.
    last_use: IdVec<SlotId, usize>,
    /// What each layer leaves, in order.
    outputs: Vec<Output>,
}

/// What a layer leaves when its last tile is done.
struct Output {
    slot: SlotId,
    completed_by: usize,
    /// The operands whose place it can take, if they die with that tile.
    replaceable: Vec<SlotId>,
}

impl Builder<'_> {
    fn lay_out(&mut self, id: LayerId, layer: &Layer, tiling: &Tiling, measured: Option<Cycles>) {
        let parts = tiling.tiles(layer);
        let cycles: Vec<Cycles> = match measured {
            Some(cycles) => cost::measured_shares(cycles, &parts.iter().map(NdBox::volume).collect::<Vec<_>>()),
            None => {
                let last = parts.len() - 1;
                let cost = |(i, part)| cost::compute_cycles(self.npu, self.model, layer, part, i == last);
                parts.iter().enumerate().map(cost).collect()
            }
        };
        let op = if measured.is_some() { Op::Measured } else { layer.op };
        let first = self.tiles.len();
        let mut streamed = Vec::new();
        let mut sums = Sums { output: None, partial: None };
        for (part, cycles) in parts.into_iter().zip(cycles) {
            self.tiles.push(ChainTile::new(id, op, part, cycles));
            streamed = self.add_reads(layer, &streamed);
            self.add_write(layer, first, &mut sums);
        }
        if let Some(slot) = sums.output {
            let replaceable = self.replaceable(layer, first, slot);
            self.complete(slot, replaceable);
        }
    }

    /// The newest tile completes what a slot holds.
    fn complete(&mut self, slot: SlotId, replaceable: Vec<SlotId>) {
        self.hold(slot);
        self.outputs.push(Output { slot, completed_by: self.tiles.len() - 1, replaceable });
    }

    fn tile(&mut self) -> &mut ChainTile {
        self.tiles.last_mut().expect("called for the tile that was just added")
    }

    fn add_slot(&mut self, tensor: TensorId, part: NdBox, element_bits: u64) -> SlotId {
        let bytes = Bytes::of_elements(part.volume(), element_bits);
        self.last_use.push(self.tiles.len() - 1);
        self.slots.push(Slot { tensor, part, element_bits, bytes, sources: Vec::new(), tiles: self.tiles.len() })
    }

    /// The operands of the newest tile: what is not there yet is loaded for it. `before` are the streamed slots that the
    /// layer's tile before this one read; this one's are the result.
    fn add_reads(&mut self, layer: &Layer, before: &[SlotId]) -> Vec<SlotId> {
        let part = self.tile().part.clone();
        let mut streamed = Vec::new();
        for read in &layer.reads {
            let tensor = &self.model.tensors[read.tensor];
            let Some(needed) = read.touched(&part, &tensor.shape) else { continue };
            if !self.layout.keeps(self.model, read.tensor) {
                let slot = self.stream(read.tensor, needed, &[before, &streamed].concat());
                streamed.push(slot);
                self.read(slot);
                continue;
            }
            if tensor.kind == TensorKind::Input && self.of_tensor[read.tensor].is_empty() {
                let slot = self.load(read.tensor, tensor.whole());
                self.hold(slot);
            }
            self.of_tensor[read.tensor].of(&needed).into_iter().for_each(|slot| self.read(slot));
        }
        streamed
    }

    /// What a slot holds is there from now on.
    fn hold(&mut self, slot: SlotId) {
        let Slot { tensor, part, .. } = &self.slots[slot];
        self.of_tensor[*tensor].add(slot, part, &self.model.tensors[*tensor].shape);
    }

    /// The slot of a box that is loaded for the tiles in a row that read it: one of those `held` that has it, or a new
    /// one.
    fn stream(&mut self, tensor: TensorId, part: NdBox, held: &[SlotId]) -> SlotId {
        let is_it = |slot: &Slot| slot.tensor == tensor && slot.part.contains(&part);
        if let Some(slot) = held.iter().copied().find(|&slot| is_it(&self.slots[slot])) {
            return slot;
        }
        let sources = self.of_tensor[tensor].of(&part);
        let slot = self.load(tensor, part);
        self.slots[slot].sources = sources;
        slot
    }

    fn load(&mut self, tensor: TensorId, part: NdBox) -> SlotId {
        let slot = self.add_slot(tensor, part, self.model.tensors[tensor].element_bits);
        self.tile().loads.push(slot);
        slot
    }

    fn read(&mut self, slot: SlotId) {
        self.last_use[slot] = self.tiles.len() - 1;
        if !self.tile().reads.contains(&slot) {
            self.tile().reads.push(slot);
        }
    }

    /// The output of the newest tile. Cut along k, all tiles but the last write sums of at least 32 bits, and all but
    /// the first read what the one before wrote. `first` is the layer's first tile.
    fn add_write(&mut self, layer: &Layer, first: usize, sums: &mut Sums) {
        let Some(write) = &layer.write else { return };
        let tensor = &self.model.tensors[write.tensor];
        let part = self.tile().part.clone();
        let written = write.touched(&part, &tensor.shape).expect("a checked write touches its tensor");
        let (is_first, is_last) = ends_of_sums(layer, &part);
        let is_spilled = self.layout.spilled[write.tensor];
        let sum_bits = tensor.element_bits.max(32);
        let is_sum = !is_last && sum_bits != tensor.element_bits;
        if is_sum {
            if is_first {
                sums.partial = Some(self.begin(write.tensor, written, sum_bits));
            }
        } else if is_spilled && (is_first || sums.output.is_none()) {
            sums.output = Some(self.begin(write.tensor, written, tensor.element_bits));
        }
        if !is_spilled && self.tiles.len() - 1 == first {
            let whole = write.touched(&layer.whole(), &tensor.shape).expect("a checked write touches its tensor");
            sums.output = Some(self.begin(write.tensor, whole, tensor.element_bits));
        }
        if !is_first {
            self.read(sums.partial.or(sums.output).expect("k is the innermost loop, so its first tile came before"));
        }
        let target = if is_sum { sums.partial } else { sums.output };
        self.write(target.expect("it was begun by this tile or by one before"));
        if is_last {
            sums.partial = None;
        }
        if is_last && is_spilled {
            let slot = sums.output.take().expect("it was just written");
            self.complete(slot, Vec::new());
        }
    }

    fn begin(&mut self, tensor: TensorId, part: NdBox, element_bits: u64) -> SlotId {
        let slot = self.add_slot(tensor, part, element_bits);
        self.tile().begins.push(slot);
        slot
    }

    fn write(&mut self, slot: SlotId) {
        self.last_use[slot] = self.tiles.len() - 1;
        self.tile().writes.push(slot);
    }

    /// The operands of the newest layer that its output may be written over: activations with the same box and width,
    /// which the layer reads only where it writes, and never again as partial sums.
    fn replaceable(&self, layer: &Layer, first: usize, output: SlotId) -> Vec<SlotId> {
        let Some(access) = layer.write.as_ref().and_then(|write| write.access.as_ref()) else { return Vec::new() };
        if self.tiles[first..].iter().any(|tile| ends_of_sums(layer, &tile.part) != (true, true)) {
            return Vec::new();
        }
        let new = &self.slots[output];
        let fits = |&slot: &SlotId| {
            let old = &self.slots[slot];
            let mut reads = layer.reads.iter().filter(|read| read.tensor == old.tensor);
            self.model.tensors[old.tensor].kind == TensorKind::Activation
                && !self.layout.spilled[old.tensor]
                && (&old.part, old.element_bits) == (&new.part, new.element_bits)
                && reads.all(|read| read.access.as_ref() == Some(access))
        };
        self.tiles[first].reads.iter().copied().filter(fits).collect()
    }

    /// Settles what is known only now: when each slot ends, and what is written in place.
    fn finish(mut self) -> Chain {
        // For each slot the dying operand whose place it takes, and whether another takes its own.
        let mut over: IdVec<SlotId, Option<SlotId>> = self.slots.iter().map(|_| None).collect();
        let mut replaced: IdVec<SlotId, bool> = self.slots.iter().map(|_| false).collect();
        for Output { slot, completed_by, replaceable } in std::mem::take(&mut self.outputs) {
            let tensor = self.slots[slot].tensor;
            if self.model.tensors[tensor].kind == TensorKind::Output || self.layout.spilled[tensor] {
                let cycles = cost::transfer_cycles(self.npu, self.slots[slot].bytes);
                self.tiles[completed_by].stores.push((slot, cycles));
            }
            if let Some(old) = replaceable.into_iter().find(|&old| self.last_use[old] == completed_by) {
                over[slot] = Some(old);
                replaced[old] = true;
            }
        }
        for (slot, &last) in self.last_use.iter_with_ids().filter(|(slot, _)| !replaced[*slot]) {
            self.tiles[last].ends.push(slot);
        }
        for (id, last) in self.last_use.iter_with_ids() {
            // It held the number of tiles, up to the one that begins it.
            self.slots[id].tiles = last + 2 - self.slots[id].tiles;
        }
        for tile in &mut self.tiles {
            tile.replaces = tile.begins.iter().filter_map(|&slot| Some((slot, over[slot]?))).collect();
            tile.begins.retain(|&slot| over[slot].is_none());
            tile.load_bytes = tile.loads.iter().map(|&slot| self.slots[slot].bytes).sum();
            if !tile.loads.is_empty() {
                tile.load_cycles = cost::transfer_cycles(self.npu, tile.load_bytes);
            }
        }
        Chain { slots: self.slots, tiles: self.tiles }
    }
}

/// What a layer's tiles write: its output, or of a spilled one the newest box; and the sums that lead there.
struct Sums {
    output: Option<SlotId>,
    partial: Option<SlotId>,
}

/// Whether a tile of a product has the first, and the last, iteration of what is summed over.
fn ends_of_sums(layer: &Layer, part: &NdBox) -> (bool, bool) {
    match layer.op {
        Op::Vector | Op::Measured => (true, true),
        Op::Gemm => {
            let reduced = layer.dims.iter().zip(&part.0).filter(|(dim, _)| dim.role == Role::K);
            reduced.fold((true, true), |(first, last), (dim, span)| {
                (first && span.begin == 0, last && span.end == dim.size)
            })
        }
    }
}
