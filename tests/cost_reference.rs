//! A naive witness of `cost::product_cycles`, for what SCALE-Sim has no answer to: packed groups, double-buffered
//! weights, wider fills, several arrays. It counts cycles one by one and folds one by one, and knows no formula.
//!
//! Beside it stand the worked examples of docs/cost-model.md that no unit test of `cost` has.

use std::collections::BTreeMap;

use layerweaver::cost::{Product, compute_cycles, compute_floor, product_cycles, transfer_cycles};
use layerweaver::ir::{Dim, IdVec, Layer, Model, Op, Role};
use layerweaver::npu::{Dataflow, Matrix, MatrixKind, Npu, Precision, named};
use layerweaver::units::{Bytes, Cycles};
use proptest::prelude::*;

/// How a product lies on an array: what is on its rows and columns, and how long the stream through it is.
struct Layout {
    rows: u64,
    columns: u64,
    stream: u64,
}

impl Layout {
    fn of(product: Product, dataflow: Dataflow) -> Self {
        let Product { m, n, k, groups: _, bits: _ } = product;
        match dataflow {
            Dataflow::WeightStationary => Self { rows: k, columns: n, stream: m },
            Dataflow::OutputStationary => Self { rows: m, columns: n, stream: k },
            Dataflow::InputStationary => Self { rows: k, columns: m, stream: n },
        }
    }
}

/// Counts the folds by laying every group, or every piece of it, on an array.
fn folds(matrix: &Matrix, product: Product, dataflow: Dataflow) -> u64 {
    let Layout { rows, columns, stream: _ } = Layout::of(product, dataflow);
    let mut folds = 0;
    if dataflow == Dataflow::WeightStationary && rows <= matrix.rows && columns <= matrix.columns {
        // One group after another, each below and to the right of the one before; a full array begins a new fold.
        let (mut free_rows, mut free_columns) = (0, 0);
        for _ in 0..product.groups {
            if rows > free_rows || columns > free_columns {
                folds += 1;
                (free_rows, free_columns) = (matrix.rows, matrix.columns);
            }
            free_rows -= rows;
            free_columns -= columns;
        }
        return folds;
    }
    for _ in 0..product.groups {
        for _ in (0..rows).step_by(matrix.rows as usize) {
            for _ in (0..columns).step_by(matrix.columns as usize) {
                folds += 1;
            }
        }
    }
    folds
}

/// Cycles in which a stream enters, if each row takes `rate` values at once.
fn entering(mut stream: u64, rate: u64) -> u64 {
    let mut cycles = 0;
    while stream > 0 {
        stream = stream.saturating_sub(rate);
        cycles += 1;
    }
    cycles
}

/// Cycles until the cell at the far corner has seen the last of `stream` values. They enter at the left, one a cycle,
/// each row a cycle after the one above it, and move a column to the right each cycle.
fn wave(matrix: &Matrix, stream: u64) -> u64 {
    let (last_row, last_column) = (matrix.rows as usize - 1, matrix.columns as usize - 1);
    let mut cells = vec![vec![None; last_column + 1]; last_row + 1];
    let mut cycle: u64 = 0;
    loop {
        for (delay, row) in cells.iter_mut().enumerate() {
            row.rotate_right(1);
            row[0] = cycle.checked_sub(delay as u64).filter(|value| *value < stream);
        }
        cycle += 1;
        if cells[last_row][last_column] == Some(stream - 1) {
            return cycle;
        }
    }
}

/// Cycles in which all rows are filled, or emptied, some at a time.
fn fill(matrix: &Matrix, rows_per_cycle: u64) -> u64 {
    let (mut moved, mut cycles) = (0, 0);
    while moved < matrix.rows {
        moved += rows_per_cycle;
        cycles += 1;
    }
    cycles
}

/// Folds one after another: the stationary operand enters and the other streams through; or, output-stationary, the
/// operands stream and the results leave. Either way the array is empty in between.
fn one_by_one(matrix: &Matrix, rows_per_cycle: u64, folds: u64, stream: u64) -> u64 {
    (0..folds).map(|_| fill(matrix, rows_per_cycle) + wave(matrix, stream)).sum()
}

/// Each cell has a second register: the next fold's operand enters it while this fold streams. Counts until the last
/// value has entered the first cell.
fn stationary_operand_buffered(matrix: &Matrix, rows_per_cycle: u64, folds: u64, stream: u64) -> u64 {
    let mut to_start = folds;
    let (mut rows_waiting, mut to_enter) = (0, 0_u64);
    let mut cycles = 0;
    while to_start > 0 || to_enter > 0 {
        if to_enter == 0 && rows_waiting >= matrix.rows {
            to_start -= 1;
            (rows_waiting, to_enter) = (0, stream);
        }
        to_enter = to_enter.saturating_sub(1);
        if to_start > 0 && rows_waiting < matrix.rows {
            rows_waiting += rows_per_cycle;
        }
        cycles += 1;
    }
    cycles
}

