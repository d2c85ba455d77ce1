//! Candidate tilings: how a layer may be cut into boxes, in whole folds.
//!
//! One rule for all layers. From one tile on, the cut is halved that leaves the least to load for a tile; where two
//! leave the same, the one whose tiles take fewer cycles together; then n before groups before m before k, which
//! makes partial sums. Each halving is a candidate. What the compute array lays on rows or columns is cut in whole
//! folds. The first candidate is one tile, or the coarsest whose sums have room in the accumulators; so have those of
//! all others. A reduced dimension of a vector layer is never cut, nor is a layer whose write access is `null`.

use crate::cost;
use crate::ir::{Layer, Model, NdBox, Op, Operand, Role, Span, TensorId, TensorKind};
use crate::npu::{Dataflow, Npu};
use crate::units::{Bytes, Cycles};

/// Loads are not made shorter than this: a transfer's latency would no longer hide behind it.
const LEAST_LOAD: Bytes = Bytes(64 << 10);

/// A grid of boxes over a layer's iterations: the size of a box in each dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tiling {
    pub(super) chunks: Vec<u64>,
    /// Which loop runs outside of the other.
    pub(super) outer: Outer,
    /// What a tile loads, at most, if nothing stays from the one before.
    pub load: Bytes,
    /// What all tiles take together.
    pub compute: Cycles,
}

/// Which of the loops over n and over m runs outside: what the inner one does not move stays in the scratchpad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outer {
    /// Weights stay.
    N,
    /// Inputs stay.
    M,
}

impl Outer {
    /// How far inside the loop over a dimension of this role runs.
    pub(super) const fn depth(self, role: Role) -> u8 {
        match (role, self) {
            (Role::Group, _) => 0,
            (Role::N, Self::N) | (Role::M, Self::M) => 1,
            (Role::M, Self::N) | (Role::N, Self::M) => 2,
            (Role::K, _) => 3,
        }
    }
}

impl Tiling {
    /// The tiles, in the order in which they run: groups outermost, k innermost.
    pub fn tiles(&self, layer: &Layer) -> Vec<NdBox> {
        boxes(layer, &self.chunks, &self.loops(layer))
    }

    /// The dimensions that are cut, from the outermost loop on.
    pub fn loops(&self, layer: &Layer) -> Vec<usize> {
        loops(layer, &self.chunks, self.outer)
    }

    /// The same, cut along m until no tile computes for longer than `most`, or there is no finer cut.
    #[must_use]
    pub fn shortened(self, model: &Model, layer: &Layer, npu: &Npu, measured: Option<Cycles>, most: Cycles) -> Self {
        let tile = |tiling: &Self| {
            let first = NdBox::whole(tiling.chunks.iter().copied());
            match measured {
                None => cost::compute_cycles(npu, model, layer, &first, false),
                Some(all) => cost::measured_shares(all, &[first.volume(), layer.whole().volume() - first.volume()])[0],
            }
        };
        let cuts = cuts_of_role(layer, npu, Role::M);
        let mut now = self;
        while tile(&now) > most {
            let mut finer = cuts.iter().filter_map(|cut| cut.halve(&now.chunks));
            let Some(chunks) = finer.find(|chunks| writes_boxes(layer, chunks)) else { break };
            now = Self { outer: now.outer, ..Self::new(model, layer, npu, measured, chunks) };
        }
        now
    }

    fn new(model: &Model, layer: &Layer, npu: &Npu, measured: Option<Cycles>, chunks: Vec<u64>) -> Self {
        let first = NdBox::whole(chunks.iter().copied());
        let load = load_bytes(model, layer, &first, |tensor| model.tensors[tensor].kind != TensorKind::Weight);
        let compute = measured.unwrap_or_else(|| tiles_cycles(model, layer, npu, &chunks));
        Self { chunks, outer: Outer::N, load, compute }
    }
}

