//! What becomes one layer, whatever the order in which the nodes are written.

mod frontend_models;

use frontend_models::{Graph, int, ints};
use layerweaver::frontend::{FloatBits, Options, parse};
use layerweaver::ir::{Layer, Model, Operand, Role};

fn model(graph: &Graph) -> Model {
    parse(graph.bytes(), "model", &Options::default()).unwrap_or_else(|errors| panic!("{errors}")).model
}

/// The nodes of each layer, in the order in which the layers run.
fn layers(graph: &Graph) -> Vec<Vec<String>> {
    model(graph).layers.iter().map(|layer| layer.nodes.clone()).collect()
}

fn node(graph: Graph, op: &str, inputs: &[&str], output: &str) -> Graph {
    graph.node(op, inputs, &[output], vec![])
}

/// A convolution of 8 channels that keeps the size.
fn convolution(graph: Graph, from: &str, to: &str) -> Graph {
    let weight = format!("w_{to}");
    graph.weight(&weight, &[8, 8, 3, 3]).node("Conv", &[from, &weight], &[to], vec![ints("pads", &[1, 1, 1, 1])])
}

fn image() -> Graph {
    Graph::new().input("x", &[1, 8, 4, 4])
}

/// Every order of some indices.
fn permutations(of: &[usize]) -> Vec<Vec<usize>> {
    if of.is_empty() {
        return vec![Vec::new()];
    }
    let first = |&first: &usize| {
        let others: Vec<_> = of.iter().copied().filter(|&other| other != first).collect();
        permutations(&others).into_iter().map(move |order| [vec![first], order].concat())
    };
    of.iter().flat_map(first).collect()
}

/// As diffusion models have it: to what a convolution makes, a projection of the time is added, which is written behind
/// it; and a pool of the input. The convolution's layer takes up both, so it runs last, in whichever order the six nodes
/// are written.
#[test]
fn what_is_made_later_is_added_too() {
    let graph = image().input("time", &[1, 16]).weight("v", &[16, 8]).int_tensor("shape", &[4], &[1, 8, 1, 1]);
    let pool = vec![ints("kernel_shape", &[3, 3]), ints("pads", &[1, 1, 1, 1])];
    let nodes = |graph: Graph, which: usize| match which {
        0 => convolution(graph, "x", "c"),
        1 => node(graph, "MatMul", &["time", "v"], "t"),
        2 => node(graph, "Reshape", &["t", "shape"], "r"),
        3 => node(graph, "Add", &["c", "r"], "a"),
        4 => graph.node("MaxPool", &["x"], &["p"], pool.clone()),
        _ => node(graph, "Add", &["p", "a"], "y"),
    };
    let written = |order: &[usize]| {
        let graph = order.iter().fold(graph.clone(), |graph, &which| nodes(graph, which));
        layers(&graph.output("y", &[1, 8, 4, 4]))
    };
    let indices: Vec<usize> = (0..6).collect();
    // A layer's nodes come in the order in which they are written.
    let sorted = |mut layers: Vec<Vec<String>>| {
        layers.iter_mut().for_each(|nodes| nodes.sort());
        layers
    };
    for order in permutations(&indices) {
        let mut found = sorted(written(&order));
        assert_eq!(found.pop().unwrap(), ["a", "c", "y"], "{order:?}");
        found.sort();
        assert_eq!(found, [vec!["p"], vec!["r", "t"]], "{order:?}");
    }
    assert_eq!(written(&indices), [vec!["t", "r"], vec!["p"], vec!["c", "a", "y"]]);
}

/// What a layer's result has yet to go through can't be added to it first.
#[test]
fn what_needs_a_result_is_not_added_to_it() {
    let graph = convolution(node(convolution(image(), "x", "c"), "Relu", &["c"], "r"), "r", "d");
    let graph = node(node(graph, "Add", &["c", "d"], "s"), "Relu", &["s"], "y").output("y", &[1, 8, 4, 4]);
    assert_eq!(layers(&graph), [vec!["c"], vec!["r"], vec!["d", "s", "y"]]);
    // A gate that is pooled from what it multiplies.
    let gate = convolution(image(), "x", "c").node("GlobalAveragePool", &["c"], &["p"], vec![]);
    let gate = node(node(gate, "Sigmoid", &["p"], "g"), "Mul", &["c", "g"], "y").output("y", &[1, 8, 4, 4]);
    assert_eq!(layers(&gate), [vec!["c"], vec!["p", "g"], vec!["y"]]);
}

