//! Scans, which are their steps one after the other.

mod frontend_models;

use frontend_models::{Graph, int, ints};
use layerweaver::frontend::{Import, Options, parse};
use layerweaver::ir::{Layer, Model, TensorKind};
use onnx_protobuf::{AttributeProto, Message};

fn import(graph: &Graph, version: i64) -> Import {
    let mut model = graph.model();
    model.opset_import[0].version = version;
    let import = parse(model.write_to_bytes().unwrap().into(), "model", &Options::default());
    import.unwrap_or_else(|errors| panic!("{errors}"))
}

/// A step: a row of 8 by a weight, and what came before is added.
fn body() -> Graph {
    Graph::new()
        .input("state", &[4])
        .input("row", &[8])
        .weight("w", &[8, 4])
        .node("MatMul", &["row", "w"], &["product"], vec![])
        .node("Add", &["product", "state"], &["sum"], vec![])
        .node("Relu", &["product"], &["each"], vec![])
        .output("sum", &[4])
        .output("each", &[4])
}

/// A scan of `x`, whose last state and all steps' results have these shapes.
fn scan(graph: Graph, inputs: &[&str], outputs: [&[i64]; 2], attributes: Vec<AttributeProto>) -> Graph {
    let attributes = [vec![frontend_models::graph("body", body()), int("num_scan_inputs", 1)], attributes].concat();
    graph.node("Scan", inputs, &["last", "all"], attributes).output("last", outputs[0]).output("all", outputs[1])
}

/// Where each product begins to read `x`, in order.
fn rows(model: &Model) -> Vec<Vec<i64>> {
    let x = |layer: &Layer| {
        let read = layer.reads.iter().find(|read| model.tensors[read.tensor].name == "x")?;
        Some(read.access.as_ref()?.0.iter().map(|index| index.offset).collect())
    };
    model.layers.iter().filter(|layer| layer.kind == "MatMul").filter_map(x).collect()
}

#[test]
fn a_scan_is_its_steps() {
    let scanned = |attributes| {
        let graph = Graph::new().input("h", &[4]).input("x", &[3, 8]);
        let import = import(&scan(graph, &["h", "x"], [&[4], &[3, 4]], attributes), 11);
        assert!(import.warnings.is_empty(), "{:?}", import.warnings);
        rows(&import.model)
    };
    assert_eq!(scanned(vec![]), [[0, 0], [1, 0], [2, 0]]);
    assert_eq!(scanned(vec![ints("scan_input_directions", &[1])]), [[2, 0], [1, 0], [0, 0]]);
}

/// Two items of three steps, all with one weight.
#[test]
fn before_version_9_a_scan_has_a_batch() {
    let scanned = |lengths: &str| {
        let graph = Graph::new().int_input("lengths", &[2]).input("h", &[2, 4]).input("x", &[2, 3, 8]);
        let backwards = vec![ints("directions", &[1])];
        import(&scan(graph, &[lengths, "h", "x"], [&[2, 4], &[2, 3, 4]], backwards), 8)
    };
    let Import { model, warnings, .. } = scanned("");
    assert_eq!(rows(&model), [[0, 2, 0], [0, 1, 0], [0, 0, 0], [1, 2, 0], [1, 1, 0], [1, 0, 0]]);
    assert_eq!(model.tensors.iter().filter(|tensor| tensor.kind == TensorKind::Weight).count(), 1);
    assert!(warnings.is_empty(), "{warnings:?}");
    let said: Vec<_> = scanned("lengths").warnings.iter().map(ToString::to_string).collect();
    let all = "is given the lengths of its sequences; all are taken to have 3 steps, the most";
    assert_eq!(said, [format!("node 'last' (Scan): {all}")]);
}

/// A mask for each of three boxes, as Mask R-CNN pastes them: resized to the box's size, cut to what is inside the image.
fn pasted() -> Graph {
    let body = Graph::new()
        .int_input("i", &[])
        .input("go", &[])
        .node("Gather", &["masks", "i"], &["mask"], vec![])
        .node("Gather", &["boxes", "i"], &["size"], vec![])
        .node("Resize", &["mask", "", "", "size"], &["resized"], vec![])
        .int_tensor("axes", &[2], &[0, 1])
        .int_tensor("begin", &[2], &[0, 0])
        .node("Slice", &["resized", "begin", "size", "axes"], &["inside"], vec![])
        .node("Relu", &["inside"], &["result"], vec![])
        .output("go", &[])
        .output("result", &[]);
    let graph = Graph::new().input("masks", &[3, 28, 28]).int_input("boxes", &[3, 2]).int_tensor("n", &[], &[3]);
    let graph = graph.node("Loop", &["n", ""], &["out"], vec![frontend_models::graph("body", body)]);
    graph.output("out", &[3, -1, -1])
}

