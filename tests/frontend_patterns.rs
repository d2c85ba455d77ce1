//! What exporters write as several operators, and what looks like it.

mod frontend_models;

use frontend_models::{Graph, int, ints};
use layerweaver::frontend::{Options, parse};
use layerweaver::ir::Model;

fn model(graph: &Graph) -> Model {
    parse(graph.bytes(), "model", &Options::default()).unwrap_or_else(|errors| panic!("{errors}")).model
}

/// The kind of each layer, its operations of a lane for a point, and its points.
fn layers(graph: &Graph) -> Vec<(String, u64, u64)> {
    let model = model(graph);
    model.layers.iter().map(|layer| (layer.kind.clone(), layer.lane_operations, layer.whole().volume())).collect()
}

fn kinds(graph: &Graph) -> Vec<String> {
    layers(graph).into_iter().map(|(kind, _, _)| kind).collect()
}

/// `[1, 16, 32]` and the constants that the exporters write.
fn begin() -> Graph {
    let graph = Graph::new().input("x", &[1, 16, 32]).weight("gamma", &[32]).weight("beta", &[32]);
    [
        ("two", 2.0),
        ("three", 3.0),
        ("one", 1.0),
        ("half", 0.5),
        ("eps", 1e-5),
        ("root", std::f32::consts::SQRT_2),
        ("six", 6.0),
    ]
    .into_iter()
    .fold(graph, |graph, (name, number)| graph.number(name, number))
}

fn node(graph: Graph, op: &str, inputs: &[&str], output: &str) -> Graph {
    graph.node(op, inputs, &[output], vec![])
}

fn mean(graph: Graph, input: &str, output: &str, axis: i64) -> Graph {
    graph.node("ReduceMean", &[input], &[output], vec![ints("axes", &[axis])])
}

fn y(graph: Graph) -> Graph {
    graph.output("y", &[1, 16, 32])
}

/// As PyTorch's exporter writes LayerNorm below operator set 17, up to the quotient, with this exponent and these axes.
fn quotient(exponent: &str, axes: [i64; 2]) -> Graph {
    let graph = node(mean(begin(), "x", "mean", axes[0]), "Sub", &["x", "mean"], "d");
    let graph = mean(node(graph, "Pow", &["d", exponent], "square"), "square", "variance", axes[1]);
    let graph = node(node(graph, "Add", &["variance", "eps"], "e"), "Sqrt", &["e"], "s");
    node(graph, "Div", &["d", "s"], "q")
}

/// Sum, difference, square, sum, product: 5 operations for each of 512 elements, and a scale and a bias that join.
#[test]
fn layer_normalization_as_pytorch_writes_it() {
    let scaled = node(quotient("two", [-1, -1]), "Mul", &["q", "gamma"], "g");
    let graph = y(node(scaled, "Add", &["g", "beta"], "y"));
    let one = layers(&graph);
    let operator = begin().node("LayerNormalization", &["x", "gamma", "beta"], &["y"], vec![]);
    assert_eq!(one, [("LayerNormalization".to_owned(), 7, 512)]);
    assert_eq!(one, layers(&y(operator)), "as the operator itself");
    let model = model(&graph);
    let layer = model.layers.iter().next().unwrap();
    assert_eq!(layer.nodes, ["mean", "d", "square", "variance", "e", "s", "q", "g", "y"]);
    assert_eq!(layer.reads.len(), 3);
}

#[test]
fn what_is_no_layer_normalization() {
    let end = |graph| kinds(&y(node(graph, "Mul", &["q", "gamma"], "y")));
    assert_eq!(end(quotient("two", [-1, -1])), ["LayerNormalization"]);
    assert_eq!(end(quotient("two", [1, 1])), ["LayerNormalization"], "channels may come first");
    let not = |graph| !end(graph).contains(&"LayerNormalization".to_owned());
    assert!(not(quotient("three", [-1, -1])), "the exponent is another");
    assert!(not(quotient("two", [-1, 1])), "the variance is over another axis");
    assert!(not(quotient("two", [-1, -1]).output("variance", &[1, 16, 1])), "a part is an output");
    let used = node(quotient("two", [-1, -1]), "Relu", &["s"], "t").output("t", &[1, 16, 1]);
    assert!(not(used), "a part is used elsewhere");
    let computed = quotient("two", [-1, -1]).rewire("Add", "eps", "mean");
    assert!(not(computed), "what is added to the variance is no constant");
    // The quotient of one difference by the deviation of another.
    let mixed = node(quotient("two", [-1, -1]).input("z", &[1, 16, 32]), "Sub", &["z", "mean"], "other");
    assert!(not(mixed.rewire("Div", "d", "other")), "two inputs");
}

