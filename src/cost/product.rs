//! The cost of a matrix product, by folds.
//!
//! A fold is one filling of an array: the dataflow lays two of the product's dimensions on rows and columns and
//! streams the third. Formulas: DESIGN.md, "What a matrix product costs"; with one array, F = R and no double
//! buffering they are SCALE-Sim's (Samajdar et al., ISPASS 2020).

use super::saturate;
use crate::ir::{Layer, Model, NdBox, Op, Role};
use crate::npu::{Dataflow, MatrixKind, Npu};
use crate::units::{Bytes, Cycles};

/// The sizes of `groups` products `[m, k] × [k, n]`, and the width of what is multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Product {
    /// Rows of the first operand.
    pub m: u64,
    /// Columns of the second operand.
    pub n: u64,
    /// What is summed over.
    pub k: u64,
    /// Separate products.
    pub groups: u64,
    /// Width of an element of the wider operand.
    pub bits: u64,
}

impl Product {
    /// The product that a box of a layer's iterations is: each size the product of its role's dimensions.
    pub fn of(model: &Model, layer: &Layer, part: &NdBox) -> Self {
        let mut product = Self { m: 1, n: 1, k: 1, groups: 1, bits: operand_bits(model, layer) };
        for (dim, span) in layer.dims.iter().zip(&part.0) {
            *product.size_mut(dim.role) *= span.size();
        }
        product
    }

    fn size_mut(&mut self, role: Role) -> &mut u64 {
        match role {
            Role::M => &mut self.m,
            Role::N => &mut self.n,
            Role::K => &mut self.k,
            Role::Group => &mut self.groups,
        }
    }
}

/// Width of an element of a product's wider operand. The operands are the first two that the layer reads; a bias, a
/// residual and what else joined them come behind.
pub fn operand_bits(model: &Model, layer: &Layer) -> u64 {
    layer.reads.iter().take(2).map(|read| model.tensors[read.tensor].element_bits).max().unwrap_or(0)
}

/// Width of a sum in an accumulator, in bytes.
const SUM_BYTES: u64 = 4;

/// The bytes of accumulators that a box of a layer needs.
///
/// Formula: `m · n · 4` of a product whose k is cut by the box, or folds because k > R: each result is added to when its
/// other pieces come. Groups follow one another. Output-stationary, k streams whole and the sums stay in the cells.
pub fn accumulated_bytes(npu: &Npu, model: &Model, layer: &Layer, part: &NdBox) -> Bytes {
    let product = Product::of(model, layer, part);
    let is_cut = product.k < Product::of(model, layer, &layer.whole()).k;
    let stays_in_cells = npu.matrix.dataflow() == Dataflow::OutputStationary;
    match layer.op {
        Op::Gemm if !stays_in_cells && (is_cut || product.k > npu.matrix.rows) => {
            Bytes(product.m * product.n * SUM_BYTES)
        }
        Op::Gemm | Op::Vector | Op::Measured => Bytes::ZERO,
    }
}

/// What an NPU's arrays are asked to do for a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Fillings of an array.
    pub folds: u64,
    /// Groups that share a filling; 1 where none are packed.
    pub packed: u64,
    /// Cycles in which the stream enters each filling.
    pub length: u64,
    /// Whether arrays may share the streamed dimension: not where it is reduced in place.
    pub divisible: bool,
}

impl Stream {
    /// Folds and stream of a product under the NPU's dataflow.
    ///
    /// Formula: `folds = groups · ⌈rows / R⌉ · ⌈columns / C⌉`. Weight-stationary groups with k ≤ R and n ≤ C are
    /// packed block-diagonally, `p = min(groups, ⌊R / k⌋, ⌊C / n⌋)` to a fold. A stream of s takes ⌈s / r⌉ cycles, with
    /// r products of a cell each cycle.
    pub fn of(npu: &Npu, product: Product) -> Self {
        let Product { m, n, k, groups, bits } = product;
        let (array_rows, array_columns) = (npu.matrix.rows, npu.matrix.columns);
        let dataflow = npu.matrix.dataflow();
        let (length, rows, columns) = match dataflow {
            Dataflow::WeightStationary => (m, k, n),
            Dataflow::OutputStationary => (k, m, n),
            Dataflow::InputStationary => (n, k, m),
        };
        let is_packed = dataflow == Dataflow::WeightStationary && k <= array_rows && n <= array_columns;
        let packed = if is_packed { groups.min(array_rows / k).min(array_columns / n) } else { 1 };
        let folds = groups.div_ceil(packed) * rows.div_ceil(array_rows) * columns.div_ceil(array_columns);
        // A product of a width that the NPU does not know is refused by `analysis`.
        let rate = npu.matrix.rate(bits).unwrap_or(1);
        Self { folds, packed, length: length.div_ceil(rate), divisible: dataflow != Dataflow::OutputStationary }
    }
}