/// The dimensions that are cut into chunks, from the outermost loop on.
pub(super) fn loops(layer: &Layer, chunks: &[u64], outer: Outer) -> Vec<usize> {
    let mut loops: Vec<usize> = (0..chunks.len()).filter(|&d| chunks[d] < layer.dims[d].size).collect();
    loops.sort_by_key(|&d| outer.depth(layer.dims[d].role));
    loops
}

/// The boxes of a grid that is cut along these dimensions alone, in the order of these loops.
pub(super) fn boxes(layer: &Layer, chunks: &[u64], loops: &[usize]) -> Vec<NdBox> {
    let mut boxes = vec![layer.whole()];
    for &d in loops {
        let (chunk, size) = (chunks[d], layer.dims[d].size);
        let cut = |whole: NdBox| {
            (0..size.div_ceil(chunk)).map(move |i| {
                let mut part = whole.clone();
                part.0[d] = Span { begin: i * chunk, end: ((i + 1) * chunk).min(size) };
                part
            })
        };
        boxes = boxes.into_iter().flat_map(cut).collect();
    }
    boxes
}

/// The candidates of a layer, from the coarsest on: one tile, if the accumulators hold its sums. Where they do not even
/// hold those of the smallest tile, what it needs.
pub(super) fn candidates(
    model: &Model,
    layer: &Layer,
    npu: &Npu,
    measured: Option<Cycles>,
) -> Result<Vec<Tiling>, Bytes> {
    let coarsest = coarsest_accumulated(model, layer, npu)?;
    let mut found = vec![Tiling::new(model, layer, npu, measured, coarsest)];
    let cuts = cuts(layer, npu);
    loop {
        let now = &found[found.len() - 1];
        if now.load <= LEAST_LOAD {
            return Ok(found);
        }
        let halved = cuts.iter().filter_map(|cut| {
            let chunks = cut.halve(&now.chunks)?;
            let is_sound = writes_boxes(layer, &chunks) && is_accumulated(model, layer, npu, &chunks);
            let fits = is_sound.then(|| Tiling::new(model, layer, npu, measured, chunks))?;
            (fits.load < now.load).then_some(fits)
        });
        match halved.min_by_key(|tiling| (tiling.load, tiling.compute)) {
            Some(next) => found.push(next),
            None => return Ok(found),
        }
    }
}

/// Where groups can be packed: the tiles along k that together take the fewest cycles, if fewer than one tile. Of less k
/// more groups go to a fold; but what all tiles but the last write are sums of 32 bits, which take room.
pub(super) fn packed(model: &Model, layer: &Layer, npu: &Npu, measured: Option<Cycles>) -> Option<Tiling> {
    if measured.is_some() {
        return None;
    }
    let mut chunks: Vec<u64> = layer.dims.iter().map(|dim| dim.size).collect();
    let whole = Tiling::new(model, layer, npu, measured, chunks.clone());
    let mut cut = Vec::new();
    for along in cuts_of_packed(layer, npu) {
        while let Some(halved) = along.halve(&chunks) {
            chunks = halved;
            if is_accumulated(model, layer, npu, &chunks) {
                cut.push(Tiling::new(model, layer, npu, measured, chunks.clone()));
            }
        }
    }
    cut.into_iter().min_by_key(|tiling| tiling.compute).filter(|tiling| tiling.compute < whole.compute)
}

/// The coarsest tile whose sums have room. n is cut before m, of which a smaller part hides the fills less.
fn coarsest_accumulated(model: &Model, layer: &Layer, npu: &Npu) -> Result<Vec<u64>, Bytes> {
    let whole: Vec<u64> = layer.dims.iter().map(|dim| dim.size).collect();
    let of_m = choices(layer, npu, Role::M, &whole).into_iter();
    let all =
        of_m.flat_map(|chunks| choices(layer, npu, Role::N, &chunks)).filter(|chunks| writes_boxes(layer, chunks));
    let mut least = Bytes(u64::MAX);
    for chunks in all {
        if is_accumulated(model, layer, npu, &chunks) {
            return Ok(chunks);
        }
        least = least.min(accumulated(model, layer, npu, &chunks));
    }
    Err(least)
}