/// Half floats are widened before the squares, and narrowed behind the product, as for Llama.
#[test]
fn rms_normalization_in_half_floats() {
    let half_floats =
        |graph: Graph, input: &str, output: &str, to| graph.node("Cast", &[input], &[output], vec![int("to", to)]);
    let rms = |exponent: &str| {
        let graph = half_floats(half_floats(begin(), "x", "h", 10), "h", "wide", 1);
        let graph = mean(node(graph, "Pow", &["wide", exponent], "square"), "square", "mean", -1);
        let graph = node(node(graph, "Add", &["mean", "eps"], "e"), "Sqrt", &["e"], "s");
        let graph = node(node(graph, "Div", &["one", "s"], "inverse"), "Mul", &["wide", "inverse"], "n");
        let graph = half_floats(graph, "n", "narrow", 10);
        y(node(half_floats(graph, "narrow", "again", 1), "Mul", &["gamma", "again"], "y"))
    };
    // Square, sum, product; then two conversions and the scale.
    assert_eq!(layers(&rms("two")), [("RMSNormalization".to_owned(), 3 + 2 + 1, 512)]);
    assert!(!kinds(&rms("three")).contains(&"RMSNormalization".to_owned()));
    let operator = begin().node("RMSNormalization", &["x", "gamma"], &["y"], vec![]);
    assert_eq!(layers(&y(operator)), [("RMSNormalization".to_owned(), 4, 512)]);
}

#[test]
fn softmax_from_its_parts() {
    let sum = |graph: Graph, input: &str, axis| {
        graph.int_tensor("axis", &[1], &[axis]).node("ReduceSum", &[input, "axis"], &["sum"], vec![])
    };
    let maximum = |axis| begin().node("ReduceMax", &["x"], &["max"], vec![ints("axes", &[axis])]);
    let exponent = |axis| node(node(maximum(axis), "Sub", &["x", "max"], "d"), "Exp", &["d"], "e");
    let softmax = |axes: [i64; 2]| y(node(sum(exponent(axes[0]), "e", axes[1]), "Div", &["e", "sum"], "y"));
    assert_eq!(layers(&softmax([-1, -1])), layers(&y(node(begin(), "Softmax", &["x"], "y"))));
    // Of a maximum over another axis only the difference is taken: a layer for each, and the softmax of the difference.
    assert_eq!(kinds(&softmax([1, -1])), ["ReduceMax", "Sub", "Softmax"]);
    // The share of something else.
    let other = node(node(exponent(-1), "Abs", &["x"], "a"), "Div", &["e", "sum"], "y");
    assert!(!kinds(&y(sum(other, "a", -1))).contains(&"Softmax".to_owned()));
}

/// Activations in pieces are one layer, which costs what the operator costs.
#[test]
fn activations_from_their_parts() {
    let alike = |parts: Graph, op: &str| {
        let cost =
            |graph: Graph| layers(&y(graph)).into_iter().map(|(_, lanes, points)| (lanes, points)).collect::<Vec<_>>();
        assert_eq!(cost(parts), cost(node(begin(), op, &["x"], "y")), "{op}");
    };
    let gelu = |scaled: &str| {
        let graph = node(node(begin(), "Mul", &["x", "half"], "h"), "Div", &["x", scaled], "d");
        let graph = node(node(graph, "Erf", &["d"], "e"), "Add", &["e", "one"], "a");
        node(graph, "Mul", &["h", "a"], "y")
    };
    alike(gelu("root"), "Gelu");
    assert_eq!(kinds(&y(gelu("two"))).len(), 2, "the halves and the rest are two layers where it is no GELU");
    alike(node(node(begin(), "Sigmoid", &["x"], "s"), "Mul", &["x", "s"], "y"), "Swish");
    alike(node(node(node(begin(), "Softplus", &["x"], "p"), "Tanh", &["p"], "t"), "Mul", &["x", "t"], "y"), "Mish");
    let clipped = node(begin().number("zero", 0.0), "Add", &["x", "three"], "a");
    let clipped = node(node(clipped, "Clip", &["a", "zero", "six"], "c"), "Mul", &["x", "c"], "m");
    alike(node(clipped, "Div", &["m", "six"], "y"), "HardSwish");
}

