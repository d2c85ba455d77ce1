//! How long a command takes, derived anew: transfers burst by burst, matrix products fold by fold.
//!
//! A figure may be absurd but never overflows: sizes are bounded by `structure`, and time is `u128` here.

use std::collections::HashMap;

use super::geometry::volume;
use crate::npu::{Dataflow, Dram, Matrix, MatrixKind, Npu};
use crate::schedule::{Layer, NdBox, Op, Role, ScheduledModel};

/// The durations of one NPU's commands, each geometry worked out once.
pub(super) struct Durations<'a> {
    npu: &'a Npu,
    products: HashMap<(Product, bool), u128>,
}

/// The product that a box of a layer is: `groups` of `[m, k] × [k, n]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Product {
    groups: u64,
    m: u64,
    n: u64,
    k: u64,
    /// How many values of its stream a cell takes each cycle.
    rate: u64,
}

impl Product {
    fn of(layer: &Layer, part: &NdBox, rate: u64) -> Self {
        let along = |role| {
            let spans = part.0.iter().zip(&layer.dims).filter(|(_, dim)| dim.role == role);
            spans.map(|(span, _)| span.end - span.begin).product()
        };
        Self { groups: along(Role::Group), m: along(Role::M), n: along(Role::N), k: along(Role::K), rate }
    }
}

impl<'a> Durations<'a> {
    pub(super) fn new(npu: &'a Npu) -> Self {
        Self { npu, products: HashMap::new() }
    }

    /// How long a transfer occupies the channel.
    pub(super) fn transfer(&self, bytes: u64) -> u128 {
        transfer(&self.npu.dram, self.npu.clock_hz, bytes)
    }

    /// How long a box of a layer occupies the compute engine; `None` of a measured layer. `is_last` says whether the
    /// layer ends with it, for the array is drained then.
    pub(super) fn tile(&mut self, model: &ScheduledModel, layer: &Layer, part: &NdBox, is_last: bool) -> Option<u128> {
        let cycles = match layer.op {
            Op::Gemm => {
                let matrix = &self.npu.matrix;
                let rate = matrix.rate(multiplied_bits(model, layer));
                let product = Product::of(layer, part, rate.expect("the structure has no other width"));
                *self.products.entry((product, is_last)).or_insert_with(|| shortest(matrix, product, is_last))
            }
            Op::Vector => {
                let operations = u128::from(volume(part)) * u128::from(layer.lane_operations);
                operations.div_ceil(u128::from(self.npu.vector.lanes))
            }
            Op::Measured => return None,
        };
        Some(cycles + u128::from(self.npu.command_cycles))
    }
}

/// Bytes that the accumulators hold while a box of a layer is computed: a 32-bit sum for each result of a group, if its
/// terms do not all come at once. Where the results are what stays, they do.
pub(super) fn summed_bytes(matrix: &Matrix, layer: &Layer, part: &NdBox) -> u128 {
    let [Product { m, n, k, .. }, whole] = [part, &layer.whole()].map(|part| Product::of(layer, part, 1));
    let all_at_once = matrix.dataflow() == Dataflow::OutputStationary || (k <= matrix.rows && k == whole.k);
    if layer.op != Op::Gemm || all_at_once { 0 } else { u128::from(m) * u128::from(n) * 32 / 8 }
}

/// The width in which a layer multiplies: that of the wider of its operands, which stand before all else that it reads; 0
/// where it reads nothing.
pub(super) fn multiplied_bits(model: &ScheduledModel, layer: &Layer) -> u64 {
    let operands = layer.reads.iter().take(2);
    operands.filter_map(|read| model.tensors.get(read.tensor)).map(|tensor| tensor.element_bits).max().unwrap_or(0)
}

/// Each burst keeps the channel busy for a fraction of cycles; the fractions add up before they are rounded.
fn transfer(dram: &Dram, clock_hz: u64, bytes: u64) -> u128 {
    let bursts = bytes.div_ceil(dram.burst_bytes);
    let (per_burst, per_cycle) = (
        u128::from(dram.burst_bytes) * u128::from(clock_hz) * 1000,
        u128::from(dram.bytes_per_second) * u128::from(dram.efficiency_permille),
    );
    u128::from(dram.setup_cycles) + (u128::from(bursts) * per_burst).div_ceil(per_cycle)
}

/// The time of the best way to divide a product among the arrays.
fn shortest(matrix: &Matrix, product: Product, is_last: bool) -> u128 {
    let layout = Layout::of(matrix, product);
    let times = divisions(matrix.arrays).map(|(by_folds, by_stream)| {
        // The array that is dealt the most sets the time.
        let folds = layout.folds.div_ceil(by_folds);
        let stream = if layout.stream_is_shared { layout.stream.div_ceil(by_stream) } else { layout.stream };
        Array::new(matrix, stream.div_ceil(product.rate)).run(folds, is_last)
    });
    times.min().expect("one array at least")
}

