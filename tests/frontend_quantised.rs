//! Quantised models, as ONNX Runtime's quantizers write them: pairs of QuantizeLinear and DequantizeLinear around each
//! operator, operators of whole numbers, and weights alone.

mod frontend_models;

use frontend_models::{Graph, int, ints};
use layerweaver::frontend::{FloatBits, Import, Options, parse};
use layerweaver::ir::{Affine, Layer, Model, TensorKind};

/// Numbers of `TensorProto.DataType`.
const INT8: i32 = 3;
const INT32: i32 = 6;
const FLOAT16: i32 = 10;
const FLOAT8: i32 = 17;
const UINT4: i32 = 21;
const INT4: i32 = 22;

fn import(graph: &Graph) -> Import {
    parse(graph.bytes(), "model", &Options::default()).unwrap_or_else(|errors| panic!("{errors}"))
}

fn model(graph: &Graph) -> Model {
    let import = import(graph);
    assert!(import.warnings.is_empty(), "{:?}", import.warnings);
    import.model
}

fn kinds(model: &Model) -> Vec<&str> {
    model.layers.iter().map(|layer| layer.kind.as_str()).collect()
}

/// The width of an element of each operand, and of the result.
fn widths(model: &Model, layer: &Layer) -> (Vec<u64>, u64) {
    let width = |operand: &layerweaver::ir::Operand| model.tensors[operand.tensor].element_bits;
    (layer.reads.iter().map(width).collect(), width(layer.write.as_ref().unwrap()))
}

fn all_widths(model: &Model) -> Vec<(Vec<u64>, u64)> {
    model.layers.iter().map(|layer| widths(model, layer)).collect()
}

fn weight_bits(model: &Model) -> u64 {
    let weights = model.tensors.iter().filter(|tensor| tensor.kind == TensorKind::Weight);
    weights.map(|tensor| tensor.shape.iter().product::<u64>() * tensor.element_bits).sum()
}

/// A value, quantised by the scale `s` and dequantised again: `{to}` is what `{from}` becomes.
fn pair(graph: Graph, from: &str, to: &str) -> Graph {
    let narrow = format!("{to}_q");
    graph.node("QuantizeLinear", &[from, "s", "zero"], &[&narrow], vec![]).node(
        "DequantizeLinear",
        &[&narrow, "s", "zero"],
        &[to],
        vec![],
    )
}

fn with_scale() -> Graph {
    Graph::new().number("s", 0.5).weight_of("zero", &[], INT8)
}

/// A weight of 8 bits with a scale for each row, and a bias of 32, dequantised to `{name}` and `{name}_b`.
fn parameters(graph: Graph, name: &str, shape: &[i64]) -> Graph {
    let [stored, scales, bias, wide] = ["w", "ws", "bq", "b"].map(|part| format!("{name}_{part}"));
    graph
        .weight_of(&stored, shape, INT8)
        .weight(&scales, &shape[..1])
        .weight_of(&bias, &shape[..1], INT32)
        .node("DequantizeLinear", &[&stored, &scales], &[name], vec![int("axis", 0)])
        .node("DequantizeLinear", &[&bias, &scales], &[&wide], vec![int("axis", 0)])
}

fn convolution(graph: Graph, name: &str, shape: &[i64], from: &str, to: &str) -> Graph {
    let pads = shape[2] / 2;
    let pads = ints("pads", &[pads; 4]);
    parameters(graph, name, shape).node("Conv", &[from, name, &format!("{name}_b")], &[to], vec![pads])
}

