//! The operators that ONNX Runtime's optimizers and quantizers write, each as a model of its own. Each row of the table has a
//! case here.
//!
//! The inputs are of shapes that `docs/ContribOperators.md` of ONNX Runtime gives them, and the outputs' shapes and types
//! are those that ONNX Runtime 1.18.1, of attention, experts and weights in blocks 1.32.0, computed for these inputs (what
//! its CPU does not compute, as QLinearReduceMean, GroupNorm and PagedAttention, is as stated). Multiply-accumulates and
//! bytes of weights are products of the sizes.

mod attention;
#[path = "../frontend_models/mod.rs"]
mod frontend_models;

use std::collections::BTreeSet;

use frontend_models::{Graph, int, ints};
use layerweaver::frontend::{Options, parse};
use layerweaver::ir::{Op, TensorKind};
use onnx_protobuf::{AttributeProto, Message, OperatorSetIdProto, attribute_proto::AttributeType};

/// Numbers of `TensorProto.DataType`.
const UINT8: i32 = 2;
const INT8: i32 = 3;
const INT32: i32 = 6;
const INT64: i32 = 7;
const BOOL: i32 = 9;
const INT16: i32 = 5;
const FLOAT8: i32 = 17;

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
    /// A constant that decides a shape.
    Ints(&'static [i64]),
    /// A scale or a zero point of one element.
    Number,
    Absent,
}

use Input::{Absent, Ints, Number, Of, Weight, WeightOf, X};

/// What a node comes to.
#[derive(Clone, Copy)]
struct Expected {
    /// Shape and width of each output.
    outputs: &'static [(&'static [u64], u64)],
    macs: u64,
    weight_bytes: u64,
}

const fn of(outputs: &'static [(&'static [u64], u64)], macs: u64, weight_bytes: u64) -> Expected {
    Expected { outputs, macs, weight_bytes }
}

/// A node.
struct Case {
    domain: &'static str,
    op: &'static str,
    inputs: Vec<Input>,
    attributes: Vec<AttributeProto>,
    expected: Expected,
}

fn text(name: &str, text: &str) -> AttributeProto {
    let (s, type_) = (text.as_bytes().to_vec(), AttributeType::STRING.into());
    AttributeProto { name: name.into(), s, type_, ..Default::default() }
}

fn case(op: &'static str, inputs: &[Input], attributes: Vec<AttributeProto>, expected: Expected) -> Case {
    Case { domain: "com.microsoft", op, inputs: inputs.to_vec(), attributes, expected }
}

fn cases() -> Vec<Case> {
    let groups =
        [products(), products_of_whole_numbers(), layers(), images(), elements_of_8_bits(), attention::attention()];
    let more = [
        attention::attention_to_the_past(),
        attention::attention_without_padding(),
        attention::experts(),
        attention::weights_in_blocks(),
        blocks_of_channels(),
    ];
    groups.into_iter().chain(more).flatten().collect()
}

/// The operators of a domain, as docs/operators.md lists the rows of the table.
fn rows(domain: &str) -> BTreeSet<String> {
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operators.md")).unwrap();
    let begin = format!("| {domain} | ");
    let row = docs.lines().find_map(|line| line.strip_prefix(&begin)).unwrap();
    row.trim_end_matches(" |").split(", ").map(str::to_owned).collect()
}

#[test]
fn every_operator_has_a_case() {
    for domain in ["com.microsoft", "com.microsoft.nchwc"] {
        let tested: BTreeSet<_> =
            cases().iter().filter(|case| case.domain == domain).map(|case| case.op.to_owned()).collect();
        assert_eq!(tested, rows(domain));
    }
}

#[test]
fn every_case_is_as_onnx_runtime_says() {
    cases().iter().for_each(check);
}