/// What one command that computes a product takes, and how the arrays share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProductCost {
    /// What they are asked to do together.
    pub stream: Stream,
    /// The arrays that share the folds: a.
    pub sharing_folds: u64,
    /// The arrays, beside each of these, that share the stream: b.
    pub sharing_stream: u64,
    /// The command's cycles.
    pub cycles: Cycles,
}

/// Cycles of one command that computes `product`; `last` adds the drain of a double-buffered array.
pub fn product_cycles(npu: &Npu, product: Product, last: bool) -> Cycles {
    product_cost(npu, product, last).cycles
}

/// The cost of one command that computes `product`; `last` adds the drain of a double-buffered array.
///
/// Formula, for a of the arrays that share the folds (f = ⌈folds / a⌉ each) and b that share the stream
/// (t = ⌈⌈s / r⌉ / b⌉ each), a · b ≤ arrays, with a fill of F = ⌈R / fill_rows_per_cycle⌉ and a drain of D = R + C − 2:
/// - double-buffered weights: `F + (f − 1) · max(t, F) + t`, and `D` if `last`;
/// - otherwise: `f · (F + t + D)`;
/// - adder tree: `f · t`.
///
/// The cheapest division is taken; `command_cycles` are added.
pub fn product_cost(npu: &Npu, product: Product, last: bool) -> ProductCost {
    let stream = Stream::of(npu, product);
    let arrays = npu.matrix.arrays;
    let mut best = (u128::MAX, 1, 1);
    let mut a = 1;
    while a <= arrays {
        let b = if stream.divisible { arrays / a } else { 1 };
        // The most arrays that can share the folds beside the b that share the stream.
        a = arrays / b;
        let cycles = divided_cycles(npu, stream.folds.div_ceil(a), stream.length.div_ceil(b), last);
        if cycles < best.0 {
            best = (cycles, a, b);
        }
        a += 1;
    }
    let (cycles, sharing_folds, sharing_stream) = best;
    ProductCost { stream, sharing_folds, sharing_stream, cycles: saturate(cycles + u128::from(npu.command_cycles)) }
}