/// A small network with a pair around each operator: all between its input and its output is of 8 bits, and the bias of
/// 32. Weights: 16·8·9 + 10·256 bytes, biases and a scale for each channel: (16 + 10)·4 bytes each. The scales of the biases
/// are not read.
#[test]
fn pairs_around_operators_vanish() {
    let graph = pair(with_scale().input("x", &[1, 8, 8, 8]), "x", "xd");
    let graph = convolution(graph, "w", &[16, 8, 3, 3], "xd", "c").node("Relu", &["c"], &["r"], vec![]);
    let pool = vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
    let graph = pair(graph, "r", "rd").node("MaxPool", &["rd"], &["p"], pool);
    let graph = pair(graph, "p", "pd").node("Flatten", &["pd"], &["f"], vec![]);
    let graph = parameters(pair(graph, "f", "fd"), "v", &[10, 256]);
    let graph = graph.node("Gemm", &["fd", "v", "v_b"], &["g"], vec![int("transB", 1)]);
    let model = model(&pair(graph, "g", "y").output("y", &[1, 10]));
    assert_eq!(kinds(&model), ["QuantizeLinear", "Conv", "MaxPool", "Gemm"]);
    let expected = [(vec![32], 8), (vec![8, 8, 32, 32], 8), (vec![8], 8), (vec![8, 8, 32, 32], 32)];
    assert_eq!(all_widths(&model), expected, "the output is dequantised where it is made");
    let volumes: Vec<_> = model.layers.iter().map(|layer| layer.whole().volume()).collect();
    assert_eq!(volumes, [8 * 64, 16 * 64 * 8 * 9, 16 * 16 * 4, 10 * 256]);
    assert_eq!(weight_bits(&model), 8 * (16 * 8 * 9 + 10 * 256) + 2 * 32 * (16 + 10));
}

/// What a convolution makes is quantised, and again when the shortcut is added: still one layer of 8 bits.
#[test]
fn a_residual_addition_joins_through_its_pair() {
    let graph = pair(with_scale().input("x", &[1, 8, 8, 8]), "x", "xd");
    let graph = convolution(graph, "w", &[8, 8, 3, 3], "xd", "c");
    let graph = pair(graph, "c", "cd").node("Add", &["cd", "xd"], &["sum"], vec![]);
    let graph = convolution(pair(graph, "sum", "sd"), "v", &[8, 8, 1, 1], "sd", "y").output("y", &[1, 8, 8, 8]);
    let model = model(&graph);
    assert_eq!(kinds(&model), ["QuantizeLinear", "Conv", "Conv"]);
    assert_eq!(all_widths(&model)[1..], [(vec![8, 8, 32, 32, 8], 8), (vec![8, 8, 32, 32], 32)]);
}

/// ONNX Runtime's DedicatedQDQPair gives each reader a pair of its own: the layers are those of one pair for all. A weight
/// that two convolutions share is dequantised for each, and is still one tensor.
#[test]
fn a_pair_for_each_reader_is_one_pair() {
    let residual = |pairs: [&str; 3], scales: [&str; 2], weights: [&str; 2]| {
        let graph = pair(with_scale().number("again", 0.5).number("other", 0.25).input("x", &[1, 8, 8, 8]), "x", "xd");
        let mut graph = convolution(graph, "w", &[8, 8, 1, 1], "xd", "c").node("Relu", &["c"], &["r"], vec![]);
        for (i, read) in pairs.iter().enumerate().filter(|&(i, read)| !pairs[..i].contains(read)) {
            let (narrow, scale) = (format!("{read}_q"), scales[usize::from(i > 0)]);
            graph = graph.node("QuantizeLinear", &["r", scale, "zero"], &[&narrow], vec![]);
            graph = graph.node("DequantizeLinear", &[&narrow, scale, "zero"], &[read], vec![]);
        }
        let graph = graph.weight_of("k_w", &[8, 8, 1, 1], INT8).weight("k_s", &[8]);
        let graph = weights
            .iter()
            .enumerate()
            .filter(|&(i, read)| !weights[..i].contains(read))
            .fold(graph, |graph, (_, weight)| {
                graph.node("DequantizeLinear", &["k_w", "k_s"], &[weight], vec![int("axis", 0)])
            });
        let graph = graph.node("Conv", &[pairs[0], weights[0]], &["a"], vec![]);
        let graph = pair(graph.node("Conv", &[pairs[1], weights[1]], &["b"], vec![]), "b", "bd");
        let graph = pair(graph, "a", "ad").node("Add", &["bd", pairs[2]], &["sum"], vec![]);
        model(&graph.node("Mul", &["sum", "ad"], &["y"], vec![]).output("y", &[1, 8, 8, 8]))
    };
    let shared = residual(["d1", "d1", "d1"], ["s", "s"], ["k", "k"]);
    assert_eq!(kinds(&shared), ["QuantizeLinear", "Conv", "Conv", "Conv"]);
    let parts = |model: &Model| {
        (model.layers.clone(), model.tensors.iter().map(|tensor| tensor.shape.clone()).collect::<Vec<_>>())
    };
    for scales in [["s", "s"], ["s", "again"]] {
        let dedicated = residual(["d1", "d2", "d3"], scales, ["k", "l"]);
        assert_eq!(parts(&dedicated), parts(&shared), "{scales:?}");
    }
    let by_another = residual(["d1", "d2", "d3"], ["s", "other"], ["k", "k"]);
    assert_ne!(kinds(&by_another), kinds(&shared), "by another scale it is not the same");
}