/// One error, not three, and the name that stands for the node in all steps; with its shape the slice takes its bound.
#[test]
fn a_size_that_data_decides_in_a_body_is_asked_for_once() {
    let given = |shapes: &[(&str, &[u64])]| Options {
        shapes: shapes.iter().map(|&(name, shape)| (name.to_owned(), shape.to_vec())).collect(),
        ..Options::default()
    };
    let read = |options: &Options| parse(pasted().bytes(), "m", options);
    assert_eq!(
        read(&given(&[])).unwrap_err().to_string(),
        "m: node 'out.0/resized' (Resize, operator set 17) needs input 3 before the model runs (inputs 28×28, none, none, \
         2), as in 2 other steps; give the largest shape that it makes, as in --shape 'out/resized=28,28'"
    );
    let options = given(&[("out/resized", &[80, 120])]);
    let import = read(&options).unwrap();
    assert!(options.unknown_names(&[&import]).is_empty());
    let shape_of = |import: &Import, name: &str| {
        import.model.tensors.iter().find(|tensor| tensor.name == name).map(|tensor| tensor.shape.clone())
    };
    assert_eq!(shape_of(&import, "out"), Some(vec![3, 80, 120]));
    let said: Vec<_> = import.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 6, "{said:?}");
    assert_eq!(
        said[1],
        "node 'out.0/inside' (Slice): has an output whose shape the data decides; the upper bound is taken: all of what \
         it slices; or give it, as in --shape 'out/inside=80,120'"
    );
    let both = read(&given(&[("out/resized", &[80, 120]), ("out/inside", &[60, 999])])).unwrap();
    assert_eq!(shape_of(&both, "out"), Some(vec![3, 60, 120]));
}

/// What the file declares of a node stands where nothing else is known.
#[test]
fn a_declared_shape_stands_in_for_one_that_data_decides() {
    let graph = Graph::new().input("x", &[4, 8]).int_input("size", &[2]);
    let graph = graph.node("Resize", &["x", "", "", "size"], &["y"], vec![]).output("y", &[16, 32]);
    let import = import(&graph, 17);
    let said: Vec<_> = import.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "node 'y' (Resize): needs input 3 before the model runs; the shape that is given stands, costed as one vector \
          operation for each element"
        ]
    );
    assert_eq!(import.model.layers[import.model.layers.ids().next().unwrap()].whole().volume(), 16 * 32);
}

/// A size that is taken at its bound may be why others do not fit, and how to give it is said with them.
#[test]
fn a_bound_that_does_not_fit_says_how_to_give_the_size() {
    let graph = Graph::new().input("x", &[4, 8]).input("table", &[64, 8]).int_input("end", &[1]);
    let graph = graph.int_tensor("zero", &[1], &[0]).node("Slice", &["table", "zero", "end"], &["rows"], vec![]);
    let graph = graph.node("Add", &["x", "rows"], &["y"], vec![]).output("y", &[4, 8]);
    let said = parse(graph.bytes(), "m", &Options::default()).unwrap_err().to_string();
    let flag = "or give what only data decides before it, as in --shape 'rows=64,8'";
    assert!(said.ends_with(flag), "{said}");
    let options = Options { shapes: [("rows".to_owned(), vec![4, 8])].into(), ..Options::default() };
    assert!(parse(graph.bytes(), "m", &options).is_ok());
}

/// A branch within a loop's body may call its weight as the body calls another: its own is meant.
#[test]
fn a_graph_within_a_body_has_names_of_its_own() {
    let branch = |op: &str| {
        let graph = Graph::new().weight("w", &[4, 4]).node("MatMul", &["state", "w"], &["p"], vec![]);
        graph.node(op, &["p"], &["q"], vec![]).output("q", &[])
    };
    let branches = vec![
        frontend_models::graph("then_branch", branch("Relu")),
        frontend_models::graph("else_branch", branch("Tanh")),
    ];
    let body = Graph::new().int_input("i", &[]).input("go", &[]).input("state", &[2, 4]).int_tensor("w", &[], &[2]);
    let body = body.node("Less", &["i", "w"], &["early"], vec![]).node("If", &["early"], &["next"], branches);
    let body = body.output("go", &[]).output("next", &[2, 4]);
    let graph = Graph::new().input("x", &[2, 4]).int_tensor("n", &[], &[3]);
    let graph = graph.node("Loop", &["n", "", "x"], &["y"], vec![frontend_models::graph("body", body)]);
    let model = import(&graph.output("y", &[2, 4]), 17).model;
    let joined: Vec<_> = model.layers.iter().filter_map(|layer| layer.nodes.last()).collect();
    assert_eq!(joined, ["y.0/next/q", "y.1/next/q", "y.2/next/q"]);
    assert_eq!(model.layers.iter().map(|layer| layer.whole().volume()).sum::<u64>(), 3 * 2 * 4 * 4);
}