/// Two products, between them the softmax; scale and mask are part of the first.
#[test]
fn attention_is_three_layers() {
    let graph = Graph::new().input("q", &[1, 4, 16, 8]).input("k", &[1, 4, 8, 16]).input("v", &[1, 4, 16, 8]);
    let graph = node(graph.input("mask", &[1, 1, 16, 16]).number("scale", 2.828_427), "MatMul", &["q", "k"], "p");
    let graph = node(node(graph, "Div", &["p", "scale"], "s"), "Add", &["s", "mask"], "m");
    let graph = graph.node("ReduceMax", &["m"], &["max"], vec![ints("axes", &[-1])]).int_tensor("axis", &[1], &[-1]);
    let graph =
        node(node(node(graph, "Sub", &["m", "max"], "d"), "Exp", &["d"], "e"), "ReduceSum", &["e", "axis"], "sum");
    let graph = node(node(graph, "Div", &["e", "sum"], "w"), "MatMul", &["w", "v"], "y").output("y", &[1, 4, 16, 8]);
    let expected = [("MatMul", 0, 4 * 16 * 16 * 8), ("Softmax", 5, 4 * 16 * 16), ("MatMul", 0, 4 * 16 * 16 * 8)];
    assert_eq!(layers(&graph), expected.map(|(kind, lanes, points)| (kind.to_owned(), lanes, points)));
    let first = model(&graph).layers.iter().next().unwrap().clone();
    assert_eq!((&first.nodes[..], first.reads.len()), (&["p".to_owned(), "s".to_owned(), "m".to_owned()][..], 3));
}

/// As PyTorch's exporter writes it: queries and keys are each scaled by the root of the scale, behind the split into
/// heads. The scale is part of the products that make them, and the heads are seen where they were written.
#[test]
fn queries_and_keys_are_scaled_where_they_are_made() {
    let heads = |graph: Graph, name: &str, perm: &[i64]| {
        let [weight, made, split, turned, scaled] = ["w", "m", "s", "t", ""].map(|part| format!("{part}{name}"));
        let graph = node(graph.weight(&weight, &[32, 32]), "MatMul", &["x", &weight], &made);
        let graph = node(graph, "Reshape", &[&made, "split"], &split);
        node(
            graph.node("Transpose", &[&split], &[&turned], vec![ints("perm", perm)]),
            "Mul",
            &[&turned, "half"],
            &scaled,
        )
    };
    let graph = heads(begin().int_tensor("split", &[4], &[1, 16, 4, 8]), "q", &[0, 2, 1, 3]);
    let graph = node(heads(graph, "k", &[0, 2, 3, 1]), "MatMul", &["q", "k"], "y").output("y", &[1, 4, 16, 16]);
    assert_eq!(kinds(&graph), ["MatMul", "MatMul", "MatMul"]);
    let whole = model(&graph);
    let nodes: Vec<_> = whole.layers.iter().map(|layer| layer.nodes.clone()).collect();
    assert_eq!(nodes[0], ["mq", "q"]);
    assert_eq!(nodes[2], ["sq", "tq", "sk", "tk", "y"]);
    let read = |operand: usize| {
        let layer = whole.layers.iter().last().unwrap();
        let (tensor, access) = (layer.reads[operand].tensor, layer.reads[operand].access.as_ref().unwrap());
        let strides: Vec<_> =
            access.0.iter().map(|index| index.terms.iter().map(|&(_, stride)| stride).collect()).collect();
        (whole.tensors[tensor].name.as_str(), strides)
    };
    let split: Vec<Vec<i64>> = vec![vec![], vec![1], vec![8, 1]];
    assert_eq!([read(0), read(1)], [("q", split.clone()), ("k", split)]);
    // A scale for each head is no number. What is read before it is scaled is scaled by the product of both.
    let by_head = graph.clone().weight("scales", &[4, 1, 1]).rewire("Mul", "half", "scales");
    assert_eq!(kinds(&by_head), ["MatMul", "Mul", "MatMul", "Mul", "MatMul"]);
    let used = model(&node(graph, "Relu", &["mq"], "r").output("r", &[1, 16, 32]));
    let nodes: Vec<_> = used.layers.iter().map(|layer| layer.nodes.clone()).collect();
    assert_eq!(nodes, [vec!["mq"], vec!["mk", "k"], vec!["sq", "tq", "q", "sk", "tk", "y"], vec!["r"]]);
}

