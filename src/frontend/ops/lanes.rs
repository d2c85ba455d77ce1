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
pub(in super::super) const SOFTMAX: u64 = 5;

/// Layer normalisation: sum; subtract the mean; square, sum; multiply by the deviation's reciprocal. A scale and a bias
/// are one more each.
pub(in super::super) const LAYER_NORMALIZATION: u64 = 5;

/// The same without a mean: square, sum; multiply by the root's reciprocal.
pub(in super::super) const RMS_NORMALIZATION: u64 = 3;

/// One element that is moved: a table's row, a transposition.
pub(in super::super) const MOVE: u64 = 1;

/// Multiply and add.
pub(super) const MULTIPLY_ADD: u64 = 2;

/// Square or power, sum; divide.
pub(in super::super) const LP_NORMALIZATION: u64 = 3;

/// For each neighbour: square, add. The power and the division once an element are not counted.
pub(super) const LOCAL_RESPONSE: u64 = 2;

/// Multiply, round, shift, two comparisons.
pub(in super::super) const QUANTIZE: u64 = 5;

/// The least, the greatest; then as above.
pub(super) const DYNAMIC_QUANTIZE: u64 = 7;

/// Multiply, add or subtract, for both halves.
pub(super) const ROTARY: u64 = 3;

/// Exponential, subtract, logarithm, pick.
pub(super) const LOSS: u64 = 5;

/// Four corners compared, two products, a quotient, for a box that is kept and one that is not.
pub(super) const OVERLAP: u64 = 12;

/// A sample of an image: four neighbours, each multiplied and added.
pub(super) const SAMPLE: u64 = 8;

/// A butterfly of a Fourier transform, for an element: a product of complex numbers, shared by two, and an addition.
pub(super) const BUTTERFLY: u64 = 3;

/// A weight's update: two moments, a root, a division, a step.
pub(super) const OPTIMIZER: u64 = 10;

/// One random number: a dozen integer operations.
pub(super) const RANDOM: u64 = 12;

/// What reductions do for each element.
pub(super) fn reduce(op: &str) -> u64 {
    match op {
        // Square or magnitude, exponential: then add.
        "ReduceL1" | "ReduceL2" | "ReduceLogSumExp" | "ReduceSumSquare" => 2,
        // Compare, and keep where.
        "ArgMax" | "ArgMin" => 2,
        _ => REDUCE,
    }
}

/// Batch normalisation, statistics folded: multiply, add.
pub(super) const BATCH_NORMALIZATION: u64 = 2;

/// GELU: scale, error function, add, multiply, halve.
pub(in super::super) const GELU: u64 = 5;

/// GELU by a hyperbolic tangent: scale, cube, add, scale, hyperbolic tangent, add, multiply, halve.
pub(in super::super) const TANH_GELU: u64 = 8;

/// What normalisations do for each element, with so many scales and biases.
pub(super) fn normalization(op: &str, parameters: u64) -> u64 {
    let is_without_mean = op.contains("RMS") || op.contains("Simplified");
    parameters.saturating_add(if is_without_mean { RMS_NORMALIZATION } else { LAYER_NORMALIZATION })
}

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
        "Gelu" => GELU,
        // Logarithm, multiply, exponential.
        "Pow" => 3,
        // Divide, floor, multiply, subtract.
        "Mod" => 4,
        // Two exponentials, add or subtract, halve or divide; logarithm and square root of a sum.
        "Acosh" | "Asinh" | "Atanh" | "Cosh" | "Sinh" => 4,
        // As Elu, with a scale more or less.
        "Celu" | "Selu" => 5,
        // Softplus, hyperbolic tangent, multiply.
        "Mish" => 5,
        // Sigmoid, multiply; and by a gate.
        "Swish" | "QuickGelu" => 5,
        "SwiGLU" => 6,
        "FastGelu" => TANH_GELU,
        // A bias as well.
        "BiasGelu" => GELU + 1,
        // Magnitude, add, divide.
        "Softsign" => 3,
        // Two comparisons, two additions, selection.
        "Shrink" => 5,
        // Compare, select.
        "ThresholdedRelu" => 2,
        // A random number, compare.
        "Bernoulli" => RANDOM + 1,
        "RandomNormalLike" | "RandomUniformLike" => RANDOM,
        // Two operands and the result, each with a scale and a zero point.
        "QLinearAdd" | "QLinearMul" => 7,
        // One addition, comparison, selection, conversion, or table look-up.
        _ => 1,
    }
}
