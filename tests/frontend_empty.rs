//! Tensors without elements: they weigh nothing, and no layer reads or makes them.

mod common;
mod frontend_models;

use common::{Network, npu};
use frontend_models::{Graph, int};
use layerweaver::analysis::analyze;
use layerweaver::coschedule::{Policy, Weaver};
use layerweaver::frontend::{Import, Options, parse};
use layerweaver::ir::Model;
use layerweaver::simulate::simulate;
use layerweaver::stream;

/// The scores of 3 new tokens, whose keys come behind those of `past`, a cache of named length.
fn decoder() -> Graph {
    let graph = Graph::new().named_input("past", &["1", "4", "p", "16"]).input("q", &[1, 4, 3, 16]);
    let graph = graph.input("k", &[1, 4, 3, 16]).named_input("mask", &["1", "p + 3"]);
    graph
        .node("Concat", &["past", "k"], &["keys"], vec![int("axis", 2)])
        .node("Transpose", &["keys"], &["turned"], vec![frontend_models::ints("perm", &[0, 1, 3, 2])])
        .node("MatMul", &["q", "turned"], &["scores"], vec![])
        .node("Add", &["scores", "mask"], &["masked"], vec![])
        .output("masked", &[])
        .output("keys", &[])
}

fn import(graph: &Graph, dims: &[(&str, u64)]) -> Result<Import, String> {
    let dims = dims.iter().map(|&(name, size)| (name.to_owned(), size)).collect();
    parse(graph.bytes(), "m", &Options { dims, ..Options::default() }).map_err(|errors| errors.to_string())
}

/// A model as it is scheduled beside itself: no tensor in it is empty, and `simulate` has nothing to say.
fn scheduled(graph: &Graph, dims: &[(&str, u64)]) -> Model {
    let import = import(graph, dims).unwrap();
    assert!(import.model.tensors.iter().all(|tensor| !tensor.shape.contains(&0)), "{:?}", import.model.tensors);
    let npu = npu("paper-like");
    let analysis = analyze(&import.model, &npu).unwrap();
    let network = Network { model: import.model, analysis };
    let jobs = [network.job(1), network.job(2)];
    let woven = Weaver::new(&npu, &jobs).and_then(|weaver| weaver.weave(Policy::Optimal)).unwrap();
    assert_eq!(simulate(&stream::lower(&npu, &jobs, &woven)).err(), None);
    network.model
}

fn shape_of<'a>(model: &'a Model, name: &str) -> &'a [u64] {
    &model.tensors.iter().find(|tensor| tensor.name == name).unwrap().shape
}

/// Of 16 keys and 3 new ones, and of 3 new ones alone: 4 heads of 3 queries of 16 by as many.
#[test]
fn a_cache_may_be_empty() {
    for (past, keys) in [(16, 19), (0, 3)] {
        let model = scheduled(&decoder(), &[("p", past)]);
        assert_eq!(
            (shape_of(&model, "keys"), shape_of(&model, "masked")),
            (&[1, 4, keys, 16][..], &[1, 4, 3, keys][..])
        );
        let product = model.layers.iter().find(|layer| layer.kind == "MatMul").unwrap();
        assert_eq!(product.whole().volume(), 4 * 3 * keys * 16);
        assert_eq!(model.tensors.iter().any(|tensor| tensor.name == "past"), past > 0);
    }
}

/// The declared 0 is believed, and said, for some files write it for what they do not know.
#[test]
fn a_declared_0_is_believed() {
    let graph = Graph::new().input("past", &[1, 0, 8]).input("x", &[1, 3, 8]);
    let graph = graph.node("Concat", &["past", "x"], &["all"], vec![int("axis", 1)]).output("all", &[1, 3, 8]);
    let said: Vec<_> = import(&graph, &[]).unwrap().warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "node 'all' (Concat): reads input 'past', which is taken to be empty, for the file declares a dimension of 0; if \
          that stands for an unknown one, give its shape, with another size in --shape 'past=1,0,8'"
        ]
    );
    assert_eq!(scheduled(&graph, &[]).layers.len(), 1);
}

/// A weight without rows beside an input; a product over nothing, which is a constant 0, and what is added to it; a layer
/// that makes nothing, of a model that makes something else; an empty input that is an output.
#[test]
fn what_is_empty_is_left_out() {
    let begin = || Graph::new().input("x", &[2, 8]).input("e", &[0, 8]);
    let kinds = |graph: Graph| {
        let model = scheduled(&graph.output("y", &[2, 8]), &[]);
        model.layers.iter().map(|layer| layer.kind.clone()).collect::<Vec<_>>()
    };
    let joined = begin().weight("w", &[0, 8]).node("Concat", &["x", "w"], &["c"], vec![int("axis", 0)]);
    assert_eq!(kinds(joined.node("Relu", &["c"], &["y"], vec![])), ["Concat", "Relu"]);
    let product = begin().input("a", &[2, 0]).node("MatMul", &["a", "e"], &["p"], vec![]);
    assert_eq!(kinds(product.node("Add", &["p", "x"], &["y"], vec![])), ["Add"]);
    let apart = begin().node("Relu", &["x"], &["y"], vec![]).node("Softmax", &["e"], &["f"], vec![]);
    assert_eq!(kinds(apart.output("f", &[0, 8]).output("e", &[0, 8])), ["Relu"]);
}

/// A loop of no steps hands its state on, and what its steps would have given is empty.
#[test]
fn a_loop_may_have_no_steps() {
    let body = Graph::step().node("Relu", &["next"], &["each"], vec![]).output("each", &[4, 8]);
    let graph = Graph::new().input("state", &[4, 8]).input("rows", &[1, 4, 8]).int_tensor("steps", &[], &[0]);
    let graph = graph
        .node("Loop", &["steps", "", "state"], &["last", "all"], vec![frontend_models::graph("body", body)])
        .node("Relu", &["last"], &["y"], vec![])
        .node("Concat", &["all", "rows"], &["z"], vec![int("axis", 0)])
        .output("y", &[4, 8])
        .output("z", &[]);
    let model = scheduled(&graph, &[]);
    assert_eq!(model.layers.iter().map(|layer| &layer.kind[..]).collect::<Vec<_>>(), ["Relu", "Concat"]);
    assert_eq!(shape_of(&model, "z"), [1, 4, 8]);
}

#[test]
fn a_model_that_makes_nothing_is_an_error() {
    let graph = Graph::new().named_input("x", &["n", "8"]).weight("w", &[8, 4]);
    let graph = graph.node("MatMul", &["x", "w"], &["y"], vec![]).output("y", &[]);
    assert_eq!(
        import(&graph, &[("n", 0)]).unwrap_err(),
        "m has no output with elements, so that there is nothing to compute; give the dimensions of its inputs sizes \
         above 0, with --dim or --shape"
    );
}

#[test]
fn a_negative_dimension_is_unknown() {
    let graph = Graph::new().input("x", &[-1, 8]).node("Relu", &["x"], &["y"], vec![]).output("y", &[]);
    assert_eq!(
        import(&graph, &[]).unwrap_err(),
        "m has inputs with dimensions that have neither size nor name: x; give their whole shapes, as in --shape x=1,8"
    );
}
