//! The tiling of a layer for a scratchpad that is too small: the best for the room that there is.

use super::floor::has_own_dims;
use super::tiling::{
    Outer, Tiling, boxes, choices, is_accumulated, load_bytes, loaded, loops, tiles_cycles, writes_boxes,
};
use crate::cost;
use crate::ir::{Affine, DimId, IdVec, Layer, Model, NdBox, Operand, Role, Span, TensorId, TensorKind};
use crate::npu::Npu;
use crate::units::{Bytes, Cycles};

/// A tiling, and what its loads take.
#[derive(Clone, Debug)]
pub struct Fit {
    /// The tiling.
    pub tiling: Tiling,
    /// All that its tiles load of weights and spilled tensors.
    pub traffic: Bytes,
    /// The same in one transfer.
    pub transfers: Cycles,
}

/// The tiling whose tiles each need at most `room` of the scratchpad and that keeps the busier engine busy for the
/// shortest time; among those the one that moves the fewest bytes. Traffic alone would not do: the cut that moves the
/// least is often so fine that the fills of its commands take longer than the transfers that it saves. A tile needs its
/// weights, its boxes of `spilled` tensors, and partial sums. `None` where even the smallest tile, one fold, has no room.
///
/// For each cut of groups, n and k, m is cut no finer than it must: a coarser cut never moves more.
pub fn fit(
    model: &Model,
    layer: &Layer,
    npu: &Npu,
    measured: Option<Cycles>,
    spilled: &IdVec<TensorId, bool>,
    room: Bytes,
) -> Option<Fit> {
    let fitter = Fitter { model, layer, npu, spilled };
    let whole: Vec<u64> = layer.dims.iter().map(|dim| dim.size).collect();
    let mut best: Option<((Cycles, Bytes), Fit)> = None;
    let mut offer = |chunks: &Vec<u64>, outer| {
        let traffic = fitter.traffic(chunks, outer);
        let transfers = cost::transfer_cycles(npu, traffic);
        if best.as_ref().is_some_and(|((busy, _), _)| *busy < transfers) {
            return;
        }
        let compute = measured.unwrap_or_else(|| tiles_cycles(model, layer, npu, chunks));
        let key = (compute.max(transfers), traffic);
        if best.as_ref().is_none_or(|(least, _)| key < *least) {
            let load = load_bytes(model, layer, &NdBox::whole(chunks.iter().copied()), |tensor| fitter.stays(tensor));
            best = Some((
                key,
                Fit { tiling: Tiling { chunks: chunks.clone(), outer, load, compute }, traffic, transfers },
            ));
        }
    };
    for of_group in choices(layer, npu, Role::Group, &whole) {
        for of_n in choices(layer, npu, Role::N, &of_group) {
            for of_k in choices(layer, npu, Role::K, &of_n) {
                let of_m = choices(layer, npu, Role::M, &of_k);
                let has_room = |chunks: &Vec<u64>| fitter.needs(chunks) <= room && fitter.accumulates(chunks);
                let coarsest = of_m.partition_point(|chunks| !has_room(chunks));
                let writes = |chunks: &&Vec<u64>| writes_boxes(layer, chunks);
                if let Some(chunks) = of_m[coarsest..].iter().find(writes) {
                    [Outer::N, Outer::M].into_iter().for_each(|outer| offer(chunks, outer));
                }
            }
        }
    }
    best.map(|(_, fit)| fit)
}

/// The smallest tile of a layer, and what it holds.
#[derive(Clone, Debug)]
pub struct Least {
    /// The tile.
    pub tile: NdBox,
    /// The boxes that are in the scratchpad while it runs, with the bits of their elements.
    pub boxes: Vec<(TensorId, NdBox, u64)>,
    /// All of them, each rounded up to the alignment.
    pub bytes: Bytes,
}