/// Whether the accumulators hold the sums of each tile of these sizes.
pub(super) fn is_accumulated(model: &Model, layer: &Layer, npu: &Npu, chunks: &[u64]) -> bool {
    npu.matrix.accumulator_bytes.is_none_or(|bytes| accumulated(model, layer, npu, chunks) <= bytes)
}

fn accumulated(model: &Model, layer: &Layer, npu: &Npu, chunks: &[u64]) -> Bytes {
    cost::accumulated_bytes(npu, model, layer, &NdBox::whole(chunks.iter().copied()))
}

/// A dimension that may be cut, into multiples of a quantum.
pub(super) struct Cut {
    pub(super) dim: usize,
    pub(super) quantum: u64,
}

impl Cut {
    fn halve(&self, chunks: &[u64]) -> Option<Vec<u64>> {
        let half = chunks[self.dim].div_ceil(2).next_multiple_of(self.quantum);
        (half < chunks[self.dim]).then(|| {
            let mut chunks = chunks.to_vec();
            chunks[self.dim] = half;
            chunks
        })
    }
}

impl Cut {
    /// The next smaller chunk that some number of equal parts has, in whole folds; where they are many, one that is a
    /// fifth smaller.
    fn divide(&self, size: u64, chunks: &[u64]) -> Option<Vec<u64>> {
        let now = chunks[self.dim];
        let smaller = (now - 1) / self.quantum * self.quantum;
        let most = smaller.min((now * 4).div_ceil(5).next_multiple_of(self.quantum));
        if most == 0 {
            return None;
        }
        let parts = size.div_ceil(most);
        let mut chunks = chunks.to_vec();
        chunks[self.dim] = size.div_ceil(parts).next_multiple_of(self.quantum);
        Some(chunks)
    }
}

/// The cuts of a layer, in the order in which ties are broken: of each role its outermost dimension.
fn cuts(layer: &Layer, npu: &Npu) -> Vec<Cut> {
    let outermost = |role| cuts_of_role(layer, npu, role).into_iter().next();
    [Role::N, Role::Group, Role::M, Role::K].into_iter().filter_map(outermost).collect()
}

/// How the dimensions of a role may be cut, the outermost first: each so that with all inner ones whole it fills folds.
pub(super) fn cuts_of_role(layer: &Layer, npu: &Npu, role: Role) -> Vec<Cut> {
    let is_whole = layer.write.as_ref().is_some_and(|write| write.access.is_none());
    if is_whole || (role == Role::K && layer.op != Op::Gemm) {
        return Vec::new();
    }
    let extent = if layer.op == Op::Gemm { array_extent(npu, role) } else { 1 };
    let of_role = || layer.dims.iter().enumerate().filter(move |(_, dim)| dim.role == role && dim.size > 1);
    let inner = |outer: usize| of_role().filter(move |(d, _)| *d > outer).map(|(_, dim)| dim.size).product();
    of_role().map(|(dim, _)| Cut { dim, quantum: extent / gcd(extent, inner(dim)) }).collect()
}

/// Where several groups can go to a fold, the dimensions of k, the innermost first, which may be cut anywhere.
pub(super) fn cuts_of_packed(layer: &Layer, npu: &Npu) -> Vec<Cut> {
    let has_groups = layer.dims.iter().any(|dim| dim.role == Role::Group && dim.size > 1);
    if !has_groups || layer.op != Op::Gemm || npu.matrix.dataflow() != Dataflow::WeightStationary {
        return Vec::new();
    }
    let of_k = layer.dims.iter().enumerate().rev().filter(|(_, dim)| dim.role == Role::K && dim.size > 1);
    of_k.map(|(dim, _)| Cut { dim, quantum: 1 }).collect()
}

