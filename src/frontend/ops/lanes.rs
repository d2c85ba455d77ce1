//! Lane operations: what one iteration costs a lane of the vector unit.
//!
//! A lane does one addition, multiplication, comparison, selection or table look-up of a transcendental function a
//! cycle. Division is one such look-up (the reciprocal) and one multiplication, but an exporter's division by a
//! constant is a multiplication, so it counts as 1. All figures are for each point of the whole loop nest, the reduced
//! dimensions included; what runs once a row of a reduction is not counted.
//!
//! [`ROWS`] has them all; docs/operators.md shows it. Where sizes decide, an operator's function multiplies.

/// What some operators cost.
struct Row {
    operators: &'static [&'static str],
    operations: u64,
    #[cfg_attr(not(test), expect(dead_code, reason = "the docs have it"))]
    why: &'static str,
}

const fn row(operators: &'static [&'static str], operations: u64, why: &'static str) -> Row {
    Row { operators, operations, why }
}

/// Every operator that costs more than [`REST`].
const ROWS: &[Row] = &[
    // Reduced along an axis, or along it.
    row(&["Softmax", "LogSoftmax", "Hardmax"], 5, "max, subtract, exponential, sum, divide"),
    row(
        &[
            "LayerNormalization",
            "InstanceNormalization",
            "GroupNormalization",
            "GroupNorm",
            "SkipGroupNorm",
            "MeanVarianceNormalization",
            "EmbedLayerNormalization",
            "SkipLayerNormalization",
        ],
        5,
        "sum; subtract the mean; square, sum; multiply by the deviation's reciprocal; and 1 for each scale, bias or summand",
    ),
    row(
        &["RMSNormalization", "SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization"],
        3,
        "square, sum; multiply by the root's reciprocal; and 1 for each scale, bias or summand",
    ),
    row(&["BiasSoftmax"], 6, "as Softmax, and add"),
    row(&["BatchNormalization"], 2, "statistics folded: multiply, add"),
    row(&["LpNormalization"], 3, "square or power, sum; divide"),
    row(&["LRN"], 2, "for each neighbour: square, add"),
    row(&["ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceSumSquare"], 2, "square, magnitude or exponential; add"),
    row(&["ArgMax", "ArgMin"], 2, "compare, and keep where"),
    row(&["LpPool", "GlobalLpPool", "CausalConvWithState"], 2, "multiply, add"),
    row(&["NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"], 5, "exponential, subtract, logarithm, pick, add"),
    // Element by element.
    row(&["Clip"], 2, "two comparisons"),
    row(&["GatherBlockQuantized"], 2, "subtract, multiply"),
    row(&["Binarizer", "Imputer", "Scaler", "Normalizer"], 2, "multiply, add"),
    row(&["ThresholdedRelu"], 2, "compare, select"),
    row(&["LeakyRelu", "PRelu"], 3, "compare, multiply, select"),
    row(&["Elu"], 4, "exponential, subtract, multiply, select"),
    row(&["Celu", "Selu"], 5, "the same, and a scale more or less"),
    row(&["Sigmoid"], 4, "negate, exponential, add, reciprocal"),
    row(&["Swish", "QuickGelu"], 5, "the same, and multiply"),
    row(&["SwiGLU"], 6, "the same, and multiply by a gate"),
    row(&["HardSigmoid"], 4, "multiply, add, two comparisons"),
    row(&["HardSwish"], 5, "the same, and multiply"),
    row(&["Softplus"], 3, "exponential, add, logarithm"),
    row(&["Mish"], 5, "the same, hyperbolic tangent, multiply"),
    row(&["Gelu"], 5, "scale, error function, add, multiply, halve; by a hyperbolic tangent what FastGelu takes"),
    row(&["BiasGelu"], 6, "the same, and add"),
    row(&["BiasSplitGelu"], 8, "the same of one half; add to the other, and multiply"),
    row(&["FastGelu"], 8, "scale, cube, add, scale, hyperbolic tangent, add, multiply, halve"),
    row(&["Softsign"], 3, "magnitude, add, divide"),
    row(&["Shrink"], 5, "two comparisons, two additions, selection"),
    row(&["Pow"], 3, "logarithm, multiply, exponential"),
    row(&["Mod"], 4, "divide, floor, multiply, subtract"),
    row(
        &["Acosh", "Asinh", "Atanh", "Cosh", "Sinh"],
        4,
        "two exponentials, add or subtract, halve or divide; logarithm and square root of a sum",
    ),
    row(&["RotaryEmbedding", "MRotaryEmbedding"], 3, "multiply, add or subtract, for both halves"),
    row(&["QuantizeLinear", "QLinearConcat"], 5, "multiply, round, shift, two comparisons"),
    row(&["DynamicQuantizeLinear"], 7, "the least, the greatest; then as QuantizeLinear"),
    row(&["QLinearAdd", "QLinearMul"], 7, "two operands and the result, each with a scale and a zero point"),
    row(
        &["RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial"],
        12,
        "a dozen integer operations",
    ),
    row(&["Bernoulli"], 13, "a random number, compare"),
    row(&["Adagrad", "Adam", "Momentum"], 10, "two moments, a root, a division, a step"),
    // Boxes and samples of images.
    row(
        &["NonMaxSuppression"],
        12,
        "four corners compared, two products, a quotient, for a box that is kept and one that is not",
    ),
    row(&["MaxRoiPool", "RoiAlign"], 8, "for each sample: four neighbours, each multiplied and added"),
];