/// Cycles of one array that takes `folds` folds with `length` streamed through each.
fn divided_cycles(npu: &Npu, folds: u64, length: u64, last: bool) -> u128 {
    let (folds, length) = (u128::from(folds), u128::from(length));
    let drain = u128::from(npu.matrix.rows + npu.matrix.columns - 2);
    match npu.matrix.kind {
        MatrixKind::AdderTree => folds * length,
        MatrixKind::Systolic { dataflow: _, double_buffered_weights, fill_rows_per_cycle } => {
            let fill = u128::from(npu.matrix.rows.div_ceil(fill_rows_per_cycle));
            if double_buffered_weights {
                fill + (folds - 1) * length.max(fill) + length + if last { drain } else { 0 }
            } else {
                folds * (fill + length + drain)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Access, Affine, Dim, DimId, IdVec, Operand, Tensor, TensorId, TensorKind};
    use crate::npu::{Matrix, Precision, named};

    fn npu(arrays: u64, size: u64, kind: MatrixKind) -> Npu {
        let mut npu = named("paper-like").unwrap();
        npu.matrix = Matrix::new(arrays, size, size, kind);
        npu
    }

    fn systolic(dataflow: Dataflow, double_buffered_weights: bool) -> MatrixKind {
        MatrixKind::Systolic { dataflow, double_buffered_weights, fill_rows_per_cycle: 1 }
    }

    fn cycles(npu: &Npu, m: u64, n: u64, k: u64, groups: u64, last: bool) -> u64 {
        product_cycles(npu, Product { m, n, k, groups, bits: 16 }, last).get()
    }

    /// SCALE-Sim 2.0.2 on one 128 × 128 weight-stationary array, as the project's issue 5 quotes it.
    #[test]
    fn one_array_without_double_buffering_is_scale_sim() {
        let one = npu(1, 128, systolic(Dataflow::WeightStationary, false));
        assert_eq!(cycles(&one, 49, 2048, 512, 1, true), 27_584);
        assert_eq!(cycles(&one, 1, 1000, 2048, 1, true), 49_024);
    }

    /// By hand, 16 × 16, m 128, k 72, n 16: 5 folds; 16 + 4 · 128 + 128 = 656, and 30 of drain.
    #[test]
    fn double_buffering_hides_all_fills_but_the_first() {
        let one = npu(1, 16, systolic(Dataflow::WeightStationary, true));
        assert_eq!(cycles(&one, 128, 16, 72, 1, false), 656);
        assert_eq!(cycles(&one, 128, 16, 72, 1, true), 686);
        // m 1: each stream of one cycle hides nothing, so each of 4 folds takes the fill of 16, and 1 at the end.
        assert_eq!(cycles(&one, 1, 32, 32, 1, false), 16 + 3 * 16 + 1);
    }

    /// By hand, output-stationary, m 20, n 40, k 100: 2 × 3 folds of 100, 16 of fill, no shared stream on 4 arrays.
    #[test]
    fn dataflows_lay_other_dimensions_on_the_array() {
        let stationary = |dataflow| npu(4, 16, systolic(dataflow, true));
        assert_eq!(cycles(&stationary(Dataflow::OutputStationary), 20, 40, 100, 1, false), 16 + 100 + 100);
        // Input-stationary: 7 × 2 folds (k, m) of 40. a·b: 4·1: 4 folds of 40: 176; 2·2: 7 of 20: 156; 1·4: 14 of
        // 16, fills: 16 + 13·16 + 10 = 234.
        assert_eq!(cycles(&stationary(Dataflow::InputStationary), 20, 40, 100, 1, false), 16 + 6 * 20 + 20);
    }

    /// Depthwise 3 × 3: k 9, n 1, so ⌊16 / 9⌋ = 1 to a fold of 16 rows, and ⌊128 / 9⌋ = 14 to one of 128.
    #[test]
    fn small_groups_share_a_fold() {
        let folds = |size| {
            let npu = npu(1, size, systolic(Dataflow::WeightStationary, true));
            Stream::of(&npu, Product { m: 49, n: 1, k: 9, groups: 96, bits: 16 }).folds
        };
        assert_eq!(folds(16), 96);
        assert_eq!(folds(128), 7);
    }

    /// Three arrays and 2 folds of 90: 2 · 1 takes 16 + 90; 1 · 3 takes 16 + 30 + 30; the loop skips none.
    #[test]
    fn the_cheapest_division_is_taken() {
        let three = npu(3, 16, systolic(Dataflow::WeightStationary, true));
        assert_eq!(cycles(&three, 90, 16, 32, 1, false), 76);
        let tree = npu(3, 16, MatrixKind::AdderTree);
        assert_eq!(cycles(&tree, 90, 16, 32, 1, true), 60);
    }

    /// By hand, 128 × 128, m 300, k 384, n 256: 6 folds of 300, 150 or 75 cycles, of which the last are shorter than the
    /// fill of 128.
    #[test]
    fn narrower_elements_stream_faster() {
        let mut one = npu(1, 128, systolic(Dataflow::WeightStationary, true));
        one.matrix.precision_rate = Some([(Precision::Int4, 4), (Precision::Int8, 2), (Precision::Bf16, 1)].into());
        let cycles = |bits| product_cycles(&one, Product { m: 300, n: 256, k: 384, groups: 1, bits }, false).get();
        assert_eq!([16, 8, 4].map(cycles), [128 + 6 * 300, 128 + 6 * 150, 128 + 5 * 128 + 75]);
    }

    /// The operands of a product are 8 and 4 bits wide; a bias of 32 bits, and sums that it adds, do not count.
    #[test]
    fn the_wider_operand_decides() {
        let access = |dims: &[u32]| Some(Access(dims.iter().map(|&dim| Affine::dim(DimId(dim))).collect()));
        let dims = [("m", 5, Role::M), ("n", 6, Role::N), ("k", 7, Role::K)];
        let layer = Layer {
            name: "gemm".into(),
            kind: "Gemm".into(),
            nodes: Vec::new(),
            op: Op::Gemm,
            dims: dims.map(|(name, size, role)| Dim { name: name.into(), size, role }).into(),
            lane_operations: 0,
            reads: [(0, &[0, 2][..]), (1, &[2, 1]), (2, &[1])]
                .map(|(tensor, dims)| Operand { tensor: TensorId(tensor), access: access(dims) })
                .into(),
            write: None,
        };
        let tensors = [(8, TensorKind::Input), (4, TensorKind::Weight), (32, TensorKind::Weight)];
        let tensor = |(element_bits, kind)| Tensor { name: String::new(), shape: Vec::new(), element_bits, kind };
        let tensors = tensors.map(tensor).into_iter().collect();
        let model = Model { name: String::new(), fingerprint: String::new(), tensors, layers: IdVec::new() };
        assert_eq!(Product::of(&model, &layer, &layer.whole()), Product { m: 5, n: 6, k: 7, groups: 1, bits: 8 });
    }
}