/// Two branches are written into their parts of a tensor of 8 bits. One that is used elsewhere too by another scale is
/// moved there: 5 operations of a lane for each element, which quantise it anew.
#[test]
fn a_concat_is_quantised_part_by_part() {
    let whole = |scale: &str| {
        let graph = pair(with_scale().number("other", 0.25).input("x", &[1, 8, 4, 4]), "x", "xd");
        let graph = pair(convolution(graph, "w", &[8, 8, 1, 1], "xd", "a"), "a", "ad");
        let graph = pair(convolution(graph, "v", &[8, 8, 1, 1], "xd", "b"), "b", "bd");
        let graph = graph.node("Concat", &["ad", "bd"], &["ab"], vec![int("axis", 1)]);
        let graph = graph.node("QuantizeLinear", &["ab", scale, "zero"], &["q"], vec![]);
        let graph = graph.node("DequantizeLinear", &["q", scale, "zero"], &["d"], vec![]);
        convolution(graph, "u", &[4, 16, 1, 1], "d", "y").output("y", &[1, 4, 4, 4])
    };
    for scale in ["s", "other"] {
        let model = model(&whole(scale));
        assert_eq!(kinds(&model), ["QuantizeLinear", "Conv", "Conv", "Conv"]);
        assert_eq!(
            all_widths(&model)[1..],
            [(vec![8, 8, 32, 32], 8), (vec![8, 8, 32, 32], 8), (vec![8, 8, 32, 32], 32)]
        );
    }
    let shared = |scale| convolution(whole(scale), "t", &[4, 8, 1, 1], "ad", "z").output("z", &[1, 4, 4, 4]);
    assert_eq!(kinds(&model(&shared("s"))), ["QuantizeLinear", "Conv", "Conv", "Conv", "Conv"]);
    let shared = model(&shared("other"));
    let part = shared.layers.iter().find(|layer| layer.kind == "Concat").unwrap();
    assert_eq!((widths(&shared, part), part.lane_operations), ((vec![8], 8), 5));
    assert_eq!(part.nodes, ["ab", "q"], "what quantises it is part of it");
}