/// The tile of a layer that needs the least of the scratchpad when nothing is kept there: one fold, most often. With less
/// no layout has room for the layer.
pub fn least(model: &Model, layer: &Layer, npu: &Npu) -> Option<Least> {
    let spilled = model.tensors.iter().map(|_| true).collect();
    let fitter = Fitter { model, layer, npu, spilled: &spilled };
    let mut best: Option<(Bytes, Vec<u64>)> = None;
    let whole: Vec<u64> = layer.dims.iter().map(|dim| dim.size).collect();
    for of_group in choices(layer, npu, Role::Group, &whole) {
        for of_n in choices(layer, npu, Role::N, &of_group) {
            for of_k in choices(layer, npu, Role::K, &of_n) {
                let of_m = choices(layer, npu, Role::M, &of_k);
                let is_sound = |chunks: &&Vec<u64>| writes_boxes(layer, chunks) && fitter.accumulates(chunks);
                // The finest along m never needs more.
                let finest = of_m.iter().rev().find(is_sound);
                let finest = finest.map(|chunks| (fitter.needs(chunks), chunks.clone()));
                best = best.into_iter().chain(finest).min_by_key(|(needs, _)| *needs);
            }
        }
    }
    let (bytes, chunks) = best?;
    Some(Least { tile: fitter.inner_tile(&chunks), boxes: fitter.boxes(&chunks), bytes })
}

/// More traffic than any layer has that `analysis` admits; so sums of it stay in `u64`.
const MOST: u64 = 1 << 56;

struct Fitter<'a> {
    model: &'a Model,
    layer: &'a Layer,
    npu: &'a Npu,
    spilled: &'a IdVec<TensorId, bool>,
}

