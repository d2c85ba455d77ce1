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