/// The ways to divide work among arrays, (shares of the folds, shares of the stream), to which no array can be added.
fn divisions(arrays: u64) -> impl Iterator<Item = (u64, u64)> {
    let widest = move |by_stream: u64| (arrays / by_stream, by_stream);
    std::iter::successors(Some(widest(arrays)), move |&(by_folds, _)| {
        (by_folds < arrays).then(|| widest(arrays / (by_folds + 1)))
    })
}

/// How a product lies on an array: what streams through, and how often the array is laid with something new.
struct Layout {
    folds: u64,
    stream: u64,
    /// Whether arrays may each take a share of what streams; where the results stay, it is the sum that streams.
    stream_is_shared: bool,
}

impl Layout {
    fn of(matrix: &Matrix, Product { groups, m, n, k, rate: _ }: Product) -> Self {
        let dataflow = matrix.dataflow();
        let tiles = |down: u64, across: u64| groups * down.div_ceil(matrix.rows) * across.div_ceil(matrix.columns);
        match dataflow {
            Dataflow::WeightStationary => {
                // Groups that are small lie side by side on the diagonal, as many as fit both ways.
                let beside = (matrix.rows / k).min(matrix.columns / n).min(groups);
                let folds = if beside > 0 { groups.div_ceil(beside) } else { tiles(k, n) };
                Self { folds, stream: m, stream_is_shared: true }
            }
            Dataflow::OutputStationary => Self { folds: tiles(m, n), stream: k, stream_is_shared: false },
            Dataflow::InputStationary => Self { folds: tiles(k, m), stream: n, stream_is_shared: true },
        }
    }
}

/// One array at the end of a fold.
#[derive(Clone, Copy)]
struct Array {
    pace: Pace,
    /// When its multipliers are free.
    free: u128,
    /// When it holds what the next fold needs.
    filled: u128,
}

/// What each fold costs it.
#[derive(Clone, Copy)]
struct Pace {
    stream: u128,
    fill: u128,
    drain: u128,
    /// Whether it is filled for the next fold, and drained of the last, while it streams.
    overlaps: bool,
}

impl Array {
    /// An array of which nothing is known yet: it is filled first.
    fn new(matrix: &Matrix, stream: u64) -> Self {
        let stream = u128::from(stream);
        let pace = match matrix.kind {
            MatrixKind::Systolic { dataflow: _, double_buffered_weights, fill_rows_per_cycle } => Pace {
                stream,
                fill: u128::from(matrix.rows.div_ceil(fill_rows_per_cycle)),
                drain: u128::from(matrix.rows + matrix.columns - 2),
                overlaps: double_buffered_weights,
            },
            MatrixKind::AdderTree => Pace { stream, fill: 0, drain: 0, overlaps: true },
        };
        Self { pace, free: 0, filled: pace.fill }
    }

    /// When so many folds are done. Once a fold leaves the array as it found it, only later, the rest do the same.
    fn run(mut self, folds: u64, is_last: bool) -> u128 {
        let mut left = u128::from(folds);
        while left > 0 {
            let next = self.after_a_fold();
            left -= 1;
            let (later, filled_later) = (next.free - self.free, next.filled - self.filled);
            self = next;
            if later == filled_later {
                self.free += later * left;
                left = 0;
            }
        }
        self.free + if is_last && self.pace.overlaps { self.pace.drain } else { 0 }
    }