/// Behind a product an addition is free, so it takes it up, though a pool could too; of two products the later does.
#[test]
fn a_product_takes_up_what_it_can() {
    let pool = |graph: Graph| graph.node("AveragePool", &["x"], &["p"], vec![ints("kernel_shape", &[1, 1])]);
    let sum = |graph: Graph, with: &str| node(graph, "Add", &["c", with], "y").output("y", &[1, 8, 4, 4]);
    let product = [vec!["p"], vec!["c", "y"]];
    assert_eq!(layers(&sum(pool(convolution(image(), "x", "c")), "p")), product);
    assert_eq!(layers(&sum(convolution(pool(image()), "x", "c"), "p")), product);
    let both = sum(convolution(convolution(image(), "x", "c"), "x", "d"), "d");
    assert_eq!(layers(&both), [vec!["c"], vec!["d", "y"]]);
}

/// A mask that is computed behind the scores to which it is added, as PyTorch writes its attention.
#[test]
fn a_mask_that_comes_later_joins_the_scores() {
    let graph = Graph::new().input("q", &[1, 4, 16, 8]).input("k", &[1, 4, 8, 16]).int_input("given", &[1, 1, 1, 16]);
    let graph = node(graph.number("scale", 0.353_553).number("low", -1e9), "MatMul", &["q", "k"], "s");
    let graph = graph.node("Cast", &["given"], &["float"], vec![int("to", 1)]);
    let graph = node(node(graph, "Mul", &["float", "low"], "mask"), "Mul", &["s", "scale"], "scaled");
    let graph = node(node(graph, "Add", &["scaled", "mask"], "m"), "Softmax", &["m"], "y").output("y", &[1, 4, 16, 16]);
    assert_eq!(layers(&graph), [vec!["float", "mask"], vec!["s", "scaled", "m"], vec!["y"]]);
}

/// To the type that it has, nothing is converted; nor from one width of floats to another, where the NPU has one for both.
/// PyTorch writes the first wherever a network asks for floats of 32 bits that it has already.
#[test]
fn conversions_that_change_nothing_are_no_work() {
    let cast = |from: i32, to: i64| {
        let graph = Graph::new().input_of("x", &[16, 32], from).node("Cast", &["x"], &["c"], vec![int("to", to)]);
        node(node(graph, "Softmax", &["c"], "s"), "Mul", &["s", "c"], "y").output("y", &[16, 32])
    };
    let converts = |graph: &Graph, float_bits| {
        let options = Options { float_bits, ..Options::default() };
        let model = parse(graph.bytes(), "model", &options).unwrap_or_else(|errors| panic!("{errors}")).model;
        model.layers.iter().any(|layer| layer.kind == "Cast")
    };
    let (float, half, int8) = (1, 10, 3);
    let (own, one) = (FloatBits::default(), FloatBits::all(16));
    assert!(!converts(&cast(float, 1), own));
    assert!(converts(&cast(half, 1), own));
    assert!(!converts(&cast(half, 1), one));
    assert!(converts(&cast(int8, 1), own) && converts(&cast(int8, 1), one));
}

/// What a layer does with each role: the product of the sizes of its loops.
fn loops(layer: &Layer) -> [u64; 4] {
    let of = |role| layer.dims.iter().filter(|dim| dim.role == role).map(|dim| dim.size).product();
    [Role::Group, Role::M, Role::N, Role::K].map(of)
}

/// The elements of each operand that a layer touches.
fn touched(model: &Model, layer: &Layer) -> Vec<u64> {
    let of = |read: &Operand| read.touched(&layer.whole(), &model.tensors[read.tensor].shape).unwrap().volume();
    layer.reads.iter().map(of).collect()
}

