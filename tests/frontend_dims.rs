//! Dimensions by name: those that follow from others, and what the user has to give.

mod frontend_models;

use frontend_models::Graph;
use layerweaver::frontend::{Import, Options, parse};
use layerweaver::ir::TensorKind;

/// The inputs of a decoder as Optimum exports it: each goes to an output of its own.
fn decoder() -> Graph {
    let graph = Graph::new()
        .named_input("ids", &["batch", "sequence_length"])
        .named_input("past", &["batch", "2", "past_sequence_length", "4"])
        .named_input("mask", &["batch", "past_sequence_length + sequence_length"]);
    [("ids", "a"), ("past", "b"), ("mask", "c")].into_iter().fold(graph, |graph, (from, to)| {
        let graph = graph.node("Relu", &[from], &[to], vec![]);
        graph.output(to, &[])
    })
}

fn options(dims: &[(&str, u64)], shapes: &[(&str, &[u64])]) -> Options {
    Options {
        dims: dims.iter().map(|&(name, size)| (name.to_owned(), size)).collect(),
        shapes: shapes.iter().map(|&(name, shape)| (name.to_owned(), shape.to_vec())).collect(),
        ..Options::default()
    }
}

fn import(graph: &Graph, options: &Options) -> Result<Import, String> {
    parse(graph.bytes(), "m", options).map_err(|errors| errors.to_string())
}

/// The shapes of the inputs, in the order in which they are read.
fn shapes(import: &Import) -> Vec<&[u64]> {
    let inputs = import.model.tensors.iter().filter(|tensor| tensor.kind == TensorKind::Input);
    inputs.map(|tensor| &tensor.shape[..]).collect()
}

#[test]
fn all_names_without_a_size_are_asked_for_at_once() {
    let said = import(&decoder(), &options(&[("batch", 1)], &[])).unwrap_err();
    assert_eq!(
        said,
        "m has dimensions without a size: sequence_length, past_sequence_length; give them, as in --dim \
         sequence_length=1 --dim past_sequence_length=1"
    );
}

#[test]
fn a_sum_of_names_follows_from_them() {
    let given = options(&[("batch", 1), ("sequence_length", 3), ("past_sequence_length", 16)], &[]);
    let import = import(&decoder(), &given).unwrap();
    assert_eq!(shapes(&import), [&[1, 3][..], &[1, 2, 16, 4], &[1, 19]]);
    assert!(given.unknown_names(&[&import]).is_empty());
}

#[test]
fn a_sum_may_be_given_itself() {
    let sum = ("past_sequence_length + sequence_length", 32);
    let given = options(&[("batch", 1), ("sequence_length", 3), ("past_sequence_length", 16), sum], &[]);
    let import = import(&decoder(), &given).unwrap();
    assert_eq!(shapes(&import), [&[1, 3][..], &[1, 2, 16, 4], &[1, 32]]);
    assert!(given.unknown_names(&[&import]).is_empty());
}

/// Shapes of two inputs say all three names; a `--dim` stands above them.
#[test]
fn whole_shapes_give_their_names_a_size() {
    let given: &[(&str, &[u64])] = &[("ids", &[2, 1]), ("past", &[2, 2, 7, 4])];
    assert_eq!(shapes(&import(&decoder(), &options(&[], given)).unwrap()), [&[2, 1][..], &[2, 2, 7, 4], &[2, 8]]);
    let other = import(&decoder(), &options(&[("batch", 5)], given)).unwrap();
    assert_eq!(shapes(&other), [&[2, 1][..], &[2, 2, 7, 4], &[5, 8]]);
    // Where they differ, the name is asked for.
    let given: &[(&str, &[u64])] = &[("ids", &[2, 1]), ("past", &[3, 2, 7, 4])];
    let said = import(&decoder(), &options(&[], given)).unwrap_err();
    assert_eq!(said, "m has dimensions without a size: batch; give them, as in --dim batch=1");
}

#[test]
fn a_difference_of_names_may_be_no_size() {
    let graph = Graph::new().named_input("x", &["n - 1"]).node("Relu", &["x"], &["y"], vec![]).output("y", &[]);
    let said = import(&graph, &options(&[("n", 0)], &[])).unwrap_err();
    assert_eq!(
        said,
        "m has input 'x' with a dimension 'n - 1', which is then no size; give other sizes to its names, or one to \
         itself, as in --dim 'n - 1=1'"
    );
    assert_eq!(shapes(&import(&graph, &options(&[("n", 3)], &[])).unwrap()), [&[2][..]]);
}

/// An input that no node needs can be named all the same.
#[test]
fn inputs_that_are_not_needed_have_names() {
    let graph = Graph::new().input("x", &[4]).named_input("unused", &["batch", "?"]);
    let graph = graph.node("Relu", &["x"], &["y"], vec![]).output("y", &[4]);
    let given = options(&[("batch", 1)], &[("unused", &[1, 2])]);
    let import = import(&graph, &given).unwrap();
    assert!(given.unknown_names(&[&import]).is_empty());
    assert_eq!(shapes(&import), [[4]]);
    assert_eq!(import.dims.into_iter().collect::<Vec<_>>(), ["batch"]);
}

/// `?` is no name: exporters call all that they do not know the same.
#[test]
fn question_marks_are_asked_for_by_input() {
    let graph = Graph::new().named_input("x", &["?", "8", "n"]).node("Relu", &["x"], &["y"], vec![]).output("y", &[]);
    let said = import(&graph, &options(&[("n", 3), ("?", 4)], &[])).unwrap_err();
    assert_eq!(
        said,
        "m has inputs with dimensions that have neither size nor name: x; give their whole shapes, as in --shape \
         x=1,8,3"
    );
}