/// What is multiplied by a number and then by something else is as well multiplied by something else and then by the
/// number, in the product's epilogue.
#[test]
fn a_factor_of_an_operand_is_one_of_the_product() {
    let product = |op: &str, operands: [&str; 2]| {
        let graph = node(begin().weight("w", &[16, 16]), op, &operands, "s");
        let graph = graph.node("Transpose", &["s"], &["t"], vec![ints("perm", &[0, 2, 1])]);
        node(graph, "MatMul", &["t", "w"], "y").output("y", &[1, 32, 16])
    };
    for (op, operands) in [("Mul", ["x", "half"]), ("Mul", ["half", "x"]), ("Div", ["x", "root"])] {
        let whole = model(&product(op, operands));
        let nodes: Vec<_> = whole.layers.iter().map(|layer| layer.nodes.clone()).collect();
        assert_eq!(nodes, [["s", "t", "y"]], "{op} {operands:?}");
    }
    assert_eq!(kinds(&product("Div", ["root", "x"])), ["Div", "MatMul"], "not what is divided");
    assert_eq!(kinds(&product("Add", ["x", "half"])), ["Add", "MatMul"], "nor what is added");
    assert_eq!(kinds(&product("Mul", ["x", "gamma"])), ["Mul", "MatMul"], "nor by more than a number");
    let used = node(product("Mul", ["x", "half"]), "Relu", &["s"], "r").output("r", &[1, 16, 32]);
    assert_eq!(kinds(&used).len(), 3, "nor if something else reads it");
}

/// As PyTorch writes GroupNorm: 4 groups of 2 channels as rows of an InstanceNormalization, whose scale is one and whose
/// bias nothing; the channels' own come behind. 5 operations for each of 8 · 4 · 4 elements, and one for each of them.
#[test]
fn group_normalization_as_pytorch_writes_it() {
    let groups = |rows: &[i64; 3], scale: f32| {
        let graph = Graph::new().input("x", &[1, 8, 4, 4]).int_tensor("rows", &[3], rows);
        let graph =
            graph.int_tensor("shape", &[4], &[1, 8, 4, 4]).weight("gamma", &[8, 1, 1]).weight("beta", &[8, 1, 1]);
        let ones = vec![scale; usize::try_from(rows[1]).unwrap()];
        let graph = graph.float_tensor("ones", &rows[1..2], &ones);
        let graph = graph.float_tensor("zeros", &rows[1..2], &vec![0.0; ones.len()]);
        let graph = node(node(graph, "Relu", &["x"], "r"), "Reshape", &["r", "rows"], "g");
        let graph = node(graph, "InstanceNormalization", &["g", "ones", "zeros"], "n");
        let graph = node(node(graph, "Reshape", &["n", "shape"], "c"), "Mul", &["c", "gamma"], "s");
        node(graph, "Add", &["s", "beta"], "y").output("y", &[1, 8, 4, 4])
    };
    let normalised = [("Relu".to_owned(), 1, 128), ("GroupNormalization".to_owned(), 5 + 2, 128)];
    assert_eq!(layers(&groups(&[1, 4, 32], 1.0)), normalised);
    let operator = Graph::new().input("x", &[1, 8, 4, 4]).weight("gamma", &[8]).weight("beta", &[8]);
    let operator = operator.node("GroupNormalization", &["x", "gamma", "beta"], &["y"], vec![int("num_groups", 4)]);
    assert_eq!(layers(&operator.output("y", &[1, 8, 4, 4])), normalised[1..], "as the operator itself");
    let not = |graph| !kinds(&graph).contains(&"GroupNormalization".to_owned());
    assert!(not(groups(&[1, 4, 32], 2.0)), "the groups have a scale");
    assert!(not(groups(&[1, 16, 8], 1.0)), "a channel is more than one row");
    assert!(not(groups(&[2, 4, 16], 1.0)), "the batch is another");
}

/// A vector by its length, which is bounded from below, not from above.
#[test]
fn a_vector_of_length_one() {
    let unit = |bounds: &[&str]| {
        let graph = begin().node("ReduceL2", &["x"], &["l"], vec![ints("axes", &[-1])]);
        let graph = node(graph, "Clip", &[&["l"], bounds].concat(), "c").int_tensor("shape", &[3], &[1, 16, 32]);
        y(node(node(graph, "Expand", &["c", "shape"], "e"), "Div", &["x", "e"], "y"))
    };
    assert_eq!(kinds(&unit(&["eps"])), ["LpNormalization"]);
    assert_eq!(kinds(&unit(&["eps", ""])), ["LpNormalization"]);
    assert!(!kinds(&unit(&["", "one"])).contains(&"LpNormalization".to_owned()));
}

