//! The operators: one table, and for each a short function that gives shapes and loop nest together.
//!
//! A new operator is a row in [`OPS`] and, if no function that is there fits it, one that reads the node through its
//! [`Context`] and returns a [`Lowered`]: a fact for each output, and the [`Form`] of the work. A function never names
//! its node, and never looks beyond it: fusion, views and constants are the callers' matter.

mod context;
mod conv;
mod einsum;
mod gather;
mod lanes;
mod matmul;
mod movement;
mod nest;
mod normalize;
mod pointwise;
mod pool;
mod shape;
mod window;

use super::fact::Fact;
use super::graph::Node;
use super::view;
use crate::ir::Access;

pub(super) use context::{Context, Refusal, shown};
pub(super) use lanes::MOVE;
pub(super) use movement::shifted;
pub(super) use nest::{Nest, Read, Source, input_of};

/// An operator.
pub(super) struct Op {
    pub(super) name: &'static str,
    /// The first version of its domain whose form of the operator is read right.
    pub(super) since: i64,
    pub(super) lower: fn(&Context<'_>) -> Result<Lowered, Refusal>,
}

/// Every operator of ONNX's own domain that is known, by name.
pub(super) const OPS: &[Op] = &[
    Op { name: "Abs", since: 1, lower: pointwise::unary },
    Op { name: "Add", since: 7, lower: pointwise::arithmetic },
    Op { name: "And", since: 7, lower: pointwise::logic },
    Op { name: "AveragePool", since: 1, lower: pool::pool },
    Op { name: "BatchNormalization", since: 7, lower: pointwise::batch_normalization },
    Op { name: "Cast", since: 6, lower: pointwise::cast },
    Op { name: "Clip", since: 1, lower: pointwise::unary },
    Op { name: "Concat", since: 4, lower: movement::concat },
    Op { name: "Constant", since: 1, lower: shape::constant },
    Op { name: "ConstantOfShape", since: 9, lower: shape::constant_of_shape },
    Op { name: "Conv", since: 1, lower: conv::conv },
    Op { name: "Cos", since: 7, lower: pointwise::unary },
    Op { name: "Div", since: 7, lower: pointwise::arithmetic },
    Op { name: "Dropout", since: 7, lower: movement::identity },
    Op { name: "Einsum", since: 12, lower: einsum::einsum },
    Op { name: "Elu", since: 6, lower: pointwise::unary },
    Op { name: "Equal", since: 7, lower: pointwise::logic },
    Op { name: "Erf", since: 9, lower: pointwise::unary },
    Op { name: "Exp", since: 6, lower: pointwise::unary },
    Op { name: "Expand", since: 8, lower: movement::expand },
    Op { name: "EyeLike", since: 9, lower: shape::eye_like },
    Op { name: "Flatten", since: 1, lower: movement::flatten },
    Op { name: "Gather", since: 1, lower: gather::gather },
    Op { name: "Gelu", since: 20, lower: pointwise::unary },
    Op { name: "Gemm", since: 7, lower: matmul::gemm },
    Op { name: "GlobalAveragePool", since: 1, lower: pool::global },
    Op { name: "GlobalMaxPool", since: 1, lower: pool::global },
    Op { name: "Greater", since: 7, lower: pointwise::logic },
    Op { name: "GreaterOrEqual", since: 12, lower: pointwise::logic },
    Op { name: "HardSigmoid", since: 6, lower: pointwise::unary },
    Op { name: "HardSwish", since: 14, lower: pointwise::unary },
    Op { name: "Identity", since: 1, lower: movement::identity },
    Op { name: "LayerNormalization", since: 17, lower: normalize::layer_normalization },
    Op { name: "LeakyRelu", since: 6, lower: pointwise::unary },
    Op { name: "Less", since: 7, lower: pointwise::logic },
    Op { name: "LessOrEqual", since: 12, lower: pointwise::logic },
    Op { name: "Log", since: 6, lower: pointwise::unary },
    Op { name: "LogSoftmax", since: 1, lower: normalize::softmax },
    Op { name: "MatMul", since: 1, lower: matmul::matmul },
    Op { name: "Max", since: 8, lower: pointwise::arithmetic },
    Op { name: "MaxPool", since: 1, lower: pool::pool },
    Op { name: "Min", since: 8, lower: pointwise::arithmetic },
    Op { name: "Mod", since: 10, lower: pointwise::arithmetic },
    Op { name: "Mul", since: 7, lower: pointwise::arithmetic },
    Op { name: "Neg", since: 6, lower: pointwise::unary },
    Op { name: "Not", since: 1, lower: pointwise::logic },
    Op { name: "OneHot", since: 9, lower: gather::one_hot },
    Op { name: "Or", since: 7, lower: pointwise::logic },
    Op { name: "PRelu", since: 7, lower: pointwise::arithmetic },
    Op { name: "Pow", since: 7, lower: pointwise::arithmetic },
    Op { name: "Range", since: 11, lower: shape::range },
    Op { name: "Reciprocal", since: 6, lower: pointwise::unary },
    Op { name: "ReduceMax", since: 1, lower: normalize::reduce },
    Op { name: "ReduceMean", since: 1, lower: normalize::reduce },
    Op { name: "ReduceMin", since: 1, lower: normalize::reduce },
    Op { name: "ReduceSum", since: 1, lower: normalize::reduce },
    Op { name: "Relu", since: 6, lower: pointwise::unary },
    Op { name: "Reshape", since: 1, lower: movement::reshape },
    Op { name: "Shape", since: 1, lower: shape::shape },
    Op { name: "Sigmoid", since: 6, lower: pointwise::unary },
    Op { name: "Sin", since: 7, lower: pointwise::unary },
    Op { name: "Slice", since: 1, lower: movement::slice },
    Op { name: "Softmax", since: 1, lower: normalize::softmax },
    Op { name: "Softplus", since: 1, lower: pointwise::unary },
    Op { name: "Split", since: 2, lower: movement::split },
    Op { name: "Sqrt", since: 6, lower: pointwise::unary },
    Op { name: "Squeeze", since: 1, lower: movement::squeeze },
    Op { name: "Sub", since: 7, lower: pointwise::arithmetic },
    Op { name: "Tanh", since: 6, lower: pointwise::unary },
    Op { name: "Transpose", since: 1, lower: movement::transpose },
    Op { name: "Unsqueeze", since: 1, lower: movement::unsqueeze },
    Op { name: "Where", since: 9, lower: pointwise::choose },
    Op { name: "Xor", since: 7, lower: pointwise::logic },
];

/// What an operator is.
#[derive(Debug)]
pub(super) struct Lowered {
    /// A fact for each output that the operator has, asked for or not.
    pub(super) outputs: Vec<Fact>,
    pub(super) form: Form,
    /// What the user should know of it.
    pub(super) warning: Option<String>,
}

/// The work of an operator.
#[derive(Debug)]
pub(super) enum Form {
    /// None: the outputs are known before the model runs.
    Constant,
    /// A loop nest that makes the first output.
    Nest(Nest),
    /// The same few operations for each element of the one output.
    Pointwise(Pointwise),
    /// Each output has elements of the first input, seen through an index map.
    Views(Vec<View>),
    /// The inputs side by side along an axis.
    Concat {
        /// Which.
        axis: usize,
    },
}

/// The work of a pointwise operator.
#[derive(Debug)]
pub(super) struct Pointwise {
    /// Operations of a vector lane for each element.
    pub(super) lanes: u64,
    pub(super) operands: Vec<PointwiseOperand>,
}

/// What a pointwise operator reads.
#[derive(Debug)]
pub(super) struct PointwiseOperand {
    /// Which input of the node.
    pub(super) input: usize,
    /// The element that an element of the output needs.
    pub(super) access: Access,
    /// Whether it scales its channel, so that the weights of a convolution just before can take it up.
    pub(super) is_scale: bool,
}

/// An output that has the elements of an input.
#[derive(Debug)]
pub(super) struct View {
    /// The input's index as a function of the output's; `None` where it is not affine.
    pub(super) read: Option<Access>,
    /// The output's index as a function of the input's; `None` where it is not affine, or not all elements stay.
    pub(super) write: Option<Access>,
}

impl Lowered {
    pub(super) fn new(outputs: Vec<Fact>, form: Form) -> Self {
        Self { outputs, form, warning: None }
    }
}

impl From<view::OutOfRange> for Refusal {
    fn from(_: view::OutOfRange) -> Self {
        Refusal::new("has sizes or attributes that are out of range")
    }
}

/// The row of a node's operator.
pub(super) fn find(node: &Node) -> Option<&'static Op> {
    let row = || OPS.binary_search_by(|op| op.name.cmp(&node.name.op)).ok();
    if node.domain.is_empty() { row().map(|row| &OPS[row]) } else { None }
}

/// An operator without a row, whose outputs the file declares: work of the vector unit that needs all its inputs.
pub(super) fn unknown(cx: &Context<'_>, outputs: Vec<Fact>) -> Lowered {
    let mut nest = Nest::vector(lanes::MOVE);
    nest.write = outputs.first().map(|fact| nest.axes(&fact.shape, |_| false)).unwrap_or_default();
    nest.reads = (0..cx.input_count()).map(|i| Read { source: Source::Input(i), access: None }).collect();
    let warning = "is not known; costed as one vector operation for each element of its output".to_owned();
    Lowered { outputs, form: Form::Nest(nest), warning: Some(warning) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_has_each_name_once() {
        assert!(OPS.is_sorted_by(|a, b| a.name < b.name));
    }
}