/// Heads of queries that are 8 bits wide are seen through a reshape and a transposition, each with a pair of the same
/// scale. By another scale the elements are others, so that a layer makes them.
#[test]
fn a_pair_between_views_is_no_work_unless_it_changes_the_scale() {
    let heads = |scale: &str| {
        let graph =
            with_scale().number("other", 0.25).input("x", &[1, 16, 32]).int_tensor("split", &[4], &[1, 16, 4, 8]);
        let graph = pair(graph, "x", "xd").node("Reshape", &["xd", "split"], &["h"], vec![]);
        let graph = pair(graph, "h", "hd").node("Transpose", &["hd"], &["t"], vec![ints("perm", &[0, 2, 1, 3])]);
        let graph = graph.node("QuantizeLinear", &["t", scale, "zero"], &["tq"], vec![]);
        let graph =
            graph.node("DequantizeLinear", &["tq", scale, "zero"], &["td"], vec![]).weight_of("wq", &[8, 8], INT8);
        let graph = graph.node("DequantizeLinear", &["wq", "s"], &["w"], vec![]);
        // `xd` is read twice, so that no view can join what makes it.
        let graph = graph.node("MatMul", &["td", "w"], &["y"], vec![]).node("Relu", &["xd"], &["r"], vec![]);
        model(&graph.output("y", &[1, 4, 16, 8]).output("r", &[1, 16, 32]))
    };
    let same = heads("s");
    assert_eq!(kinds(&same), ["QuantizeLinear", "MatMul", "Relu"]);
    assert_eq!(all_widths(&same), [(vec![32], 8), (vec![8, 8], 32), (vec![8], 32)]);
    let other = heads("other");
    // The Relu first: 512 + 2,048 bytes, and as many in the product. Last, `xd` would be held beside the product's.
    assert_eq!(kinds(&other), ["QuantizeLinear", "Relu", "QuantizeLinear", "MatMul"]);
    assert_eq!(all_widths(&other)[2], (vec![8], 8));
}

/// Weights alone are quantised: they are read as wide as they are stored, whatever is done with them before.
#[test]
fn weights_alone_stay_as_narrow_as_they_are_stored() {
    let product = |graph: Graph| {
        let graph = graph.input("x", &[4, 64]).node("MatMul", &["x", "w"], &["y"], vec![]).output("y", &[4, 32]);
        let model = model(&graph);
        assert_eq!(kinds(&model), ["MatMul"]);
        all_widths(&model).remove(0)
    };
    let stored = |data_type| Graph::new().weight_of("q", &[64, 32], data_type);
    let dequantised = |graph: Graph, scales: &[i64], attributes| {
        graph.weight("s", scales).node("DequantizeLinear", &["q", "s"], &["w"], attributes)
    };
    assert_eq!(product(dequantised(stored(INT8), &[], vec![])), (vec![32, 8], 32));
    assert_eq!(product(dequantised(stored(FLOAT8), &[32], vec![])), (vec![32, 8, 32], 32));
    assert_eq!(product(dequantised(stored(INT4), &[32], vec![int("axis", 1)])), (vec![32, 4, 32], 32));
    // Float weights behind a pair, with the other matrix's layout and another float type in between.
    let behind = Graph::new().number("s", 0.5).weight_of("zero", &[], UINT4).weight("f", &[32, 64]);
    let behind = pair(behind, "f", "d").node("Transpose", &["d"], &["t"], vec![ints("perm", &[1, 0])]);
    assert_eq!(product(behind.node("Cast", &["t"], &["w"], vec![int("to", 1)])), (vec![32, 4], 32));
}

