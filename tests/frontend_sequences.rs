//! Sequences: lists of values that leave no layer behind.

mod frontend_models;

use frontend_models::{Graph, graph, int};
use layerweaver::frontend::{Import, Options, parse};
use layerweaver::ir::{Affine, DimId, Layer, Model, TensorKind};
use onnx_protobuf::{Message, ModelProto, TypeProto, type_proto};

fn import(model: &ModelProto) -> Import {
    read(model, &Options::default()).unwrap_or_else(|errors| panic!("{errors}"))
}

fn read(model: &ModelProto, options: &Options) -> Result<Import, String> {
    let bytes = model.write_to_bytes().unwrap().into();
    parse(bytes, "m", options).map_err(|errors| errors.to_string())
}

fn kinds(model: &Model) -> Vec<&str> {
    model.layers.iter().map(|layer| layer.kind.as_str()).collect()
}

fn outputs(model: &Model) -> Vec<(&str, &[u64])> {
    let outputs = model.tensors.iter().filter(|tensor| tensor.kind == TensorKind::Output);
    outputs.map(|tensor| (tensor.name.as_str(), &tensor.shape[..])).collect()
}

/// The index along the first dimension that a layer's first operand has.
fn row(layer: &Layer) -> &Affine {
    &layer.reads[0].access.as_ref().unwrap().0[0]
}

/// Makes an input a sequence of tensors of its type.
fn sequence_of(model: &mut ModelProto, input: usize) {
    let input = &mut model.graph.as_mut().unwrap().input[input];
    let mut type_ = TypeProto::new();
    type_.set_sequence_type(type_proto::Sequence { elem_type: input.type_.clone(), ..Default::default() });
    input.type_ = Some(type_).into();
}

/// Rows 0 to 1, 2 to 3 and 4 to 5; the second part, and all of them again.
#[test]
fn a_part_is_a_view_and_all_parts_are_the_whole() {
    let graph = Graph::new()
        .input("x", &[6, 4])
        .int_tensor("two", &[], &[2])
        .int_tensor("one", &[], &[1])
        .node("SplitToSequence", &["x", "two"], &["s"], vec![])
        .node("SequenceAt", &["s", "one"], &["part"], vec![])
        .node("Relu", &["part"], &["y"], vec![])
        .node("ConcatFromSequence", &["s"], &["all"], vec![int("axis", 0)])
        .node("Softmax", &["all"], &["z"], vec![])
        .output("y", &[2, 4])
        .output("z", &[6, 4]);
    let model = import(&graph.model()).model;
    assert_eq!(outputs(&model), [("y", &[2, 4][..]), ("z", &[6, 4])]);
    let relu = model.layers.iter().find(|layer| layer.kind == "Relu").unwrap();
    assert_eq!(*row(relu), Affine { offset: 2, terms: vec![(DimId(0), 1)] });
}

/// PyTorch's `unbind`: parts of one lose their axis if the node says so, as ONNX Runtime has it; larger ones keep it.
#[test]
fn parts_of_one_may_lose_their_axis() {
    let first = |size: i64| {
        let graph = Graph::new().input("x", &[4, 8]).int_tensor("size", &[], &[size]).int_tensor("zero", &[], &[0]);
        let graph = graph.node("SplitToSequence", &["x", "size"], &["s"], vec![int("keepdims", 0)]);
        let graph = graph.node("SequenceAt", &["s", "zero"], &["part"], vec![]).node("Relu", &["part"], &["y"], vec![]);
        outputs(&import(&graph.output("y", &[-1]).model()).model)[0].1.to_vec()
    };
    assert_eq!((first(1), first(2)), (vec![8], vec![2, 8]));
}

/// Of a, b, c: without a, c at the end again; their number is 3, which is a size here.
#[test]
fn what_is_put_in_and_taken_out_is_the_value_itself() {
    let graph = Graph::new()
        .input("a", &[3])
        .input("b", &[6])
        .input("c", &[9])
        .int_tensor("first", &[], &[0])
        .int_tensor("last", &[], &[-1])
        .int_tensor("rest", &[1], &[-1])
        .node("SequenceConstruct", &["a", "b"], &["s"], vec![])
        .node("SequenceInsert", &["s", "c"], &["t"], vec![])
        .node("SequenceErase", &["t", "first"], &["u"], vec![])
        .node("SequenceInsert", &["u", "c"], &["v"], vec![])
        .node("SequenceLength", &["v"], &["n"], vec![])
        .node("Reshape", &["n", "rest"], &["rows"], vec![])
        .node("Concat", &["rows", "rest"], &["shape"], vec![int("axis", 0)])
        .node("SequenceAt", &["v", "first"], &["picked"], vec![])
        .node("Reshape", &["picked", "shape"], &["square"], vec![])
        .node("Relu", &["square"], &["y"], vec![])
        .node("SequenceAt", &["v", "last"], &["end"], vec![])
        .node("Relu", &["end"], &["z"], vec![])
        .output("y", &[3, 2])
        .output("z", &[9]);
    let import = import(&graph.model());
    assert_eq!(kinds(&import.model), ["Relu", "Relu"]);
    assert_eq!(outputs(&import.model), [("y", &[3, 2][..]), ("z", &[9])]);
    assert!(import.warnings.is_empty(), "{:?}", import.warnings);
}

