//! What is recognised: a row for each way to write an operator.

use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

use super::Term::{self, All, Any, Constant, Given, InGroups, Is, Number, Op, Reduced, Turned, Weight, X};
use super::{Pattern, lanes};

/// A square.
macro_rules! squared {
    ($of:expr) => {
        Any(&[Op("Pow", &[$of, Is(2.0)]), Op("Mul", &[$of, $of])])
    };
}

/// A product of three, in any order.
macro_rules! product {
    ($a:expr, $b:expr, $c:expr) => {
        Any(&[
            Op("Mul", &[Op("Mul", &[$a, $b]), $c]),
            Op("Mul", &[Op("Mul", &[$a, $c]), $b]),
            Op("Mul", &[Op("Mul", &[$b, $c]), $a]),
        ])
    };
}

/// A square root.
macro_rules! root {
    ($of:expr) => {
        Any(&[Op("Sqrt", &[$of]), Op("Pow", &[$of, Is(0.5)])])
    };
}

/// One by a square root.
macro_rules! inverse_root {
    ($of:expr) => {
        Any(&[Op("Reciprocal", &[root!($of)]), Op("Div", &[Is(1.0), root!($of)]), Op("Pow", &[$of, Is(-0.5)])])
    };
}

/// Something by the root of a mean and a small number.
macro_rules! over_root {
    ($what:expr, $mean:expr) => {
        Any(&[
            Op("Div", &[$what, root!(Op("Add", &[$mean, Number]))]),
            Op("Mul", &[$what, inverse_root!(Op("Add", &[$mean, Number]))]),
        ])
    };
}

/// What part each has in the sum of all.
macro_rules! share {
    ($of:expr) => {
        Any(&[
            Op("Div", &[$of, Reduced("ReduceSum", &$of)]),
            Op("Mul", &[$of, Op("Reciprocal", &[Reduced("ReduceSum", &$of)])]),
        ])
    };
}

/// All patterns. Of two that end alike the larger comes first.
pub(super) const PATTERNS: &[Pattern] = &[
    row("LayerNormalization", lanes::LAYER_NORMALIZATION, FOLDED_NORMALIZATION),
    row("LayerNormalization", lanes::LAYER_NORMALIZATION, over_root!(CENTRED, VARIANCE)),
    row("RMSNormalization", lanes::RMS_NORMALIZATION, over_root!(X, MEAN_SQUARE)),
    row(
        "RMSNormalization",
        lanes::RMS_NORMALIZATION,
        Op("Div", &[X, Op("Add", &[Op("Mul", &[LENGTH, Number]), Number])]),
    ),
    row("GroupNormalization", lanes::LAYER_NORMALIZATION, Op("Reshape", &[NORMALIZED_GROUPS, Constant])),
    row("LpNormalization", lanes::LP_NORMALIZATION, Op("Div", &[X, NORM])),
    row("Softmax", lanes::SOFTMAX, share!(Op("Exp", &[BELOW_MAXIMUM]))),
    row("Softmax", lanes::SOFTMAX, share!(Op("Exp", &[X]))),
    row("LogSoftmax", lanes::SOFTMAX, Op("Sub", &[BELOW_MAXIMUM, LOGARITHM_OF_SUM])),
    row("LogSoftmax", lanes::SOFTMAX, Op("Sub", &[X, Reduced("ReduceLogSumExp", &X)])),
    row("Gelu", lanes::GELU, product!(X, ONE_AND_ERF, Is(0.5))),
    row("Gelu", lanes::GELU, Op("Div", &[Op("Mul", &[X, ONE_AND_ERF]), Is(2.0)])),
    row("Gelu", lanes::TANH_GELU, product!(X, ONE_AND_TANH, Is(0.5))),
    row("RotaryEmbedding", 1, Op("Add", &[Op("Mul", &[Turned, Given(1)]), Op("Mul", &[X, Given(0)])])),
];

const fn row(name: &'static str, lanes: u64, term: Term) -> Pattern {
    Pattern { name, lanes, term }
}

const MEAN: Term = Reduced("ReduceMean", &X);
const CENTRED: Term = Op("Sub", &[X, MEAN]);
const VARIANCE: Term = Reduced("ReduceMean", &squared!(CENTRED));
const MEAN_SQUARE: Term = Reduced("ReduceMean", &squared!(X));

/// As TensorFlow writes it: the scale goes to the deviation, and the mean to the bias.
const FOLDED_NORMALIZATION: Term =
    Op("Add", &[Op("Mul", &[X, SCALE]), Op("Sub", &[Weight(1), Op("Mul", &[MEAN, SCALE])])]);
const SCALE: Term = Op("Mul", &[inverse_root!(Op("Add", &[VARIANCE, Number])), Weight(0)]);

/// As PyTorch writes it: the scale and the bias are of channels, and come behind.
const NORMALIZED_GROUPS: Term = Op("InstanceNormalization", &[InGroups, All(1.0), All(0.0)]);

const LENGTH: Term = Reduced("ReduceL2", &X);
const NORM: Term = Any(&[LENGTH, Op("Clip", &[LENGTH, Number]), Op("Max", &[LENGTH, Number])]);

const BELOW_MAXIMUM: Term = Op("Sub", &[X, Reduced("ReduceMax", &X)]);
const LOGARITHM_OF_SUM: Term = Op("Log", &[Reduced("ReduceSum", &Op("Exp", &[BELOW_MAXIMUM]))]);

const ONE_AND_ERF: Term =
    Op("Add", &[Op("Erf", &[Any(&[Op("Div", &[X, Is(SQRT_2)]), Op("Mul", &[X, Is(FRAC_1_SQRT_2)])])]), Is(1.0)]);

/// √(2/π)
const SLOPE: Term = Is(0.797_884_560_802_865_4);
const CUBIC: Term = Is(0.044_715);
const CUBE: Term = Any(&[Op("Pow", &[X, Is(3.0)]), Op("Mul", &[Op("Mul", &[X, X]), X])]);
const ONE_AND_TANH: Term = Op("Add", &[Op("Tanh", &[Any(&[OF_CUBE, OF_SQUARE])]), Is(1.0)]);
const OF_CUBE: Term = Op("Mul", &[Op("Add", &[Op("Mul", &[CUBE, CUBIC]), X]), SLOPE]);
const OF_SQUARE: Term = product!(X, SLOPE, Op("Add", &[product!(X, X, CUBIC), Is(1.0)]));
