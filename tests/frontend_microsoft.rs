//! The operators that ONNX Runtime's optimizers and quantizers write, each as a model of its own.
//!
//! The inputs are of shapes that `docs/ContribOperators.md` of ONNX Runtime gives them, and the outputs' shapes and types
//! are those that ONNX Runtime 1.18.1 computed for these inputs (QLinearReduceMean, which it states and does not compute, is
//! as stated). Multiply-accumulates and bytes of weights are products of the sizes.

mod frontend_models;

use frontend_models::{Graph, int, ints};
use layerweaver::frontend::{Options, parse};
use layerweaver::ir::{Op, TensorKind};
use onnx_protobuf::{AttributeProto, Message, OperatorSetIdProto};

/// Numbers of `TensorProto.DataType`.
const UINT8: i32 = 2;
const INT8: i32 = 3;
const INT32: i32 = 6;
const BOOL: i32 = 9;

/// An input of a node.
#[derive(Clone, Copy)]
enum Input {
    /// Given to the model: floats.
    X(&'static [i64]),
    /// Given to the model: of another type.
    Of(i32, &'static [i64]),
    /// A weight of floats.
    Weight(&'static [i64]),
    /// A weight of another type.
    WeightOf(i32, &'static [i64]),
    /// A scale or a zero point of one element.
    Number,
    Absent,
}

use Input::{Absent, Number, Of, Weight, WeightOf, X};

/// What a node comes to.
struct Expected<'a> {
    /// Shape and width of each output.
    outputs: &'a [(&'a [u64], u64)],
    macs: u64,
    weight_bytes: u64,
}

const fn of<'a>(outputs: &'a [(&'a [u64], u64)], macs: u64, weight_bytes: u64) -> Expected<'a> {
    Expected { outputs, macs, weight_bytes }
}

fn check(op: &str, inputs: &[Input], attributes: Vec<AttributeProto>, expected: &Expected<'_>) {
    let mut graph = Graph::new();
    let mut names = Vec::new();
    for (i, input) in inputs.iter().enumerate() {
        let name = format!("input{i}");
        graph = match *input {
            X(shape) => graph.input(&name, shape),
            Of(data_type, shape) => graph.input_of(&name, shape, data_type),
            Weight(shape) => graph.weight(&name, shape),
            WeightOf(data_type, shape) => graph.weight_of(&name, shape, data_type),
            Number => graph.weight_of(&name, &[], UINT8),
            Absent => graph,
        };
        names.push(if matches!(input, Absent) { String::new() } else { name });
    }
    let outputs: Vec<String> = (0..expected.outputs.len()).map(|i| format!("output{i}")).collect();
    let [inputs, made] = [&names, &outputs].map(|names| names.iter().map(String::as_str).collect::<Vec<_>>());
    graph = graph.node(op, &inputs, &made, attributes);
    graph = outputs.iter().fold(graph, |graph, output| graph.output(output, &[]));
    let mut file = graph.model();
    file.opset_import.push(OperatorSetIdProto { domain: "com.microsoft".into(), version: 1, ..Default::default() });
    let proto = file.graph.as_mut().unwrap();
    proto.node[0].domain = "com.microsoft".into();
    proto.output.iter_mut().for_each(|output| output.type_ = None.into());
    let model = parse(file.write_to_bytes().unwrap().into(), op, &Options::default());
    let model = model.unwrap_or_else(|errors| panic!("{op}: {errors}")).model;
    let made = outputs.iter().map(|name| model.tensors.iter().find(|tensor| tensor.name == *name).expect(op));
    let made: Vec<_> = made.map(|tensor| (&tensor.shape[..], tensor.element_bits)).collect();
    let macs: u64 = model.layers.iter().filter(|layer| layer.op == Op::Gemm).map(|layer| layer.whole().volume()).sum();
    let weights = model.tensors.iter().filter(|tensor| tensor.kind == TensorKind::Weight);
    let weight_bits: u64 = weights.map(|tensor| tensor.shape.iter().product::<u64>() * tensor.element_bits).sum();
    let all = (&made[..], macs, weight_bits / 8);
    assert_eq!(all, (expected.outputs, expected.macs, expected.weight_bytes), "{op}");
}

#[test]
fn products() {
    let product = of(&[(&[2, 16, 32], 32)], 2 * 16 * 32 * 64, 2 * 64 * 32 * 4);
    check("FusedMatMul", &[X(&[2, 64, 16]), Weight(&[2, 64, 32])], vec![int("transA", 1)], &product);
    check("TransposeMatMul", &[X(&[2, 16, 64]), Weight(&[2, 32, 64])], vec![int("transB", 1)], &product);
    let gemm = of(&[(&[16, 32], 32)], 16 * 32 * 64, (32 * 64 + 32) * 4);
    check("FusedGemm", &[X(&[16, 64]), Weight(&[32, 64]), Weight(&[32])], vec![int("transB", 1)], &gemm);
    let conv = of(&[(&[1, 16, 6, 6], 32)], 16 * 36 * 8 * 9, (16 * 8 * 9 + 16) * 4);
    let inputs = [X(&[1, 8, 8, 8]), Weight(&[16, 8, 3, 3]), Weight(&[16]), X(&[1, 16, 6, 6])];
    check("FusedConv", &inputs, vec![], &conv);
    // Two blocks of 16 bytes for each of 32 columns, a scale of 4 bytes for each block.
    let bits = of(&[(&[2, 16, 32], 32)], 2 * 16 * 32 * 64, 32 * 2 * 16 + 64 * 4);
    let attributes = vec![int("K", 64), int("N", 32), int("bits", 4), int("block_size", 32)];
    check("MatMulNBits", &[X(&[2, 16, 64]), WeightOf(UINT8, &[32, 2, 16]), Weight(&[64])], attributes, &bits);
}

#[test]
fn products_of_whole_numbers() {
    let (weight, bias) = (WeightOf(INT8, &[64, 32]), WeightOf(INT32, &[32]));
    let narrow = of(&[(&[16, 32], 8)], 16 * 32 * 64, 64 * 32 + 32 * 4);
    let operands = [Of(UINT8, &[16, 64]), Number, Number, weight, Number, Number, bias];
    check("QGemm", &[&operands[..], &[Number, Number]].concat(), vec![], &narrow);
    let wide = of(&[(&[16, 32], 32)], 16 * 32 * 64, 64 * 32 + 32 * 4);
    check("QGemm", &operands, vec![], &wide);
    let biased = of(&[(&[2, 16, 32], 32)], 2 * 16 * 32 * 64, 64 * 32 + 32 * 4);
    let inputs = [Of(UINT8, &[2, 16, 64]), weight, Number, Number, Number, Number, Weight(&[32])];
    check("MatMulIntegerToFloat", &inputs, vec![], &biased);
    check("DynamicQuantizeMatMul", &[X(&[2, 16, 64]), weight, Number, Number, Weight(&[32])], vec![], &biased);
}

#[test]
fn activations_and_normalizations() {
    let same = |weight_bytes| of(&[(&[2, 16, 32], 32)], 0, weight_bytes);
    let x = X(&[2, 16, 32]);
    let weight = Weight(&[32]);
    for (op, inputs, weights) in [
        ("BiasGelu", &[x, weight][..], 1),
        ("FastGelu", &[x, weight], 1),
        ("QuickGelu", &[x], 0),
        ("Gelu", &[x], 0),
        ("SkipLayerNormalization", &[x, x, weight, weight, weight], 3),
        ("SkipSimplifiedLayerNormalization", &[x, x, weight], 1),
        ("SimplifiedLayerNormalization", &[x, weight], 1),
    ] {
        check(op, inputs, vec![], &same(weights * 32 * 4));
    }
    // 32 rows of each of three tables; a scale and a bias.
    let ids = Of(INT32, &[2, 16]);
    let inputs = [ids, ids, Weight(&[100, 32]), Weight(&[64, 32]), Weight(&[2, 32]), weight, weight, ids];
    let outputs = [(&[2u64, 16, 32][..], 32), (&[2], 32), (&[2, 16, 32], 32)];
    check("EmbedLayerNormalization", &inputs, vec![], &of(&outputs, 0, 3 * 32 * 32 * 4 + 2 * 32 * 4));
}

#[test]
fn elements_of_8_bits() {
    let x = Of(UINT8, &[2, 16, 32]);
    let same = of(&[(&[2, 16, 32], 8)], 0, 0);
    let weighted = of(&[(&[2, 16, 32], 8)], 0, 32);
    let other = [x, Number, Number, WeightOf(UINT8, &[32]), Number, Number, Number, Number];
    check("QLinearAdd", &other, vec![], &weighted);
    check("QLinearMul", &other, vec![], &weighted);
    check("QLinearWhere", &[&[Of(BOOL, &[2, 16, 32])], &other[..]].concat(), vec![], &weighted);
    let parameters = [Number; 4];
    let with = |x| [&[x], &parameters[..]].concat();
    check("QLinearSigmoid", &with(x), vec![], &same);
    check("QLinearLeakyRelu", &with(x), vec![], &same);
    check("QLinearSoftmax", &with(x), vec![int("axis", -1), int("opset", 13)], &same);
    let reduced = of(&[(&[2, 16, 1], 8)], 0, 0);
    check("QLinearReduceMean", &with(x), vec![ints("axes", &[2]), int("keepdims", 1)], &reduced);
    let whole = of(&[(&[2, 16, 40], 8)], 0, 0);
    let parts = [Number, Number, x, Number, Number, Of(UINT8, &[2, 16, 8]), Number, Number];
    check("QLinearConcat", &parts, vec![int("axis", 2)], &whole);
    let image = Of(UINT8, &[1, 8, 8, 8]);
    let halved = of(&[(&[1, 8, 4, 4], 8)], 0, 0);
    let window = vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
    check("QLinearAveragePool", &with(image), window, &halved);
    check("QLinearGlobalAveragePool", &with(image), vec![], &of(&[(&[1, 8, 1, 1], 8)], 0, 0));
}

/// Queries, keys and values of 2 · 16 rows are made where the weight is given; then two products of 4 heads of 16.
#[test]
fn attention() {
    let (made, attended) = (2 * 16 * 64 * 192, 2 * (2 * 16 * 16 * 64));
    let heads = || vec![int("num_heads", 4)];
    let y = |macs, weight_bytes| of(&[(&[2, 16, 64], 32)], macs, weight_bytes);
    let inputs = [X(&[2, 16, 64]), Weight(&[64, 192]), Weight(&[192])];
    check("Attention", &inputs, heads(), &y(made + attended, (64 * 192 + 192) * 4));
    let (x, weight) = (Of(UINT8, &[2, 16, 64]), WeightOf(INT8, &[64, 192]));
    let inputs = [x, weight, Weight(&[192]), Number, Number, Absent, Number, Number];
    check("QAttention", &inputs, heads(), &y(made + attended, 64 * 192 + 192 * 4));
    // 24 keys for each query.
    let inputs = [X(&[2, 16, 64]), X(&[2, 24, 64]), X(&[2, 24, 64])];
    check("MultiHeadAttention", &inputs, heads(), &y(2 * (2 * 16 * 24 * 64), 0));
    // Two heads of queries share a key; keys and values of 2 heads are outputs.
    let grouped = [(&[1u64, 16, 64][..], 32), (&[1, 2, 16, 16], 32), (&[1, 2, 16, 16], 32)];
    let inputs = [X(&[1, 16, 64]), X(&[1, 16, 32]), X(&[1, 16, 32])];
    check(
        "GroupQueryAttention",
        &inputs,
        vec![int("num_heads", 4), int("kv_num_heads", 2)],
        &of(&grouped, 2 * (16 * 16 * 64), 0),
    );
    // Tables of cosines and sines.
    let inputs = [X(&[2, 4, 16, 8]), Of(7, &[1]), Weight(&[64, 4]), Weight(&[64, 4])];
    check("RotaryEmbedding", &inputs, vec![], &of(&[(&[2, 4, 16, 8], 32)], 0, 2 * 64 * 4 * 4));
}