/// Three steps, each of which adds what it makes to a sequence that begins without any.
#[test]
fn a_loop_that_collects() {
    let body = Graph::new()
        .int_input("i", &[])
        .input("go", &[])
        .input("state", &[1, 8])
        .input("so_far", &[])
        .weight("w", &[8, 8])
        .node("MatMul", &["state", "w"], &["next"], vec![])
        .node("SequenceInsert", &["so_far", "next"], &["longer"], vec![])
        .output("go", &[])
        .output("next", &[1, 8])
        .output("longer", &[]);
    let graph = Graph::new()
        .input("x", &[1, 8])
        .int_tensor("n", &[], &[3])
        .node("SequenceEmpty", &[], &["none"], vec![])
        .node("Loop", &["n", "", "x", "none"], &["last", "s"], vec![graph("body", body)])
        .node("ConcatFromSequence", &["s"], &["y"], vec![int("axis", 0), int("new_axis", 1)])
        .output("y", &[3, 1, 8]);
    let model = import(&graph.model()).model;
    assert_eq!(outputs(&model), [("y", &[3, 1, 8][..])]);
    assert_eq!(kinds(&model).iter().filter(|&&kind| kind == "MatMul").count(), 3);
}

/// A sequence comes in and one goes out: a product for each of its tensors, with one weight.
fn mapped() -> ModelProto {
    let body = Graph::new().input("item", &[4, 8]).input("scale", &[4, 8]).weight("w", &[8, 8]);
    let body = body.node("MatMul", &["item", "w"], &["m"], vec![]).node("Mul", &["m", "scale"], &["out"], vec![]);
    let attributes = vec![graph("body", body.output("out", &[4, 8]))];
    let graph = Graph::new().input("xs", &[4, 8]).input("scale", &[4, 8]);
    let graph = graph.node("SequenceMap", &["xs", "scale"], &["ys"], attributes).output("ys", &[]);
    let mut model = graph.model();
    sequence_of(&mut model, 0);
    model.graph.as_mut().unwrap().output[0].type_ = None.into();
    model
}

#[test]
fn a_map_is_its_body_for_each_tensor() {
    let options = Options { shapes: [("xs".to_owned(), vec![3])].into(), ..Options::default() };
    let import = read(&mapped(), &options).unwrap();
    assert_eq!(kinds(&import.model), ["MatMul"; 3]);
    let outputs = outputs(&import.model);
    assert_eq!(outputs.iter().map(|&(_, shape)| shape).collect::<Vec<_>>(), [[4, 8]; 3]);
    let named = |kind: TensorKind| -> Vec<&str> {
        import.model.tensors.iter().filter(|tensor| tensor.kind == kind).map(|tensor| tensor.name.as_str()).collect()
    };
    assert_eq!(named(TensorKind::Weight).len(), 1, "all steps share it");
    assert_eq!(named(TensorKind::Input), ["xs[0]", "scale", "xs[1]", "xs[2]"]);
    assert!(options.unknown_names(&[&import]).is_empty());
}

#[test]
fn a_sequence_without_a_length_is_asked_for_it() {
    assert_eq!(
        read(&mapped(), &Options::default()).map(|_| ()).unwrap_err(),
        "m has input 'xs' that is a sequence; say how many tensors it has, as in --shape 'xs=3'"
    );
}

/// Which of three tensors is looked up is known at run time only; so is where one is put, of which that one is told.
#[test]
fn positions_that_only_data_say() {
    let graph = Graph::new()
        .input("a", &[4])
        .input("b", &[4])
        .int_input("at", &[])
        .node("SequenceConstruct", &["a", "b"], &["s"], vec![])
        .node("SequenceInsert", &["s", "a", "at"], &["t"], vec![])
        .node("SequenceAt", &["t", "at"], &["y"], vec![])
        .output("y", &[4]);
    let import = import(&graph.model());
    assert_eq!(outputs(&import.model), [("y", &[4][..])]);
    assert!(kinds(&import.model).contains(&"Gather"), "{:?}", kinds(&import.model));
    let said: Vec<_> = import.warnings.iter().map(ToString::to_string).collect();
    assert!(
        said.contains(&"node 't' (SequenceInsert): has a position that only data says; the end is taken".to_owned()),
        "{said:?}"
    );
}
