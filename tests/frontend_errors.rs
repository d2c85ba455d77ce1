//! Each error says where, what, and the mend: file, node, operator, operator set, the shapes seen, and what to do.

mod frontend_models;

use frontend_models::{Graph, graph};
use layerweaver::frontend::{Import, Options, parse};
use onnx_protobuf::{Message, ModelProto, OperatorSetIdProto};

fn error(model: &ModelProto) -> String {
    parse(model.write_to_bytes().unwrap().into(), "m.onnx", &Options::default()).unwrap_err().to_string()
}

/// A loop over a product, whose steps an input says.
fn looped() -> Graph {
    let body = Graph::step();
    let whole = Graph::new().input("x", &[4, 8]).int_input("n", &[]);
    whole.node("Loop", &["n", "", "x"], &["last"], vec![graph("body", body)]).output("last", &[4, 8])
}

#[test]
fn an_operators_refusal() {
    let graph = Graph::new().input("a", &[4, 8]).input("b", &[4, 8]).node("MatMul", &["a", "b"], &["y"], vec![]);
    let error = error(&graph.output("y", &[4, 8]).model());
    assert!(error.starts_with("m.onnx: node 'y' (MatMul, operator set 17) "), "{error}");
    assert!(error.ends_with("(inputs 4×8, 4×8); export the model again, or check it with onnx.checker"), "{error}");
}

#[test]
fn a_tensor_that_nothing_makes() {
    let graph = Graph::new().input("x", &[4]).node("Add", &["x", "z"], &["y"], vec![]).output("y", &[4]);
    assert_eq!(
        error(&graph.model()),
        "m.onnx: node 'y' (Add, operator set 17) needs tensor 'z', which no node, input or initializer makes; export \
         the model again, or check it with onnx.checker"
    );
}

#[test]
fn an_operator_of_somebodys_own() {
    let mut model = Graph::new().input("x", &[4]).node("Foo", &["x", ""], &["y"], vec![]).output("y", &[]).model();
    let graph = model.graph.as_mut().unwrap();
    graph.node[0].domain = "mine".into();
    graph.output[0].type_ = None.into();
    model.opset_import.push(OperatorSetIdProto { domain: "mine".into(), version: 3, ..Default::default() });
    assert_eq!(
        error(&model),
        "m.onnx: node 'y' (Foo, operator set 3) has an operator that is not known (domain 'mine', inputs 4, none); \
         declare the shapes of its outputs in value_info, export the model without it, or add a row to frontend/ops"
    );
}

#[test]
fn a_loop_without_a_number_of_steps() {
    assert_eq!(
        error(&looped().model()),
        "m.onnx: node 'last' (Loop, operator set 17) has no number of steps up to 4096 that is known before the model \
         runs (inputs a scalar, none, 4×8); give one, as in --trip last=8"
    );
}

/// What layers cannot hold is found after shapes are known.
#[test]
fn a_tensor_of_text() {
    let mut model =
        Graph::new().input("x", &[4]).node("StringNormalizer", &["x"], &["y"], vec![]).output("y", &[4]).model();
    model.graph.as_mut().unwrap().input[0].type_.as_mut().unwrap().mut_tensor_type().elem_type = 8;
    let error = error(&model);
    assert!(error.starts_with("m.onnx has tensor 'x' of text"), "{error}");
    assert!(error.ends_with("; take that part out of the model"), "{error}");
}

#[test]
fn names_that_no_model_has_are_met_with_the_nearest() {
    let trips =
        |name: &str| Options { trips: [("last".to_owned(), 2), (name.to_owned(), 2)].into(), ..Options::default() };
    let import: Import = parse(looped().bytes(), "m", &trips("lost")).unwrap();
    let said = |options: &Options| -> Vec<String> {
        options.unknown_names(&[&import]).iter().map(ToString::to_string).collect()
    };
    assert_eq!(said(&trips("lost")), ["m has no loop 'lost' (it has: last); did you mean 'last'?"]);
    assert_eq!(said(&trips("first")), ["m has no loop 'first' (it has: last); leave it out, or give one of these"]);
    assert_eq!(said(&trips("last")), [""; 0]);
    let dims = Options { dims: [("batch".to_owned(), 1)].into(), ..Options::default() };
    assert_eq!(said(&dims), ["m has no dimension 'batch' (it has: none); leave it out, or give one of these"]);
    let shapes = Options { shapes: [("X".to_owned(), vec![4, 8])].into(), ..Options::default() };
    assert_eq!(said(&shapes), ["m has no input 'X' (it has: n, x); did you mean 'x'?"]);
}

/// ONNX's own operators in a model that imports other sets only, as ONNX Runtime reads it: Squeeze's axes are an input
/// since operator set 13.
#[test]
fn a_domain_that_is_not_imported() {
    let graph = Graph::new().input("x", &[4, 1]).int_tensor("axes", &[1], &[1]);
    let mut model = graph.node("Squeeze", &["x", "axes"], &["s"], vec![]).node("Relu", &["s"], &["y"], vec![]).model();
    model.graph.as_mut().unwrap().output = Graph::new().output("y", &[4]).graph().output;
    model.opset_import[0].domain = "com.microsoft".into();
    let import = parse(model.write_to_bytes().unwrap().into(), "m", &Options::default()).unwrap();
    let warnings: Vec<_> = import.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["node 's' (Squeeze): is of a model that does not import ai.onnx; operator set 28 is taken"]);
}