impl Fitter<'_> {
    fn accumulates(&self, chunks: &[u64]) -> bool {
        is_accumulated(self.model, self.layer, self.npu, chunks)
    }

    fn stays(&self, tensor: TensorId) -> bool {
        self.model.tensors[tensor].kind != TensorKind::Weight && !self.spilled[tensor]
    }

    fn aligned(&self, bytes: Bytes) -> Bytes {
        Bytes(bytes.get().next_multiple_of(self.npu.sram.alignment_bytes.get()))
    }

    fn loaded(&self) -> impl Iterator<Item = &Operand> {
        loaded(self.layer, |tensor| self.stays(tensor))
    }

    /// What a tile of these sizes holds in the scratchpad of its own. The tile's place makes no difference but at the
    /// edges, where padding makes it smaller; so it is taken in the middle, if there is one.
    fn needs(&self, chunks: &[u64]) -> Bytes {
        let tile = self.inner_tile(chunks);
        let loads = self.loaded().map(|read| self.aligned(self.model.bytes_touched(read, &tile))).sum::<Bytes>();
        let Some(write) = &self.layer.write else { return loads };
        let bits = self.model.tensors[write.tensor].element_bits;
        let elements = write.touched(&tile, &self.model.tensors[write.tensor].shape).map_or(0, |part| part.volume());
        let sums =
            if self.is_cut_along_k(chunks) && bits < 32 { Bytes::of_elements(elements, 32) } else { Bytes::ZERO };
        let output = if self.spilled[write.tensor] { Bytes::of_elements(elements, bits) } else { Bytes::ZERO };
        loads + self.aligned(sums) + self.aligned(output)
    }

    /// The boxes that [`Fitter::needs`] counts.
    fn boxes(&self, chunks: &[u64]) -> Vec<(TensorId, NdBox, u64)> {
        let tile = self.inner_tile(chunks);
        let boxed = |operand: &Operand, bits| {
            let part = operand.touched(&tile, &self.model.tensors[operand.tensor].shape)?;
            Some((operand.tensor, part, bits))
        };
        let width = |operand: &Operand| self.model.tensors[operand.tensor].element_bits;
        let mut boxes: Vec<_> = self.loaded().filter_map(|read| boxed(read, width(read))).collect();
        if let Some(write) = &self.layer.write {
            let is_sum = self.is_cut_along_k(chunks) && width(write) < 32;
            boxes.extend(Some(32).filter(|_| is_sum).and_then(|bits| boxed(write, bits)));
            boxes.extend(Some(width(write)).filter(|_| self.spilled[write.tensor]).and_then(|bits| boxed(write, bits)));
        }
        boxes
    }

    fn is_cut_along_k(&self, chunks: &[u64]) -> bool {
        self.layer.dims.iter().zip(chunks).any(|(dim, &chunk)| dim.role == Role::K && chunk < dim.size)
    }

    fn inner_tile(&self, chunks: &[u64]) -> NdBox {
        let span = |(dim, &chunk): (&crate::ir::Dim, &u64)| {
            let begin = if 2 * chunk <= dim.size { chunk } else { 0 };
            (begin, (begin + chunk).min(dim.size)).into()
        };
        NdBox(self.layer.dims.iter().zip(chunks).map(span).collect())
    }

    /// What all tiles load.
    fn traffic(&self, chunks: &[u64], outer: Outer) -> Bytes {
        let loops = loops(self.layer, chunks, outer);
        self.loaded().map(|read| self.loads(read, chunks, &loops)).sum()
    }

    /// What all tiles load of an operand, which stays for as long as only loops run that do not move it.
    fn loads(&self, read: &Operand, chunks: &[u64], loops: &[usize]) -> Bytes {
        let tensor = &self.model.tensors[read.tensor];
        let Some(access) = &read.access else { return tensor.bytes_of(&tensor.whole()) };
        let moves = |&d: &usize| access.0.iter().any(|index| index.is_moved_by(DimId::from(d)));
        let until = loops.iter().rposition(moves).map_or(0, |last| last + 1);
        let count = |d: usize| u128::from(self.layer.dims[d].size.div_ceil(chunks[d]));
        let times = |all: &[usize]| all.iter().map(|&d| count(d)).product::<u128>();
        let (moving, still): (Vec<usize>, Vec<usize>) = loops[..until].iter().partition(|d| moves(d));
        let elements = if has_own_dims(access) {
            let along = |(index, &size): (&Affine, &u64)| self.lengths(index, size, chunks, &moving);
            access.0.iter().zip(&tensor.shape).map(along).product::<u128>() * times(&still)
        } else {
            let inner = read.touched(&self.inner_tile(chunks), &tensor.shape).map_or(0, |part| part.volume());
            u128::from(inner) * times(&loops[..until])
        };
        let bytes = elements.saturating_mul(u128::from(tensor.element_bits)).div_ceil(8);
        Bytes(u64::try_from(bytes).map_or(MOST, |bytes| bytes.min(MOST)))
    }

    /// What tiles need along one dimension of a tensor, summed over those that differ in it: halos as often as they are
    /// loaded, padding never. At an edge it can be within what the tile before had.
    fn lengths(&self, index: &Affine, size: u64, chunks: &[u64], moving: &[usize]) -> u128 {
        let own: Vec<usize> = moving.iter().copied().filter(|&d| index.is_moved_by(DimId::from(d))).collect();
        if let ([], _) | (_, [(_, 1 | -1)]) = (own.as_slice(), index.terms.as_slice()) {
            // No halo: the parts sum to the whole.
            return index.touched(&self.layer.whole(), size).map_or(0, |range| u128::from(range.size()));
        }
        let is_in_a_row = own.len() == 1 && own.last() == moving.last();
        let mut held = Span { begin: 0, end: 0 };
        let mut length = |tile: &NdBox| {
            let Some(range) = index.touched(tile, size) else { return 0 };
            if is_in_a_row && held.meet(range) == Some(range) {
                return 0;
            }
            held = range;
            u128::from(range.size())
        };
        boxes(self.layer, chunks, &own).iter().map(&mut length).sum()
    }
}
