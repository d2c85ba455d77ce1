//! The least cycles that a layer's compute commands can take together, however it is tiled.

use super::{Product, Stream, saturate};
use crate::ir::{Layer, Model, Op};
use crate::npu::{Dataflow, MatrixKind, Npu};
use crate::units::Cycles;

/// A proven lower bound on the sum of a layer's compute commands under any tiling into boxes. Of a measured layer, 0:
/// its sum is given.
///
/// Proof, for products. Let a tile have folds f and a stream of s cycles. In any division a · b, `⌈f/a⌉ · a ≥ f` and
/// `⌈s/b⌉ · b ≥ s`, so with A arrays a command takes at least `f · s / A`; otherwise `f · (s + F + D) / A`. With
/// double-buffered weights and q = ⌈f/a⌉, t = ⌈s/b⌉ it takes `F + (q − 1) · max(t, F) + t`, which is `F + q · t` where
/// t ≥ F, and more where not; and it is more than `q · F`. So all commands, of which there is one at least, take
/// `F + Σ f · s / A`, and `1 + Σ f · F / A`. It remains to bound the sum over tiles of f · s and of f.
///
/// Take one group and one index of the streamed dimension. The tiles that hold it cut its rows × columns into
/// rectangles; mark every R-th row and every C-th column from the first: a rectangle of r × c holds at most
/// `⌈r/R⌉ · ⌈c/C⌉` of the marked points, which are its folds, and there are `⌈rows/R⌉ · ⌈columns/C⌉` points in all.
/// So `Σ f · s ≥ folds · s` of the whole layer; and `Σ f ≥ folds`, from one index alone. Where a cycle streams r
/// indices, the tiles that hold a point cut the stream into pieces, whose cycles rounded up are no fewer than the
/// whole's.
///
/// Weight-stationary groups may be packed in any tile: there a tile of r × c costs each of its groups at least
/// `max(r/R, c/C)` of a fold, and by one column (or row) of the weights these sum to at least `max(k/R, n/C)`.
pub fn compute_floor(npu: &Npu, model: &Model, layer: &Layer) -> Cycles {
    let whole = layer.whole();
    match layer.op {
        Op::Measured => Cycles::ZERO,
        // Rounding up once is never more than rounding up each tile.
        Op::Vector => super::compute_cycles(npu, model, layer, &whole, true),
        Op::Gemm => product_floor(npu, Product::of(model, layer, &whole)),
    }
}

fn product_floor(npu: &Npu, product: Product) -> Cycles {
    let (rows, columns) = (npu.matrix.rows, npu.matrix.columns);
    let stream = Stream::of(npu, product);
    let is_weight_stationary = npu.matrix.dataflow() == Dataflow::WeightStationary;
    // Folds as a fraction over rows · columns.
    let area = u128::from(rows) * u128::from(columns);
    let folds = if is_weight_stationary && product.groups > 1 {
        let of_a_group = (u128::from(product.k) * u128::from(columns)).max(u128::from(product.n) * u128::from(rows));
        u128::from(product.groups) * of_a_group
    } else {
        u128::from(stream.folds) * area
    };
    let length = u128::from(stream.length);
    let arrays = u128::from(npu.matrix.arrays) * area;
    let shared = |of_a_fold: u128| (folds * of_a_fold).div_ceil(arrays);
    let cycles = match npu.matrix.kind {
        MatrixKind::AdderTree => shared(length),
        MatrixKind::Systolic { dataflow: _, double_buffered_weights, fill_rows_per_cycle } => {
            let fill = u128::from(rows.div_ceil(fill_rows_per_cycle));
            let drain = u128::from(rows + columns - 2);
            if double_buffered_weights {
                (shared(length) + fill).max(shared(fill) + 1) + drain
            } else {
                shared(length + fill + drain)
            }
        }
    };
    saturate(cycles + u128::from(npu.command_cycles))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::product_cycles;
    use super::*;
    use crate::npu::{Matrix, Precision, named};

    fn any_matrix() -> impl Strategy<Value = Matrix> {
        let dataflow = prop_oneof![
            Just(Dataflow::WeightStationary),
            Just(Dataflow::OutputStationary),
            Just(Dataflow::InputStationary)
        ];
        let systolic = (dataflow, any::<bool>(), 1..4u64).prop_map(|(dataflow, double, fill)| MatrixKind::Systolic {
            dataflow,
            double_buffered_weights: double,
            fill_rows_per_cycle: fill,
        });
        let kind = prop_oneof![4 => systolic, 1 => Just(MatrixKind::AdderTree)];
        (1..6u64, 1..7u64, 1..7u64, kind, 1..5u64).prop_map(|(arrays, rows, columns, kind, rate)| Matrix {
            precision_rate: Some([(Precision::Int8, rate)].into()),
            ..Matrix::new(arrays, rows, columns, kind)
        })
    }

    /// Cuts a product at random along all four dimensions, and sums the cost of the boxes.
    fn tiled(npu: &Npu, whole: [u64; 4], chunks: [u64; 4]) -> Cycles {
        let pieces = |d: usize| (0..whole[d]).step_by(chunks[d] as usize).map(move |b| chunks[d].min(whole[d] - b));
        let mut boxes = Vec::new();
        for m in pieces(0) {
            for n in pieces(1) {
                for k in pieces(2) {
                    boxes.extend(pieces(3).map(|groups| Product { m, n, k, groups, bits: 8 }));
                }
            }
        }
        let last = boxes.len() - 1;
        boxes.iter().enumerate().map(|(i, &product)| product_cycles(npu, product, i == last)).sum()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn no_tiling_is_below_the_floor(
            matrix in any_matrix(),
            sizes in prop::array::uniform4(1..20u64),
            chunks in prop::array::uniform4(1..20u64),
        ) {
            let mut npu = named("paper-like").unwrap();
            npu.matrix = matrix;
            let [m, n, k, groups] = sizes;
            let (floor, sum) = (product_floor(&npu, Product { m, n, k, groups, bits: 8 }), tiled(&npu, sizes, chunks));
            prop_assert!(floor <= sum, "{} > {}", floor, sum);
        }
    }
}