/// Each cell has a second register: this fold's results leave through it while the next fold streams. Counts until
/// the last result has left, but for the delay between the first cell and the last.
fn results_buffered(matrix: &Matrix, rows_per_cycle: u64, folds: u64, stream: u64) -> u64 {
    let mut to_start = folds;
    let (mut to_enter, mut results_wait, mut rows_to_leave) = (0, false, 0_u64);
    let mut cycles = 0;
    while to_start > 0 || to_enter > 0 || results_wait || rows_to_leave > 0 {
        if results_wait && rows_to_leave == 0 {
            (results_wait, rows_to_leave) = (false, matrix.rows);
        }
        if to_enter == 0 && !results_wait && to_start > 0 {
            to_start -= 1;
            to_enter = stream;
        }
        if to_enter > 0 {
            to_enter -= 1;
            results_wait = to_enter == 0;
        }
        rows_to_leave = rows_to_leave.saturating_sub(rows_per_cycle);
        cycles += 1;
    }
    cycles
}

/// Cycles of one array.
fn one_array(matrix: &Matrix, folds: u64, stream: u64, last: bool) -> u64 {
    if folds == 0 || stream == 0 {
        return 0;
    }
    match matrix.kind {
        MatrixKind::AdderTree => (0..folds).map(|_| (0..stream).count() as u64).sum(),
        MatrixKind::Systolic { dataflow: _, double_buffered_weights: false, fill_rows_per_cycle } => {
            one_by_one(matrix, fill_rows_per_cycle, folds, stream)
        }
        MatrixKind::Systolic { dataflow, double_buffered_weights: true, fill_rows_per_cycle } => {
            let buffered = match dataflow {
                Dataflow::WeightStationary | Dataflow::InputStationary => stationary_operand_buffered,
                Dataflow::OutputStationary => results_buffered,
            };
            // Only the first cell has seen the last value: the far corner sees it later.
            let drain = if last { wave(matrix, stream) - stream } else { 0 };
            buffered(matrix, fill_rows_per_cycle, folds, stream) + drain
        }
    }
}

/// Deals out `items` to `hands`, one after another.
fn dealt(items: u64, hands: u64) -> Vec<u64> {
    let mut dealt = vec![0; hands as usize];
    for item in 0..items {
        dealt[(item % hands) as usize] += 1;
    }
    dealt
}

/// Cycles of a product: in the best of all divisions, those of the array that takes longest.
fn reference(npu: &Npu, product: Product, last: bool) -> u64 {
    let matrix = &npu.matrix;
    let dataflow = match matrix.kind {
        MatrixKind::AdderTree => Dataflow::WeightStationary,
        MatrixKind::Systolic { dataflow, double_buffered_weights: _, fill_rows_per_cycle: _ } => dataflow,
    };
    let folds = folds(matrix, product, dataflow);
    let stream = entering(Layout::of(product, dataflow).stream, matrix.rate(product.bits).expect("a known width"));
    let mut best = u64::MAX;
    for a in 1..=matrix.arrays {
        for b in 1..=matrix.arrays / a {
            // What is summed in place cannot be divided.
            if b > 1 && dataflow == Dataflow::OutputStationary {
                continue;
            }
            let mut slowest = 0;
            for share_of_folds in dealt(folds, a) {
                for share_of_stream in dealt(stream, b) {
                    slowest = slowest.max(one_array(matrix, share_of_folds, share_of_stream, last));
                }
            }
            best = best.min(slowest);
        }
    }
    best + npu.command_cycles
}

fn any_kind() -> impl Strategy<Value = MatrixKind> {
    let dataflow = prop_oneof![
        Just(Dataflow::WeightStationary),
        Just(Dataflow::OutputStationary),
        Just(Dataflow::InputStationary)
    ];
    let systolic = (dataflow, any::<bool>(), 1..9u64).prop_map(|(dataflow, double, fill)| MatrixKind::Systolic {
        dataflow,
        double_buffered_weights: double,
        fill_rows_per_cycle: fill,
    });
    prop_oneof![5 => systolic, 1 => Just(MatrixKind::AdderTree)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8000))]
    #[test]
    fn the_formula_counts_what_the_arrays_do(
        kind in any_kind(),
        (arrays, rows, columns) in (1..8u64, 1..7u64, 1..7u64),
        [m, n, k] in prop::array::uniform3(1..24u64),
        groups in prop_oneof![Just(1u64), 1..12u64],
        (command_cycles, rate) in (0..3u64, prop::option::of(1..6u64)),
        last in any::<bool>(),
    ) {
        let mut npu = named("paper-like").unwrap();
        let precision_rate = rate.map(|rate| BTreeMap::from([(Precision::Bf16, 1), (Precision::Int8, rate)]));
        npu.matrix = Matrix { precision_rate, ..Matrix::new(arrays, rows, columns, kind) };
        npu.command_cycles = command_cycles;
        let product = Product { m, n, k, groups, bits: 8 };
        prop_assert_eq!(product_cycles(&npu, product, last).get(), reference(&npu, product, last));
    }
}

