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
        let is_cut_along_k = (self.layer.dims.iter().zip(chunks)).any(|(dim, &c)| dim.role == Role::K && c < dim.size);
        let sums = if is_cut_along_k && bits < 32 { Bytes::of_elements(elements, 32) } else { Bytes::ZERO };
        let output = if self.spilled[write.tensor] { Bytes::of_elements(elements, bits) } else { Bytes::ZERO };
        loads + self.aligned(sums) + self.aligned(output)
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