/// The chunks with the dimensions of a role as they are, then cut into more and more parts: the outermost first, down to
/// one fold; and the k of packed groups also the innermost first.
pub(super) fn choices(layer: &Layer, npu: &Npu, role: Role, chunks: &[u64]) -> Vec<Vec<u64>> {
    let packed = if role == Role::K { cuts_of_packed(layer, npu) } else { Vec::new() };
    let mut all = vec![chunks.to_vec()];
    for cuts in [cuts_of_role(layer, npu, role), packed] {
        let mut now = chunks.to_vec();
        for cut in cuts {
            while let Some(finer) = cut.divide(layer.dims[cut.dim].size, &now) {
                all.push(finer.clone());
                now = finer;
            }
        }
    }
    all
}

/// How many indices of a role's dimensions one fold takes.
fn array_extent(npu: &Npu, role: Role) -> u64 {
    let (rows, columns) = (npu.matrix.rows, npu.matrix.columns);
    match (npu.matrix.dataflow(), role) {
        (_, Role::Group) => 1,
        (Dataflow::WeightStationary | Dataflow::InputStationary, Role::K) | (Dataflow::OutputStationary, Role::M) => {
            rows
        }
        (Dataflow::WeightStationary | Dataflow::OutputStationary, Role::N) | (Dataflow::InputStationary, Role::M) => {
            columns
        }
        (Dataflow::WeightStationary, Role::M)
        | (Dataflow::OutputStationary, Role::K)
        | (Dataflow::InputStationary, Role::N) => 1,
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Whether each tile of these sizes writes a box without gaps; the last tile is the smallest.
pub(super) fn writes_boxes(layer: &Layer, chunks: &[u64]) -> bool {
    let Some(access) = layer.write.as_ref().and_then(|write| write.access.as_ref()) else { return true };
    let smallest = layer.dims.iter().zip(chunks).map(|(dim, chunk)| (dim.size - 1) % chunk + 1);
    access.is_gapless(&NdBox::whole(chunks.iter().copied())) && access.is_gapless(&NdBox::whole(smallest))
}

/// What a tile loads if nothing stays from the one before: its boxes of the tensors that do not stay on chip. A box that
/// two operands need is loaded once.
pub(super) fn load_bytes(model: &Model, layer: &Layer, tile: &NdBox, stays: impl Fn(TensorId) -> bool) -> Bytes {
    loaded(layer, stays).map(|read| model.bytes_touched(read, tile)).sum()
}

/// The operands that a layer's tiles load, each once.
pub(super) fn loaded(layer: &Layer, stays: impl Fn(TensorId) -> bool) -> impl Iterator<Item = &Operand> {
    let is_new = |(at, read): &(usize, &Operand)| !layer.reads[..*at].contains(read);
    let reads = layer.reads.iter().enumerate().filter(is_new).map(|(_, read)| read);
    reads.filter(move |read| !stays(read.tensor))
}

/// The sum of the tiles' commands, counted by size: in a grid a dimension has at most two.
pub(super) fn tiles_cycles(model: &Model, layer: &Layer, npu: &Npu, chunks: &[u64]) -> Cycles {
    let mut kinds: Vec<(Vec<u64>, u64)> = vec![(Vec::new(), 1)];
    for (dim, &chunk) in layer.dims.iter().zip(chunks) {
        let full = (dim.size / chunk, chunk);
        let rest = (u64::from(dim.size % chunk > 0), dim.size % chunk);
        let with = |(sizes, count): &(Vec<u64>, u64)| {
            let (sizes, count) = (sizes.clone(), *count);
            [full, rest]
                .into_iter()
                .filter(|(times, _)| *times > 0)
                .map(move |(times, size)| ([sizes.as_slice(), &[size]].concat(), count * times))
        };
        kinds = kinds.iter().flat_map(with).collect();
    }
    let cost =
        |sizes: &[u64], last| cost::compute_cycles(npu, model, layer, &NdBox::whole(sizes.iter().copied()), last);
    let all: Cycles = kinds.iter().map(|(sizes, count)| cost(sizes, false) * *count).sum();
    // The last tile, the smallest, drains as well.
    let (smallest, _) = &kinds[kinds.len() - 1];
    all + (cost(smallest, true) - cost(smallest, false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Access, Affine, Dim, DimId, IdVec, Operand, Tensor, TensorId};
    use crate::npu::named;

    /// A product of 8-bit inputs, weights and outputs.
    fn product(m: u64, n: u64, k: u64) -> Model {
        let dim = |(name, size, role): (&str, u64, Role)| Dim { name: name.into(), size, role };
        let operand = |tensor, dims: [u32; 2]| {
            let access = Access(dims.iter().map(|&dim| Affine::dim(DimId(dim))).collect());
            Operand { tensor: TensorId(tensor), access: Some(access) }
        };
        let layer = Layer {
            name: "product".into(),
            kind: "Gemm".into(),
            nodes: Vec::new(),
            op: Op::Gemm,
            dims: [("m", m, Role::M), ("n", n, Role::N), ("k", k, Role::K)].map(dim).into(),
            lane_operations: 0,
            reads: vec![operand(0, [0, 2]), operand(1, [2, 1])],
            write: Some(operand(2, [0, 1])),
        };
        let tensors = [([m, k], TensorKind::Input), ([k, n], TensorKind::Weight), ([m, n], TensorKind::Output)];
        let tensor =
            |(shape, kind): ([u64; 2], _)| Tensor { name: "t".into(), shape: shape.into(), element_bits: 8, kind };
        Model {
            name: "product".into(),
            fingerprint: String::new(),
            tensors: tensors.map(tensor).into_iter().collect(),
            layers: IdVec::from_iter([layer]),
        }
    }

    /// The coarsest tile on NVDLA, 64 × 32 and weight-stationary, with so many bytes of accumulators.
    fn coarsest(model: &Model, bytes: u64) -> Result<Vec<u64>, Bytes> {
        let mut nvdla = named("nvdla-full").unwrap();
        nvdla.matrix.accumulator_bytes = Some(Bytes(bytes));
        let layer = model.layers.iter().next().unwrap();
        Ok(candidates(model, layer, &nvdla, None)?.into_iter().next().unwrap().chunks)
    }

    /// docs/cost-model.md, "Accumulators": 784 · 128 · 4 = 401,408 bytes, by k 576 in 9 folds. n is halved to one fold,
    /// then m; of 64 and fewer k nothing is summed up.
    #[test]
    fn a_product_is_cut_until_its_sums_have_room() {
        let folded = product(784, 128, 576);
        assert_eq!(coarsest(&folded, 401_408), Ok(vec![784, 128, 576]));
        assert_eq!(coarsest(&folded, 401_407), Ok(vec![784, 64, 576]));
        assert_eq!(coarsest(&folded, 784 * 32 * 4), Ok(vec![784, 32, 576]));
        assert_eq!(coarsest(&folded, 64 << 10), Ok(vec![392, 32, 576]), "50,176 bytes");
        assert_eq!(coarsest(&folded, 32 * 4), Ok(vec![1, 32, 576]));
        assert_eq!(coarsest(&folded, 32 * 4 - 1), Err(Bytes(32 * 4)));
        assert_eq!(coarsest(&product(784, 128, 64), 1), Ok(vec![784, 128, 64]));
    }

    /// 1 MiB of weights: candidates go on down to 64 KiB, and none whose k is cut or folds needs more than there is.
    #[test]
    fn every_candidate_has_room_for_its_sums() {
        let model = product(40, 1024, 1024);
        let layer = model.layers.iter().next().unwrap();
        let mut nvdla = named("nvdla-full").unwrap();
        nvdla.matrix.accumulator_bytes = Some(Bytes(20 << 10));
        let found = candidates(&model, layer, &nvdla, None).unwrap();
        assert!(found.len() > 1);
        for tiling in found {
            assert!(tiling.chunks[0] * tiling.chunks[1] * 4 <= 20 << 10, "{:?}", tiling.chunks);
        }
    }
}