fn check(case: &Case) {
    let Case { domain, op, inputs, attributes, expected } = case;
    let mut graph = Graph::new();
    let mut names = Vec::new();
    for (i, input) in inputs.iter().enumerate() {
        let name = format!("input{i}");
        graph = match *input {
            X(shape) => graph.input(&name, shape),
            Of(data_type, shape) => graph.input_of(&name, shape, data_type),
            Weight(shape) => graph.weight(&name, shape),
            WeightOf(data_type, shape) => graph.weight_of(&name, shape, data_type),
            Ints(ints) => graph.int_tensor(&name, &[ints.len() as i64], ints),
            Number => graph.weight_of(&name, &[], UINT8),
            Absent => graph,
        };
        names.push(if matches!(input, Absent) { String::new() } else { name });
    }
    let outputs: Vec<String> = (0..expected.outputs.len()).map(|i| format!("output{i}")).collect();
    let [inputs, made] = [&names, &outputs].map(|names| names.iter().map(String::as_str).collect::<Vec<_>>());
    graph = graph.node(op, &inputs, &made, attributes.clone());
    graph = outputs.iter().fold(graph, |graph, output| graph.output(output, &[]));
    let mut file = graph.model();
    file.opset_import.push(OperatorSetIdProto { domain: (*domain).into(), version: 1, ..Default::default() });
    let proto = file.graph.as_mut().unwrap();
    proto.node[0].domain = (*domain).into();
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

fn products() -> Vec<Case> {
    let product = of(&[(&[2, 16, 32], 32)], 2 * 16 * 32 * 64, 2 * 64 * 32 * 4);
    let gemm = of(&[(&[16, 32], 32)], 16 * 32 * 64, (32 * 64 + 32) * 4);
    // Two blocks of 16 bytes for each of 32 columns, a scale of 4 bytes for each block.
    let bits = of(&[(&[2, 16, 32], 32)], 2 * 16 * 32 * 64, 32 * 2 * 16 + 64 * 4);
    // And a byte with two zero points of 4 bits for each column.
    let shifted = of(&[(&[2, 16, 32], 32)], 2 * 16 * 32 * 64, 32 * 2 * 16 + 64 * 4 + 32);
    let with_zeros = [X(&[2, 16, 64]), WeightOf(UINT8, &[32, 2, 16]), Weight(&[64]), WeightOf(UINT8, &[32])];
    let of_bits = vec![int("K", 64), int("N", 32), int("bits", 4), int("block_size", 32)];
    let turned = || vec![int("transA", 1), text("activation", "Relu")];
    let gemm_inputs = [X(&[16, 64]), Weight(&[32, 64]), Weight(&[32])];
    vec![
        case("FusedMatMul", &[X(&[2, 64, 16]), Weight(&[2, 64, 32])], vec![int("transA", 1)], product),
        case("TransposeMatMul", &[X(&[2, 16, 64]), Weight(&[2, 32, 64])], vec![int("transB", 1)], product),
        case("FusedGemm", &gemm_inputs, vec![int("transB", 1)], gemm),
        case("GemmFloat8", &gemm_inputs, vec![int("transB", 1), int("dtype", 1)], gemm),
        case("GemmFastGelu", &[X(&[16, 64]), Weight(&[64, 32]), Weight(&[32])], vec![], gemm),
        case("FusedMatMulActivation", &[X(&[2, 64, 16]), Weight(&[2, 64, 32])], turned(), product),
        case("MatMulNBits", &[X(&[2, 16, 64]), WeightOf(UINT8, &[32, 2, 16]), Weight(&[64])], of_bits.clone(), bits),
        case("MatMulNBits", &with_zeros, of_bits, shifted),
    ]
}

/// One column of 4 blocks reads the scales of its blocks, and the two bytes with its zero points, not all of them.
#[test]
fn zero_points_are_read_by_column() {
    let graph = Graph::new().input("x", &[16, 128]).weight_of("w", &[32, 4, 16], UINT8).weight("s", &[128]);
    let graph = graph.weight_of("z", &[64], UINT8).output("y", &[16, 32]);
    let attributes = vec![int("K", 128), int("N", 32), int("bits", 4), int("block_size", 32)];
    let mut file = graph.node("MatMulNBits", &["x", "w", "s", "z"], &["y"], attributes).model();
    file.opset_import.push(OperatorSetIdProto { domain: "com.microsoft".into(), version: 1, ..Default::default() });
    file.graph.as_mut().unwrap().node[0].domain = "com.microsoft".into();
    let model = parse(file.write_to_bytes().unwrap().into(), "model", &Options::default()).unwrap().model;
    let layer = model.layers.iter().next().unwrap();
    let column = layer.dims.iter().position(|dim| dim.name == "n").unwrap();
    let mut tile = layer.whole();
    tile.0[column].end = 1;
    let touched =
        |read: &layerweaver::ir::Operand| read.touched(&tile, &model.tensors[read.tensor].shape).unwrap().volume();
    assert_eq!(layer.reads.iter().map(touched).collect::<Vec<_>>(), [16 * 128, 4 * 16, 4, 2]);
}

fn products_of_whole_numbers() -> Vec<Case> {
    let (weight, bias) = (WeightOf(INT8, &[64, 32]), WeightOf(INT32, &[32]));
    let narrow = of(&[(&[16, 32], 8)], 16 * 32 * 64, 64 * 32 + 32 * 4);
    let operands = [Of(UINT8, &[16, 64]), Number, Number, weight, Number, Number, bias];
    let wide = of(&[(&[16, 32], 32)], 16 * 32 * 64, 64 * 32 + 32 * 4);
    let biased = of(&[(&[2, 16, 32], 32)], 2 * 16 * 32 * 64, 64 * 32 + 32 * 4);
    let of_16 = of(&[(&[16, 32], 32)], 16 * 32 * 64, 64 * 32 * 2);
    let to_float = [Of(UINT8, &[2, 16, 64]), weight, Number, Number, Number, Number, Weight(&[32])];
    vec![
        case("QGemm", &[&operands[..], &[Number, Number]].concat(), vec![], narrow),
        case("QGemm", &operands, vec![], wide),
        case("MatMulInteger16", &[Of(INT16, &[16, 64]), WeightOf(INT16, &[64, 32])], vec![], of_16),
        case("MatMulIntegerToFloat", &to_float, vec![], biased),
        case("DynamicQuantizeMatMul", &[X(&[2, 16, 64]), weight, Number, Number, Weight(&[32])], vec![], biased),
    ]
}

fn layers() -> Vec<Case> {
    let same = |weights: u64| of(&[(&[2, 16, 32], 32)], 0, weights * 32 * 4);
    let (x, weight) = (X(&[2, 16, 32]), Weight(&[32]));
    // 32 rows of each of three tables; a scale and a bias.
    let ids = Of(INT32, &[2, 16]);
    let embedded = [ids, ids, Weight(&[100, 32]), Weight(&[64, 32]), Weight(&[2, 32]), weight, weight, ids];
    let tables = of(&[(&[2, 16, 32], 32), (&[2], 32), (&[2, 16, 32], 32)], 0, 3 * 32 * 32 * 4 + 2 * 32 * 4);
    let (table, scale) = (|rows| WeightOf(UINT8, rows), WeightOf(UINT8, &[32]));
    let tables_of_8 = [table(&[100, 32]), table(&[64, 32]), table(&[2, 32]), scale, scale];
    let quantised = [&[ids, ids][..], &tables_of_8, &[ids], &[Number; 10]].concat();
    let narrow_tables = of(&[(&[2, 16, 32], 32), (&[2], 32)], 0, 3 * 32 * 32 + 2 * 32);
    // 5 steps of 2 rows, 4 gates of 16 elements from 8 of the input and 16 of the state.
    let steps = of(&[(&[5, 1, 2, 16], 32), (&[1, 2, 16], 32)], 5 * 2 * 4 * 16 * (8 + 16), 4 * 16 * (8 + 16) + 128 * 4);
    let weights = [WeightOf(INT8, &[1, 8, 64]), WeightOf(INT8, &[1, 16, 64]), Weight(&[1, 128])];
    let lstm = [&[X(&[5, 2, 8])], &weights[..], &[Absent; 4], &[Number; 4]].concat();
    vec![
        case("BiasAdd", &[x, weight, x], vec![], same(1)),
        case("BiasGelu", &[x, weight], vec![], same(1)),
        case("BiasSplitGelu", &[X(&[2, 16, 64]), Weight(&[64])], vec![], same(2)),
        case("FastGelu", &[x, weight], vec![], same(1)),
        case("QuickGelu", &[x], vec![], same(0)),
        case("Gelu", &[x], vec![], same(0)),
        case("SkipLayerNormalization", &[x, x, weight, weight, weight], vec![], same(3)),
        case("SkipSimplifiedLayerNormalization", &[x, x, weight], vec![], same(1)),
        case("EmbedLayerNormalization", &embedded, vec![], tables),
        case("QEmbedLayerNormalization", &quantised, vec![], narrow_tables),
        case("BiasSoftmax", &[x, X(&[1, 16, 32])], vec![int("axis", 2)], same(0)),
        case("Trilu", &[x], vec![], same(0)),
        case("DynamicQuantizeLSTM", &lstm, vec![int("hidden_size", 16)], steps),
    ]
}

fn images() -> Vec<Case> {
    let (weight, bias) = (Weight(&[16, 8, 3, 3]), Weight(&[16]));
    let (macs, bytes) = (16 * 36 * 8 * 9, (16 * 8 * 9 + 16) * 4);
    let first = of(&[(&[1, 16, 6, 6], 32)], macs, bytes);
    let last = of(&[(&[1, 6, 6, 16], 32)], macs, bytes);
    let window = || vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
    let normalized = of(&[(&[1, 6, 7, 16], 32)], 0, 2 * 16 * 4);
    let (x, parameter) = (X(&[1, 6, 7, 16]), Weight(&[16]));
    let both = of(&[(&[1, 6, 7, 16], 32), (&[1, 6, 7, 16], 32)], 0, 3 * 16 * 4);
    let causal = of(&[(&[2, 8, 6], 32), (&[2, 8, 3], 32)], 0, (8 * 4 + 8) * 4);
    // Two more rows of 9, and of each row an element before and two behind.
    let padded = of(&[(&[1, 8, 8, 12], 32)], 0, 0);
    let pads = Ints(&[0, 0, 1, 1, 0, 0, 1, 2]);
    vec![
        case("FusedConv", &[X(&[1, 8, 8, 8]), weight, bias, X(&[1, 16, 6, 6])], vec![], first),
        case("NhwcConv", &[X(&[1, 8, 8, 8]), weight, bias], vec![], last),
        case("NhwcFusedConv", &[X(&[1, 8, 8, 8]), weight, bias, X(&[1, 6, 6, 16])], vec![], last),
        case("NhwcMaxPool", &[Of(UINT8, &[1, 8, 6, 5])], window(), of(&[(&[1, 4, 3, 5], 8)], 0, 0)),
        case("GridSample", &[X(&[1, 3, 8, 8]), X(&[1, 4, 5, 2])], vec![], of(&[(&[1, 3, 4, 5], 32)], 0, 0)),
        case("CausalConvWithState", &[X(&[2, 8, 6]), Weight(&[8, 1, 4]), Weight(&[8]), X(&[2, 8, 3])], vec![], causal),
        case("GroupNorm", &[x, parameter, parameter], vec![int("groups", 4)], normalized),
        case("SkipGroupNorm", &[x, parameter, parameter, x, parameter], vec![int("groups", 4)], both),
        case("Pad", &[X(&[1, 8, 6, 9]), pads], vec![], padded),
    ]
}

fn elements_of_8_bits() -> Vec<Case> {
    let x = Of(UINT8, &[2, 16, 32]);
    let same = of(&[(&[2, 16, 32], 8)], 0, 0);
    let weighted = of(&[(&[2, 16, 32], 8)], 0, 32);
    let other = [x, Number, Number, WeightOf(UINT8, &[32]), Number, Number, Number, Number];
    let parameters = [Number; 4];
    let with = |x| [&[x], &parameters[..]].concat();
    let reduced = of(&[(&[2, 16, 1], 8)], 0, 0);
    let whole = of(&[(&[2, 16, 40], 8)], 0, 0);
    let parts = [Number, Number, x, Number, Number, Of(UINT8, &[2, 16, 8]), Number, Number];
    let image = Of(UINT8, &[1, 8, 8, 6]);
    let window = || vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
    let last = || int("channels_last", 1);
    let (halved, halved_last) = (of(&[(&[1, 8, 4, 3], 8)], 0, 0), of(&[(&[1, 4, 4, 6], 8)], 0, 0));
    let (weight, bias) = (WeightOf(INT8, &[16, 8, 3, 3]), WeightOf(INT32, &[16]));
    let convolved = |image| [Of(UINT8, image), Number, Number, weight, Number, Number, Number, Number, bias];
    let (macs, bytes) = (16 * 24 * 8 * 9, 16 * 8 * 9 + 16 * 4);
    vec![
        case("QuantizeLinear", &[X(&[2, 16, 32]), Weight(&[]), Number], vec![], same),
        case("DequantizeLinear", &[x, Weight(&[]), Number], vec![], of(&[(&[2, 16, 32], 32)], 0, 0)),
        case("QLinearAdd", &other, vec![], weighted),
        case("QLinearMul", &other, vec![], weighted),
        case("QLinearWhere", &[&[Of(BOOL, &[2, 16, 32])], &other[..]].concat(), vec![], weighted),
        case("QLinearSigmoid", &with(x), vec![], same),
        case("QLinearLeakyRelu", &with(x), vec![], same),
        case("QLinearSoftmax", &with(x), vec![int("axis", -1), int("opset", 13)], same),
        case("QLinearReduceMean", &with(x), vec![ints("axes", &[2]), int("keepdims", 1)], reduced),
        case("QLinearConcat", &parts, vec![int("axis", 2)], whole),
        case("QLinearAveragePool", &with(image), window(), halved),
        case("QLinearAveragePool", &with(image), [window(), vec![last()]].concat(), halved_last),
        case("QLinearGlobalAveragePool", &with(image), vec![], of(&[(&[1, 8, 1, 1], 8)], 0, 0)),
        case("QLinearGlobalAveragePool", &with(image), vec![last()], of(&[(&[1, 1, 1, 6], 8)], 0, 0)),
        case("QLinearConv", &convolved(&[1, 8, 8, 6]), vec![], of(&[(&[1, 16, 6, 4], 8)], macs, bytes)),
        case("QLinearConv", &convolved(&[1, 8, 6, 8]), vec![last()], of(&[(&[1, 6, 4, 16], 8)], macs, bytes)),
    ]
}

/// Of 16 channels 12 are there.
fn blocks_of_channels() -> Vec<Case> {
    let image = X(&[1, 16, 8, 6]);
    let window = || vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
    let halved = of(&[(&[1, 16, 4, 3], 32)], 0, 0);
    let one = of(&[(&[1, 16, 1, 1], 32)], 0, 0);
    let convolved = of(&[(&[1, 32, 8, 6], 32)], 32 * 48 * 16, 32 * 16 * 4);
    let cases = vec![
        case("Conv", &[image, Weight(&[32, 16, 1, 1])], vec![], convolved),
        case("MaxPool", &[image], window(), halved),
        case("AveragePool", &[image], window(), halved),
        case("GlobalAveragePool", &[image], vec![], one),
        case("GlobalMaxPool", &[image], vec![], one),
        case("Upsample", &[image], vec![ints("scales", &[1, 1, 2, 2])], of(&[(&[1, 16, 16, 12], 32)], 0, 0)),
        case("ReorderInput", &[image], vec![], of(&[(&[1, 16, 8, 6], 32)], 0, 0)),
        case("ReorderOutput", &[image], vec![int("channels", 12)], of(&[(&[1, 12, 8, 6], 32)], 0, 0)),
    ];
    cases.into_iter().map(|case| Case { domain: "com.microsoft.nchwc", ..case }).collect()
}