/// A layer with a dimension for each role and size.
fn layer(op: Op, dims: &[(Role, u64)], lane_operations: u64) -> Layer {
    let dims = dims.iter().map(|&(role, size)| Dim { name: format!("{role:?}"), size, role }).collect();
    Layer {
        name: "example".into(),
        kind: "example".into(),
        nodes: Vec::new(),
        op,
        dims,
        lane_operations,
        reads: Vec::new(),
        write: None,
    }
}

/// A model without tensors: where every width has one rate, none is looked at.
fn empty() -> Model {
    Model { name: "example".into(), fingerprint: String::new(), tensors: IdVec::new(), layers: IdVec::new() }
}

/// docs/cost-model.md, "Transfer": TPU v1 loads a tile of 256 × 256 weights.
#[test]
fn a_transfer_by_hand() {
    assert_eq!(transfer_cycles(&named("tpu-v1").unwrap(), Bytes(65_536)), Cycles(1350));
}

/// docs/cost-model.md, "Adder tree": 9 × 4 folds of 784 on NVDLA.
#[test]
fn an_adder_tree_by_hand() {
    let nvdla = named("nvdla-full").unwrap();
    assert_eq!(product_cycles(&nvdla, Product { m: 784, n: 128, k: 576, groups: 1, bits: 8 }, true), Cycles(36 * 784));
}

/// docs/cost-model.md, "Wider fills": a decode step on Inferentia2, which fills 4 rows a cycle, and if it filled 1.
#[test]
fn a_wider_fill_by_hand() {
    let mut npu = named("inferentia2").unwrap();
    let step = Product { m: 1, n: 768, k: 768, groups: 1, bits: 16 };
    assert_eq!(product_cycles(&npu, step, false), Cycles(32 + 35 * 32 + 1));
    npu.matrix.kind = MatrixKind::Systolic {
        dataflow: Dataflow::WeightStationary,
        double_buffered_weights: true,
        fill_rows_per_cycle: 1,
    };
    assert_eq!(product_cycles(&npu, step, false), Cycles(128 + 35 * 128 + 1));
}

/// docs/cost-model.md, "Vector": a softmax of 12 × 128 × 128 points and 5 operations each.
#[test]
fn a_vector_layer_by_hand() {
    let mut npu = named("paper-like").unwrap();
    let softmax = layer(Op::Vector, &[(Role::Group, 12), (Role::M, 128), (Role::K, 128)], 5);
    assert_eq!(compute_cycles(&npu, &empty(), &softmax, &softmax.whole(), true), Cycles(1920));
    npu.command_cycles = 10;
    assert_eq!(compute_cycles(&npu, &empty(), &softmax, &softmax.whole(), true), Cycles(1930));
    npu.command_cycles = 0;
    let dearer = Layer { lane_operations: 8, ..softmax };
    assert_eq!(compute_cycles(&npu, &empty(), &dearer, &dearer.whole(), true), Cycles(3072));
}

/// docs/cost-model.md, "Floor": nine folds on TPU v1, and a depthwise convolution of 96 channels.
#[test]
fn a_floor_by_hand() {
    let npu = named("tpu-v1").unwrap();
    let product = layer(Op::Gemm, &[(Role::M, 300), (Role::N, 768), (Role::K, 768)], 0);
    assert_eq!(compute_floor(&npu, &empty(), &product), Cycles(256 + 9 * 300 + 510));
    assert_eq!(compute_cycles(&npu, &empty(), &product, &product.whole(), true), Cycles(256 + 9 * 300 + 510));
    let depthwise = layer(Op::Gemm, &[(Role::Group, 96), (Role::M, 300), (Role::N, 1), (Role::K, 9)], 0);
    assert_eq!(compute_floor(&npu, &empty(), &depthwise), Cycles(256 + 1013 + 510));
    assert_eq!(compute_cycles(&npu, &empty(), &depthwise, &depthwise.whole(), true), Cycles(256 + 4 * 300 + 510));
}