/// As Llama has it: keys and values of 2 heads are repeated for 4 heads of queries. The products read them where they are,
/// and the heads that share keys are rows: 2 groups of 2 · 16 rows.
#[test]
fn heads_share_keys_and_values_where_they_are() {
    let repeated = |graph: Graph, from: &str| {
        let [apart, all] = ["apart", "all"].map(|part| format!("{from}_{part}"));
        let graph = node(node(graph, "Unsqueeze", &[from, "two"], &apart), "Expand", &[&apart, "stretched"], &all);
        node(graph, "Reshape", &[&all, "heads"], &format!("{from}_heads"))
    };
    let graph = Graph::new().input("q", &[1, 4, 16, 8]).input("k", &[1, 2, 16, 8]).input("v", &[1, 2, 16, 8]);
    let graph = graph.int_tensor("two", &[1], &[2]).int_tensor("stretched", &[5], &[1, 2, 2, 16, 8]);
    let graph = repeated(repeated(graph.int_tensor("heads", &[4], &[1, 4, 16, 8]), "k"), "v");
    let graph = graph.node("Transpose", &["k_heads"], &["turned"], vec![ints("perm", &[0, 1, 3, 2])]);
    let graph = node(node(graph, "MatMul", &["q", "turned"], "s"), "Softmax", &["s"], "p");
    let model = model(&node(graph, "MatMul", &["p", "v_heads"], "y").output("y", &[1, 4, 16, 8]));
    let [scores, softmax, result] = &model.layers.iter().collect::<Vec<_>>()[..] else { panic!("{:?}", model.layers) };
    assert_eq!(softmax.kind, "Softmax");
    assert_eq!([loops(scores), loops(result)], [[2, 2 * 16, 16, 8], [2, 2 * 16, 8, 16]]);
    assert_eq!(touched(&model, scores), [4 * 16 * 8, 2 * 16 * 8]);
    assert_eq!(touched(&model, result), [4 * 16 * 16, 2 * 16 * 8]);
}

/// ShuffleNet's channels, of 2 groups of 4, and Swin's windows of 4 by 4: what reads them counts so.
#[test]
fn shuffled_channels_and_windows_are_read_where_they_are() {
    let shapes = |graph: Graph, shapes: [&[i64]; 2]| {
        let [split, merged] = shapes;
        graph.int_tensor("split", &[split.len() as i64], split).int_tensor("merged", &[merged.len() as i64], merged)
    };
    let shuffled = |graph: Graph, from: &str, perm: &[i64]| {
        let graph = node(graph, "Reshape", &[from, "split"], "apart");
        node(
            graph.node("Transpose", &["apart"], &["turned"], vec![ints("perm", perm)]),
            "Reshape",
            &["turned", "merged"],
            "m",
        )
    };
    let graph = shapes(convolution(image(), "x", "c"), [&[1, 2, 4, 4, 4], &[1, 8, 4, 4]]);
    let graph = shuffled(graph, "c", &[0, 2, 1, 3, 4]).weight("d", &[8, 1, 3, 3]);
    let graph = graph.node("Conv", &["m", "d"], &["y"], vec![int("group", 8)]).output("y", &[1, 8, 2, 2]);
    let shuffle = model(&graph);
    assert_eq!(shuffle.layers.iter().map(loops).collect::<Vec<_>>(), [[1, 16, 8, 72], [8, 4, 1, 9]]);
    let graph = shapes(Graph::new().input("x", &[1, 8, 8, 4]), [&[1, 2, 4, 2, 4, 4], &[4, 16, 4]]);
    let graph = shuffled(graph, "x", &[0, 1, 3, 2, 4, 5]).weight("w", &[4, 8]);
    let product = node(graph.clone(), "MatMul", &["m", "w"], "y").output("y", &[4, 16, 8]);
    let windows = model(&product);
    let layer = windows.layers.iter().next().unwrap();
    assert_eq!((windows.layers.len(), loops(layer)), (1, [1, 64, 8, 4]));
    assert_eq!(touched(&windows, layer), [8 * 8 * 4, 4 * 8]);
    // An output is stored, and what is behind it in the file still reads the input.
    let kinds = |graph: &Graph| model(graph).layers.iter().map(|layer| layer.kind.clone()).collect::<Vec<_>>();
    assert_eq!(kinds(&product.output("m", &[4, 16, 4])), ["MatMul", "Reshape"]);
}