    fn after_a_fold(self) -> Self {
        let Pace { stream, fill, drain, overlaps } = self.pace;
        let begin = self.free.max(self.filled);
        let end = begin + stream;
        if overlaps {
            // The second set of weights is free to be filled as soon as this fold has taken them over.
            Self { free: end, filled: begin + fill, ..self }
        } else {
            Self { free: end + drain, filled: end + drain + fill, ..self }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matrix() -> impl Strategy<Value = Matrix> {
        let flows = [Dataflow::WeightStationary, Dataflow::OutputStationary, Dataflow::InputStationary];
        let systolic = (proptest::sample::select(flows.to_vec()), any::<bool>(), 1u64..4).prop_map(
            |(dataflow, double_buffered_weights, fill_rows_per_cycle)| MatrixKind::Systolic {
                dataflow,
                double_buffered_weights,
                fill_rows_per_cycle,
            },
        );
        let kind = prop_oneof![4 => systolic, 1 => Just(MatrixKind::AdderTree)];
        (1u64..7, 1u64..6, 1u64..6, kind)
            .prop_map(|(arrays, rows, columns, kind)| Matrix::new(arrays, rows, columns, kind))
    }

    fn product() -> impl Strategy<Value = Product> {
        let sizes = (1u64..8, 1u64..12, 1u64..12, 1u64..12, 1u64..5);
        sizes.prop_map(|(groups, m, n, k, rate)| Product { groups, m, n, k, rate })
    }

    /// How often an array is laid anew, by laying it: every group cut into pieces, small ones packed while they fit.
    fn lay(matrix: &Matrix, groups: u64, down: u64, across: u64, packs: bool) -> u64 {
        let (mut folds, mut rows_left, mut columns_left) = (0, 0, 0);
        for _ in 0..groups {
            if packs && down <= matrix.rows && across <= matrix.columns {
                if rows_left < down || columns_left < across {
                    folds += 1;
                    (rows_left, columns_left) = (matrix.rows, matrix.columns);
                }
                (rows_left, columns_left) = (rows_left - down, columns_left - across);
            } else {
                for _ in (0..down).step_by(matrix.rows as usize) {
                    folds += (0..across).step_by(matrix.columns as usize).count() as u64;
                }
            }
        }
        folds
    }

    /// The time of the busiest array when folds and streamed rows, `rate` at once, are dealt out one by one.
    fn dealt(matrix: &Matrix, folds: u64, (stream, rate): (u64, u64), by: (u64, u64), is_last: bool) -> u64 {
        let (mut folds_of, mut rows_of) = (vec![0u64; by.0 as usize], vec![0u64; by.1 as usize]);
        (0..folds).for_each(|fold| folds_of[(fold % by.0) as usize] += 1);
        (0..stream).step_by(rate as usize).enumerate().for_each(|(at, _)| rows_of[at % by.1 as usize] += 1);
        let drain = matrix.rows + matrix.columns - 2;
        let time = |folds: u64, rows: u64| match matrix.kind {
            MatrixKind::AdderTree => folds * rows,
            MatrixKind::Systolic { dataflow: _, double_buffered_weights, fill_rows_per_cycle } => {
                let fill = (0..matrix.rows).step_by(fill_rows_per_cycle as usize).count() as u64;
                let each = if double_buffered_weights { rows.max(fill) } else { rows + fill + drain };
                let mut time = if double_buffered_weights { fill } else { 0 };
                for fold in 1..=folds {
                    time += if double_buffered_weights && fold == folds { rows } else { each };
                }
                time + if double_buffered_weights && is_last { drain } else { 0 }
            }
        };
        time(folds_of[0], rows_of[0])
    }

    /// A matrix product counted out: every division, fold by fold and row by row.
    fn counted(matrix: &Matrix, Product { groups, m, n, k, rate }: Product, is_last: bool) -> u64 {
        let dataflow = match matrix.kind {
            MatrixKind::AdderTree => Dataflow::WeightStationary,
            MatrixKind::Systolic { dataflow, double_buffered_weights: _, fill_rows_per_cycle: _ } => dataflow,
        };
        let (stream, folds, most_streams) = match dataflow {
            Dataflow::WeightStationary => (m, lay(matrix, groups, k, n, true), matrix.arrays),
            Dataflow::OutputStationary => (k, lay(matrix, groups, m, n, false), 1),
            Dataflow::InputStationary => (n, lay(matrix, groups, k, m, false), matrix.arrays),
        };
        let all = (1..=matrix.arrays).flat_map(|a| (1..=most_streams).map(move |b| (a, b)));
        let fitting = all.filter(|(a, b)| a * b <= matrix.arrays);
        fitting.map(|by| dealt(matrix, folds, (stream, rate), by, is_last)).min().expect("one array")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn a_product_takes_what_counting_says(matrix in matrix(), product in product(), is_last: bool) {
            prop_assert_eq!(shortest(&matrix, product, is_last), u128::from(counted(&matrix, product, is_last)));
        }

        #[test]
        fn a_transfer_takes_the_first_cycle_by_which_its_bursts_are_through(
            burst_bytes in 1u64..20, clock_hz in 1u64..20, bytes_per_second in 1u64..50,
            efficiency_permille in 1u64..=1000, setup_cycles in 0u64..3, bytes in 1u64..200
        ) {
            let dram = Dram { bytes_per_second, efficiency_permille, burst_bytes, latency_cycles: 0, setup_cycles };
            let (mut moved, mut cycles) = (0, setup_cycles);
            while (0..).step_by(burst_bytes as usize).find(|whole| *whole >= bytes).unwrap() * clock_hz * 1000 > moved {
                moved += bytes_per_second * efficiency_permille;
                cycles += 1;
            }
            prop_assert_eq!(transfer(&dram, clock_hz, bytes), u128::from(cycles));
        }
    }

    /// Nothing is stepped over one by one that a hostile file can make large.
    #[test]
    fn absurd_sizes_are_instant() {
        let kind = MatrixKind::Systolic {
            dataflow: Dataflow::WeightStationary,
            double_buffered_weights: true,
            fill_rows_per_cycle: 1,
        };
        let product = Product { groups: 1 << 20, m: 1 << 8, n: 1 << 10, k: 1 << 10, rate: 1 };
        let one = Matrix::new(1, 1, 1, kind);
        assert_eq!(shortest(&one, product, true), 1 + (1 << 48), "2^40 folds of 2^8 rows after one fill");
        let many = Matrix::new(1_000_000, 1, 1, kind);
        assert!(shortest(&many, product, true) > (1 << 48) / 1_000_000);
    }
}
