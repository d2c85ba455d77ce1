//! The tiling of a layer for a scratchpad that is too small: the best for the room that there is.

use super::tiling::{Outer, Tiling, cuts_of_role, load_bytes, loaded, loops, tiles_cycles, writes_boxes};
use crate::cost;
use crate::ir::{IdVec, Layer, Model, NdBox, Operand, Role, TensorId, TensorKind};
use crate::npu::Npu;
use crate::units::{Bytes, Cycles};

/// A tiling, and what its loads take.
#[derive(Clone, Debug)]
pub struct Fit {
    /// The tiling.
    pub tiling: Tiling,
    /// All that its tiles load of weights and spilled tensors, in one transfer.
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
        let compute = measured.unwrap_or_else(|| tiles_cycles(layer, npu, chunks));
        let key = (compute.max(transfers), traffic);
        if best.as_ref().is_none_or(|(least, _)| key < *least) {
            let load = load_bytes(model, layer, &NdBox::whole(chunks.iter().copied()), |tensor| fitter.stays(tensor));
            best = Some((key, Fit { tiling: Tiling { chunks: chunks.clone(), outer, load, compute }, transfers }));
        }
    };
    for of_group in fitter.halvings(Role::Group, &whole) {
        for of_n in fitter.halvings(Role::N, &of_group) {
            for of_k in fitter.halvings(Role::K, &of_n) {
                let of_m = fitter.halvings(Role::M, &of_k);
                let coarsest = of_m.iter().find(|chunks| fitter.needs(chunks) <= room);
                if let Some(chunks) = coarsest.filter(|chunks| writes_boxes(layer, chunks)) {
                    [Outer::N, Outer::M].into_iter().for_each(|outer| offer(chunks, outer));
                }
            }
        }
    }
    best.map(|(_, fit)| fit)
}

struct Fitter<'a> {
    model: &'a Model,
    layer: &'a Layer,
    npu: &'a Npu,
    spilled: &'a IdVec<TensorId, bool>,
}

impl Fitter<'_> {
    /// The chunks with the dimensions of a role as they are, then halved step by step: the outermost first, down to
    /// one fold.
    fn halvings(&self, role: Role, chunks: &[u64]) -> Vec<Vec<u64>> {
        let mut all = vec![chunks.to_vec()];
        for cut in cuts_of_role(self.layer, self.npu, role) {
            while let Some(halved) = cut.halve(&all[all.len() - 1]) {
                all.push(halved);
            }
        }
        all
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

    /// What all tiles load. An operand stays for as long as only loops run that do not move it.
    fn traffic(&self, chunks: &[u64], outer: Outer) -> Bytes {
        let tile = self.inner_tile(chunks);
        let loops = loops(self.layer, chunks, outer);
        let of_read = |read: &Operand| {
            let moves = |d: usize| {
                read.access.as_ref().is_some_and(|access| {
                    access
                        .0
                        .iter()
                        .any(|index| index.terms.iter().any(|&(dim, stride)| dim.index() == d && stride != 0))
                })
            };
            let until = loops.iter().rposition(|&d| moves(d)).map_or(0, |last| last + 1);
            let times: u64 = loops[..until].iter().map(|&d| self.layer.dims[d].size.div_ceil(chunks[d])).product();
            self.model.bytes_touched(read, &tile) * times
        };
        self.loaded().map(of_read).sum()
    }
}