/// Queries of 4 heads of 8 elements, as Llama's are turned: the halves of each are changed, and one of them negated; or as
/// GPT-J's, every other element. Angles are known or computed. Two products and a sum for each element.
#[test]
fn rotary_embeddings_in_pieces() {
    let begin = |computed: bool| {
        let graph = Graph::new().input("x", &[1, 4, 16, 8]).input("z", &[1, 4, 16, 8]).int_tensor("last", &[1], &[-1]);
        let numbers = [("zero", 0), ("one", 1), ("half", 4), ("end", i64::MAX), ("two", 2)];
        let graph = numbers.iter().fold(graph, |graph, &(name, number)| graph.int_tensor(name, &[1], &[number]));
        let graph = graph.int_tensor("shape", &[4], &[1, 4, 16, 8]);
        match computed {
            true => graph.input("cos", &[1, 1, 16, 8]).input("sin", &[1, 1, 16, 8]),
            false => graph.weight("cos", &[16, 8]).weight("sin", &[16, 8]),
        }
    };
    let end = |graph: Graph, turned: &str| {
        let graph = node(node(graph, "Mul", &["x", "cos"], "c"), "Mul", &[turned, "sin"], "s");
        node(graph, "Add", &["c", "s"], "y").output("y", &[1, 4, 16, 8])
    };
    let halves = |graph: Graph, from: [&str; 2]| {
        let graph = node(graph, "Slice", &[from[0], "zero", "half", "last"], "a");
        let graph = node(node(graph, "Slice", &[from[1], "half", "end", "last"], "b"), "Neg", &["b"], "n");
        graph.node("Concat", &["n", "a"], &["t"], vec![int("axis", -1)])
    };
    let others = |graph: Graph| {
        let graph = node(graph, "Slice", &["x", "zero", "end", "last", "two"], "a");
        let graph = node(node(graph, "Slice", &["x", "one", "end", "last", "two"], "b"), "Neg", &["b"], "n");
        let graph = node(node(graph, "Unsqueeze", &["a", "last"], "au"), "Unsqueeze", &["n", "last"], "nu");
        let graph = graph.node("Concat", &["nu", "au"], &["pairs"], vec![int("axis", -1)]);
        node(graph, "Reshape", &["pairs", "shape"], "t")
    };
    let turned = [("RotaryEmbedding".to_owned(), 3, 4 * 16 * 8)];
    for computed in [false, true] {
        assert_eq!(layers(&end(halves(begin(computed), ["x", "x"]), "t")), turned);
        assert_eq!(layers(&end(others(begin(computed)), "t")), turned);
    }
    let split = begin(true).node("Split", &["x"], &["a", "b"], vec![int("axis", -1)]);
    let split = node(split, "Neg", &["b"], "n").node("Concat", &["n", "a"], &["t"], vec![int("axis", -1)]);
    let split = end(split, "t");
    assert_eq!(layers(&split), turned);
    let read: Vec<_> = model(&split).layers.iter().flat_map(|layer| layer.reads.clone()).collect();
    assert_eq!(read.len(), 3, "the elements once, and both angles");
    let not = |graph: Graph| !kinds(&graph).contains(&"RotaryEmbedding".to_owned());
    assert!(not(end(halves(begin(true), ["x", "z"]), "t")), "halves of two inputs");
    assert!(not(end(halves(begin(true), ["z", "z"]), "t")), "another input than is multiplied");
    assert!(not(end(halves(begin(true), ["x", "x"]).rewire("Concat", "n", "b"), "t")), "nothing is negated");
    assert!(not(end(halves(begin(true), ["x", "x"]), "t").output("n", &[1, 4, 16, 4])), "a part is an output");
}

/// Four heads of queries share two of keys: the mask joins the first product, and nothing is moved before or between.
#[test]
fn heads_that_share_keys_move_nothing() {
    let graph = Graph::new().input("q", &[1, 4, 6, 16]).input("k", &[1, 2, 6, 16]).input("v", &[1, 2, 6, 16]);
    let graph = graph.input("mask", &[1, 4, 6, 6]).node("Attention", &["q", "k", "v", "mask"], &["y"], vec![]);
    let model = parse(graph.output("y", &[1, 4, 6, 16]).bytes(), "m", &Options::default()).unwrap().model;
    let kinds: Vec<_> = model.layers.iter().map(|layer| (layer.kind.as_str(), layer.reads.len())).collect();
    assert_eq!(kinds, [("MatMul", 3), ("Softmax", 1), ("MatMul", 2)]);
}
