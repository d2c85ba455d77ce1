//! Lane operations: what one iteration costs a lane of the vector unit.
//!
//! A lane does one addition, multiplication, comparison, selection or table look-up of a transcendental function a
//! cycle. Division is one such look-up (the reciprocal) and one multiplication, but an exporter's division by a
//! constant is a multiplication, so it counts as 1. All figures are for each point of the whole loop nest, the reduced
//! dimensions included; what runs once a row of a reduction is not counted.

/// Max pooling: compare and keep.
pub(super) const MAX_POOL: u64 = 1;

/// Average pooling, means, sums: add. The division once a result is not counted.
pub(super) const REDUCE: u64 = 1;

/// Softmax: max, subtract, exponential, sum, divide.
pub(super) const SOFTMAX: u64 = 5;

/// Layer normalisation: sum; subtract the mean; square, sum; multiply by the deviation's reciprocal; scale; shift.
pub(super) const LAYER_NORMALIZATION: u64 = 7;

/// One element that is moved: a table's row, a transposition.
pub(in super::super) const MOVE: u64 = 1;

/// Batch normalisation, statistics folded: multiply, add.
pub(super) const BATCH_NORMALIZATION: u64 = 2;

/// The pointwise operators.
pub(super) fn pointwise(op: &str) -> u64 {
    match op {
        // Two comparisons.
        "Clip" => 2,
        // Compare, multiply, select.
        "LeakyRelu" | "PRelu" => 3,
        // Exponential, subtract, multiply, select.
        "Elu" => 4,
        // Negate, exponential, add, reciprocal.
        "Sigmoid" => 4,
        // Multiply, add, two comparisons.
        "HardSigmoid" => 4,
        // The same, and multiply.
        "HardSwish" => 5,
        // Exponential, add, logarithm.
        "Softplus" => 3,
        // Scale, error function, add, multiply, halve.
        "Gelu" => 5,
        // Logarithm, multiply, exponential.
        "Pow" => 3,
        // Divide, floor, multiply, subtract.
        "Mod" => 4,
        // One addition, comparison, selection, conversion, or table look-up.
        _ => 1,
    }
}