/// One addition, comparison, selection, conversion or table look-up; one element that is moved.
const REST: u64 = 1;

/// What a point of an operator costs.
pub(in super::super) const fn of(operator: &str) -> u64 {
    let mut at = 0;
    while at < ROWS.len() {
        let mut name = 0;
        while name < ROWS[at].operators.len() {
            if is_same(ROWS[at].operators[name].as_bytes(), operator.as_bytes()) {
                return ROWS[at].operations;
            }
            name += 1;
        }
        at += 1;
    }
    REST
}

const fn is_same(a: &[u8], b: &[u8]) -> bool {
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}

// What functions of several operators, and patterns, ask for.
pub(super) const MAX_POOL: u64 = REST;
pub(super) const REDUCE: u64 = REST;
pub(in super::super) const MOVE: u64 = REST;
pub(in super::super) const SOFTMAX: u64 = of("Softmax");
pub(in super::super) const LAYER_NORMALIZATION: u64 = of("LayerNormalization");
pub(in super::super) const RMS_NORMALIZATION: u64 = of("RMSNormalization");
pub(in super::super) const LP_NORMALIZATION: u64 = of("LpNormalization");
pub(super) const BATCH_NORMALIZATION: u64 = of("BatchNormalization");
pub(super) const LOCAL_RESPONSE: u64 = of("LRN");
pub(in super::super) const QUANTIZE: u64 = of("QuantizeLinear");
pub(super) const DYNAMIC_QUANTIZE: u64 = of("DynamicQuantizeLinear");
pub(super) const ROTARY: u64 = of("RotaryEmbedding");
pub(super) const LOSS: u64 = of("SoftmaxCrossEntropyLoss");
pub(super) const OVERLAP: u64 = of("NonMaxSuppression");
pub(super) const SAMPLE: u64 = of("RoiAlign");
pub(super) const OPTIMIZER: u64 = of("Adam");
pub(super) const RANDOM: u64 = of("RandomUniform");
pub(in super::super) const GELU: u64 = of("Gelu");
pub(in super::super) const TANH_GELU: u64 = of("FastGelu");

/// Multiply and add.
pub(super) const MULTIPLY_ADD: u64 = 2;

/// A butterfly of a Fourier transform, for an element: a product of complex numbers, shared by two, and an addition.
pub(super) const BUTTERFLY: u64 = 3;

/// What normalisations do for each element, with so many scales and biases.
pub(super) fn normalization(op: &str, parameters: u64) -> u64 {
    let is_without_mean = op.contains("RMS") || op.contains("Simplified");
    parameters.saturating_add(if is_without_mean { RMS_NORMALIZATION } else { LAYER_NORMALIZATION })
}

/// The rows, as docs/operators.md has them.
#[cfg(test)]
pub(super) fn table() -> String {
    let mut text = String::from("\n| Operators | Lane operations | For |\n|---|---|---|\n");
    for row in ROWS {
        text += &format!("| {} | {} | {} |\n", row.operators.join(", "), row.operations, row.why);
    }
    text + &format!(
        "| all others | {REST} | one addition, comparison, selection, conversion or table look-up; one element that is moved |\n"
    )
}

#[cfg(test)]
mod tests {
    use super::super::OPS;
    use super::*;

    #[test]
    fn every_operator_stands_in_one_row() {
        let mut all: Vec<_> = ROWS.iter().flat_map(|row| row.operators).collect();
        for &&operator in &all {
            assert!(OPS.iter().any(|op| op.name == operator), "{operator} is in no row of OPS");
        }
        all.sort_unstable();
        assert!(all.is_sorted_by(|a, b| a < b), "some operator has two rows");
        assert!(ROWS.iter().all(|row| row.operations > REST));
        assert_eq!((of("Gelu"), of("Relu"), of("Gel")), (5, REST, REST));
    }
}