/// 64 · 32 weights of 4 bits in blocks of 16 along `k`: 4 · 32 scales of 16 bits and as many zero points of 4 bits are
/// read with them, also where the weight is stored transposed. The loop along `k` is one over blocks and one within.
#[test]
fn the_scales_of_blocks_are_read() {
    let product = |shapes: [[i64; 2]; 2], attributes, perm: &[i64]| {
        let graph = Graph::new().input("x", &[4, 64]).weight_of("q", &shapes[0], UINT4);
        let graph = graph.weight_of("s", &shapes[1], FLOAT16).weight_of("z", &shapes[1], UINT4);
        let graph = graph.node("DequantizeLinear", &["q", "s", "z"], &["d"], attributes);
        let graph = graph.node("Transpose", &["d"], &["w"], vec![ints("perm", perm)]);
        model(&graph.node("MatMul", &["x", "w"], &["y"], vec![]).output("y", &[4, 32]))
    };
    let straight = product([[64, 32], [4, 32]], vec![int("axis", 0), int("block_size", 16)], &[0, 1]);
    let turned = product([[32, 64], [32, 4]], vec![int("axis", -1)], &[1, 0]);
    for (model, parameters) in [(straight, ["block", "n"]), (turned, ["n", "block"])] {
        let layer = model.layers.iter().next().unwrap();
        let dims: Vec<_> = layer.dims.iter().map(|dim| (dim.name.as_str(), dim.size)).collect();
        assert_eq!(dims, [("m", 4), ("n", 32), ("block", 4), ("k", 16)]);
        assert_eq!(all_widths(&model), [(vec![32, 4, 16, 4], 32)]);
        assert_eq!(weight_bits(&model), 64 * 32 * 4 + 4 * 32 * (16 + 4));
        let indices = |operand: usize| {
            let access = layer.reads[operand].access.as_ref().unwrap();
            let name = |index: &Affine| match &index.terms[..] {
                [(dim, 1)] => dims[dim.index()].0.to_owned(),
                terms => format!("{:?}", terms.iter().map(|&(dim, by)| (dims[dim.index()].0, by)).collect::<Vec<_>>()),
            };
            access.0.iter().map(name).collect::<Vec<_>>()
        };
        assert_eq!(indices(0), ["m", r#"[("block", 16), ("k", 1)]"#]);
        assert_eq!([indices(2), indices(3)], [parameters, parameters]);
    }
    // Blocks that do not fit have no index: all scales are read.
    let uneven = product([[64, 32], [3, 32]], vec![int("axis", 0), int("block_size", 24)], &[0, 1]);
    let layer = uneven.layers.iter().next().unwrap();
    assert_eq!((layer.dims.len(), &layer.reads[2].access), (3, &None));
}

/// What each operand of a model's one layer touches, in bytes, with floats of 16 bits: the scales keep their 32.
fn bytes_read(graph: &Graph) -> Vec<u64> {
    let options = Options { float_bits: FloatBits::all(16), ..Options::default() };
    let model = parse(graph.bytes(), "model", &options).unwrap_or_else(|errors| panic!("{errors}")).model;
    assert_eq!(model.layers.len(), 1, "{:?}", kinds(&model));
    let layer = model.layers.iter().next().unwrap();
    let bytes = |read: &layerweaver::ir::Operand| {
        let tensor = &model.tensors[read.tensor];
        let touched = read.touched(&layer.whole(), &tensor.shape).unwrap();
        tensor.bytes_of(&touched).get()
    };
    layer.reads.iter().map(bytes).collect()
}

/// Scales and zero points of channels are read with the weight, in whichever form: of 16 channels 64 and 16 bytes. Zero
/// points that are known to be 0 are not.
#[test]
fn the_scales_of_channels_are_read() {
    let begin = |shape: &[i64], weight: &[i64]| {
        let graph = with_scale().input_of("x", shape, INT8).weight_of("w", weight, INT8).weight_of("b", &[16], INT32);
        graph.weight("ws", &[16]).weight_of("wz", &[16], INT8).output("y", &[])
    };
    let convolution = |op: &str, inputs: &[&str], attributes| {
        bytes_read(&begin(&[1, 8, 4, 4], &[16, 4, 1, 1]).node(op, inputs, &["y"], attributes))
    };
    let groups = || vec![int("group", 2)];
    let linear = |zero| convolution("QLinearConv", &["x", "s", "zero", "w", "ws", zero, "s", "zero", "b"], groups());
    assert_eq!(linear("wz"), [128, 64, 64, 64, 16]);
    assert_eq!(linear("zero"), [128, 64, 64, 64]);
    assert_eq!(convolution("ConvInteger", &["x", "w", "zero", "wz"], groups()), [128, 64, 16]);
    let product = |op: &str, weight: &[i64], inputs: &[&str], attributes| {
        bytes_read(&begin(&[4, 8], weight).weight("xs", &[4]).node(op, inputs, &["y"], attributes))
    };
    let straight = |op: &str, inputs: &[&str]| product(op, &[8, 16], inputs, vec![]);
    assert_eq!(straight("QLinearMatMul", &["x", "s", "zero", "w", "ws", "wz", "s", "zero"]), [32, 128, 64, 16]);
    assert_eq!(straight("QLinearMatMul", &["x", "xs", "zero", "w", "s", "zero", "s", "zero"]), [32, 128, 16]);
    assert_eq!(straight("MatMulInteger", &["x", "w", "zero", "wz"]), [32, 128, 16]);
    let none = begin(&[4, 8], &[8, 16]).int_tensor("none", &[16], &[0; 16]);
    let none = none.node("MatMulInteger", &["x", "w", "zero", "none"], &["y"], vec![]);
    assert_eq!(bytes_read(&none), [32, 128]);
    // Pairs around a product, whose weight is turned.
    let pairs = begin(&[4, 8], &[16, 8]).node("DequantizeLinear", &["x", "s"], &["xd"], vec![]);
    let pairs = pairs.node("DequantizeLinear", &["w", "ws", "wz"], &["wd"], vec![int("axis", 0)]);
    let pairs = pairs.node("Transpose", &["wd"], &["wt"], vec![]).node("MatMul", &["xd", "wt"], &["y"], vec![]);
    assert_eq!(bytes_read(&pairs), [32, 128, 64, 16]);
}

/// Of a table the scales of the rows that are picked: 6 of 100, each of 32 elements of 8 bits, with a scale for all of
/// them or for each 8. Of columns all.
#[test]
fn the_scales_of_picked_rows_are_read() {
    let picked = |scales: &[i64], attributes| {
        let graph = Graph::new().weight_of("w", &[100, 32], INT8).weight("ws", scales).int_input("rows", &[6]);
        let graph = graph.node("DequantizeLinear", &["w", "ws"], &["d"], attributes);
        bytes_read(&graph.node("Gather", &["d", "rows"], &["y"], vec![]).output("y", &[6, 32]))
    };
    assert_eq!(picked(&[100], vec![int("axis", 0)]), [6 * 32, 6 * 8, 6 * 4]);
    assert_eq!(picked(&[32], vec![int("axis", 1)]), [6 * 32, 6 * 8, 32 * 4]);
    assert_eq!(picked(&[100, 4], vec![int("axis", 1), int("block_size", 8)]), [6 * 32, 6 * 8, 6 * 4 * 4]);
}

/// Operators of whole numbers say the widths themselves.
#[test]
fn operators_of_whole_numbers() {
    let graph = with_scale().input("x", &[1, 8, 8, 8]);
    let graph = graph.weight_of("w", &[8, 8, 3, 3], INT8).weight_of("b", &[8], INT32);
    let graph = graph.node("QuantizeLinear", &["x", "s", "zero"], &["xq"], vec![]).node(
        "QLinearConv",
        &["xq", "s", "zero", "w", "s", "zero", "s", "zero", "b"],
        &["c"],
        vec![ints("pads", &[1, 1, 1, 1])],
    );
    let model_ = model(&graph.node("DequantizeLinear", &["c", "s", "zero"], &["y"], vec![]).output("y", &[1, 8, 8, 8]));
    assert_eq!(kinds(&model_), ["QuantizeLinear", "QLinearConv"]);
    assert_eq!(all_widths(&model_), [(vec![32], 8), (vec![8, 8, 32], 32)]);
    // As quantize_dynamic writes a product: the scale of the input is known at run time.
    let graph = with_scale().input("x", &[4, 64]).weight_of("w", &[64, 32], INT8);
    let graph = graph
        .node("DynamicQuantizeLinear", &["x"], &["xq", "xs", "xz"], vec![])
        .node("Mul", &["xs", "s"], &["scale"], vec![])
        .node("MatMulInteger", &["xq", "w", "xz", "zero"], &["sum"], vec![])
        .node("Cast", &["sum"], &["float"], vec![int("to", 1)])
        .node("Mul", &["float", "scale"], &["y"], vec![])
        .output("y", &[4, 32]);
    let dynamic = import(&graph).model;
    let product = dynamic.layers.iter().find(|layer| layer.kind == "MatMulInteger").unwrap();
    assert_eq!(product.nodes, ["sum", "float", "y"]);
    assert_eq!(widths(&dynamic, product), (vec![8, 8, 32], 32), "the scale is read");
}
