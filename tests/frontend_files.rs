//! What real files do: forms of old operator sets, bodies, quantisation, dimensions without names, and the like.

mod frontend_models;

use bytes::Bytes;
use frontend_models::{Graph, graph, int, ints};
use layerweaver::frontend::{Import, Options, parse};
use layerweaver::ir::{Model, TensorKind};
use onnx_protobuf::{FunctionProto, Message, ModelProto, OperatorSetIdProto, TensorProto};

fn import(bytes: Bytes) -> Import {
    parse(bytes, "model", &Options::default()).unwrap_or_else(|errors| panic!("{errors}"))
}

fn kinds(model: &Model) -> Vec<&str> {
    model.layers.iter().map(|layer| layer.kind.as_str()).collect()
}

/// The shape of the one output.
fn output(model: &Model) -> &[u64] {
    let output = model.tensors.iter().find(|tensor| tensor.kind == TensorKind::Output);
    &output.unwrap().shape
}

fn in_opset(graph: &Graph, version: i64) -> Bytes {
    let mut model = graph.model();
    model.opset_import[0].version = version;
    model.write_to_bytes().unwrap().into()
}

/// A product with a weight, as a branch or a body that reads `x` around it.
fn product(weight: &str, output: &str) -> Graph {
    Graph::new().weight(weight, &[8, 8]).node("MatMul", &["x", weight], &[output], vec![]).output(output, &[4, 8])
}

#[test]
fn forms_of_old_operator_sets() {
    let x = || Graph::new().input("x", &[2, 8, 4, 4]);
    let broadcast = x().weight("b", &[8]).node("Add", &["x", "b"], &["y"], vec![int("axis", 1), int("broadcast", 1)]);
    assert_eq!(output(&import(in_opset(&broadcast.output("y", &[]), 6)).model), [2, 8, 4, 4]);
    let pad = x().node("Pad", &["x"], &["y"], vec![ints("pads", &[0, 0, 1, 1, 0, 0, 1, 1])]);
    assert_eq!(output(&import(in_opset(&pad.output("y", &[]), 9)).model), [2, 8, 6, 6]);
    let slice = x().node("Slice", &["x"], &["s"], vec![ints("starts", &[1]), ints("ends", &[5]), ints("axes", &[1])]);
    let slice = slice.node("Relu", &["s"], &["y"], vec![]);
    assert_eq!(output(&import(in_opset(&slice.output("y", &[]), 9)).model), [2, 4, 4, 4]);
    let gemm = Graph::new().input("x", &[4, 8]).weight("w", &[8, 3]).weight("b", &[3]);
    let gemm = gemm.node("Gemm", &["x", "w", "b"], &["y"], vec![int("broadcast", 1)]);
    assert_eq!(output(&import(in_opset(&gemm.output("y", &[]), 6)).model), [4, 3]);
}

#[test]
fn one_if_around_two_branches_is_the_larger_one() {
    let larger = Graph::new().weight("w", &[8, 8]).node("MatMul", &["x", "w"], &["m"], vec![]);
    let larger = larger.node("Relu", &["m"], &["then"], vec![]).output("then", &[4, 8]);
    let branches = vec![graph("then_branch", larger), graph("else_branch", product("v", "else"))];
    let whole = Graph::new().input("x", &[4, 8]).input("c", &[]).node("Not", &["c"], &["n"], vec![]);
    let whole = whole.node("If", &["n"], &["y"], branches).output("y", &[4, 8]);
    // The other one has no activation.
    let options = Options { trips: [("y".to_owned(), 0)].into(), ..Options::default() };
    let other = parse(whole.bytes(), "m", &options).unwrap();
    assert!(other.warnings.is_empty() && options.unknown_names(&[&other]).is_empty(), "{:?}", other.warnings);
    assert_eq!(other.model.layers.iter().next().unwrap().nodes.len(), 1);
    let import = import(whole.bytes());
    assert_eq!(kinds(&import.model), ["MatMul"]);
    assert_eq!(import.model.layers.iter().next().unwrap().nodes.len(), 2, "the activation of the branch is fused");
    assert!(
        import.warnings[0]
            .to_string()
            .contains("its then_branch, of no fewer nodes, is taken; its else_branch is with --trip y=0")
    );
}

#[test]
fn a_loop_is_its_steps() {
    let body = Graph::step().output("next", &[4, 8]);
    let whole = |graph: Graph| {
        let attributes = vec![frontend_models::graph("body", body.clone())];
        graph
            .node("Loop", &["n", "", "x"], &["last", "all"], attributes)
            .output("last", &[4, 8])
            .output("all", &[3, 4, 8])
    };
    let known = whole(Graph::new().input("x", &[4, 8]).int_tensor("n", &[], &[3]));
    let import_ = import(known.bytes());
    assert_eq!(kinds(&import_.model).iter().filter(|&&kind| kind == "MatMul").count(), 3);
    let weights = import_.model.tensors.iter().filter(|tensor| tensor.kind == TensorKind::Weight).count();
    assert_eq!(weights, 1, "all steps share it");
    let unknown = whole(Graph::new().input("x", &[4, 8]).int_input("n", &[])).bytes();
    let errors = parse(unknown.clone(), "model", &Options::default()).unwrap_err().to_string();
    assert!(errors.contains("give one, as in --trip last=8"), "{errors}");
    let options = Options { trips: [("last".to_owned(), 2)].into(), ..Options::default() };
    let shorter = parse(unknown, "model", &options).unwrap().model;
    assert_eq!(kinds(&shorter).iter().filter(|&&kind| kind == "MatMul").count(), 2);
}

#[test]
fn functions_take_the_place_of_their_calls() {
    let mut model = Graph::new()
        .input("x", &[4, 8])
        .weight("w", &[8, 8])
        .node("Layer", &["x", "w"], &["y"], vec![int("side", 1)])
        .output("y", &[4, 8])
        .model();
    model.graph.as_mut().unwrap().node[0].domain = "mine".into();
    let mut inner = Graph::new().node("Gemm", &["a", "b"], &["g"], vec![int("transB", 0)]).graph();
    inner.node[0].attribute[0].ref_attr_name = "side".into();
    let relu = Graph::new().node("Relu", &["g"], &["r"], vec![]).graph().node;
    model.functions.push(FunctionProto {
        name: "Layer".into(),
        domain: "mine".into(),
        input: vec!["a".into(), "b".into()],
        output: vec!["r".into()],
        attribute: vec!["side".into()],
        node: [inner.node, relu].concat(),
        ..Default::default()
    });
    let import = import(model.write_to_bytes().unwrap().into());
    assert_eq!(kinds(&import.model), ["Gemm"]);
    assert_eq!(output(&import.model), [4, 8]);
}

#[test]
fn a_function_that_calls_itself_is_refused() {
    let mut model = Graph::new().input("x", &[4]).node("F", &["x"], &["y"], vec![]).output("y", &[4]).model();
    let call = Graph::new().node("F", &["a"], &["b"], vec![]).graph().node;
    let names = |name: &str| vec![name.to_owned()];
    let function =
        FunctionProto { name: "F".into(), input: names("a"), output: names("b"), node: call, ..Default::default() };
    model.functions.push(function);
    let errors = parse(model.write_to_bytes().unwrap().into(), "model", &Options::default()).unwrap_err();
    assert!(errors.to_string().contains("nested too deep"), "{errors}");
}

/// A weight that is dequantised weighs a byte, and what is dequantised at run time is read as it is stored.
#[test]
fn quantised_tensors_stay_narrow() {
    let mut model = Graph::new()
        .input("x", &[4, 64])
        .weight("s", &[])
        .weight("wq", &[64, 32])
        .node("QuantizeLinear", &["x", "s"], &["xq"], vec![])
        .node("DequantizeLinear", &["xq", "s"], &["xd"], vec![])
        .node("DequantizeLinear", &["wq", "s"], &["wd"], vec![])
        .node("MatMul", &["xd", "wd"], &["y"], vec![])
        .output("y", &[4, 32])
        .model();
    let weights = &mut model.graph.as_mut().unwrap().initializer;
    weights[1].data_type = 3;
    let import = import(model.write_to_bytes().unwrap().into());
    assert_eq!(kinds(&import.model), ["QuantizeLinear", "MatMul"]);
    let product = import.model.layers.iter().last().unwrap();
    let widths: Vec<_> = product.reads.iter().map(|read| import.model.tensors[read.tensor].element_bits).collect();
    assert_eq!(widths, [8, 8]);
}

/// Exporters call all dimensions that they do not know `?`.
#[test]
fn question_marks_are_not_one_dimension() {
    let mut model = Graph::new()
        .input("a", &[4, 8])
        .input("b", &[8, 2])
        .node("MatMul", &["a", "b"], &["y"], vec![])
        .output("y", &[4, 2])
        .model();
    for input in &mut model.graph.as_mut().unwrap().input {
        for dim in &mut input.type_.as_mut().unwrap().mut_tensor_type().shape.as_mut().unwrap().dim {
            dim.set_dim_param("?".into());
        }
    }
    let bytes = Bytes::from(model.write_to_bytes().unwrap());
    let options = Options { dims: [("?".to_owned(), 4)].into(), ..Options::default() };
    let errors = parse(bytes.clone(), "model", &options).unwrap_err().to_string();
    assert!(errors.contains("neither size nor name: a, b; give their whole shapes"), "{errors}");
    let shapes = [("a".to_owned(), vec![4, 8]), ("b".to_owned(), vec![8, 2]), ("c".to_owned(), vec![1])].into();
    let options = Options { shapes, ..Options::default() };
    let import = parse(bytes, "model", &options).unwrap();
    assert_eq!(output(&import.model), [4, 2]);
    let unknown = options.unknown_names(&[&import]);
    assert_eq!(
        unknown.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["model has no input 'c' (it has: a, b); leave it out, or give one of these"]
    );
}

#[test]
fn initializers_that_are_odd() {
    // Listed among the inputs too; without elements; in typed fields.
    let mut model = Graph::new()
        .input("x", &[2, 3])
        .input("w", &[3, 3])
        .int_tensor("none", &[0], &[])
        .weight("w", &[3, 3])
        .node("MatMul", &["x", "w"], &["m"], vec![])
        .node("Reshape", &["m", "shape"], &["r"], vec![])
        .node("Clip", &["r", "", ""], &["y"], vec![])
        .output("y", &[6])
        .model();
    let shape =
        TensorProto { name: "shape".into(), dims: vec![1], data_type: 7, int64_data: vec![-1], ..Default::default() };
    model.graph.as_mut().unwrap().initializer.push(shape);
    // Nodes in any order, and a domain that is not imported.
    model.graph.as_mut().unwrap().node.reverse();
    let import = import(model.write_to_bytes().unwrap().into());
    assert_eq!(kinds(&import.model), ["MatMul"]);
    assert_eq!(output(&import.model), [6]);
}

#[test]
fn the_optimizers_own_operators() {
    let mut model = Graph::new()
        .input("x", &[1, 16, 64])
        .weight("packed", &[32, 2, 16])
        .weight("scales", &[64])
        .node(
            "MatMulNBits",
            &["x", "packed", "scales"],
            &["m"],
            vec![int("K", 64), int("N", 32), int("block_size", 32)],
        )
        .node("BiasGelu", &["m", "bias"], &["g"], vec![])
        .node("SkipLayerNormalization", &["g", "skip", "gamma"], &["y", "", "", "sum"], vec![])
        .weight("bias", &[32])
        .weight("gamma", &[32])
        .input("skip", &[1, 16, 32])
        .output("y", &[1, 16, 32])
        .output("sum", &[1, 16, 32])
        .model();
    ms(&mut model);
    model.graph.as_mut().unwrap().initializer[0].data_type = 2;
    let import = import(model.write_to_bytes().unwrap().into());
    let product = import.model.layers.iter().next().unwrap();
    assert_eq!((product.kind.as_str(), product.whole().volume()), ("MatMulNBits", 16 * 64 * 32));
    let weight = &import.model.tensors[product.reads[1].tensor];
    assert_eq!((&weight.shape[..], weight.element_bits), (&[32, 2, 16][..], 8));
    assert!(import.warnings.iter().any(|warning| warning.what.contains("output 'sum'")), "{:?}", import.warnings);
}

/// The products of attention as one operator, whichever way its heads are packed.
#[test]
fn attention_is_its_two_products() {
    let macs = |model: &Model| -> u64 {
        let products = model.layers.iter().filter(|layer| layer.op == layerweaver::ir::Op::Gemm);
        products.map(|layer| layer.whole().volume()).sum()
    };
    let two_products = 2 * 16 * 16 * 64;
    let heads = || vec![int("num_heads", 4)];
    let x = || Graph::new().input("x", &[1, 16, 64]).output("y", &[1, 16, 64]);
    let mut projected =
        x().weight("w", &[64, 192]).weight("b", &[192]).node("Attention", &["x", "w", "b"], &["y"], heads()).model();
    ms(&mut projected);
    let projected = import(projected.write_to_bytes().unwrap().into());
    assert_eq!(macs(&projected.model), 16 * 64 * 192 + two_products);
    assert_eq!(kinds(&projected.model), ["MatMul", "MatMul", "Softmax", "MatMul"]);
    let mut separate = x()
        .input("k", &[1, 16, 64])
        .input("v", &[1, 16, 64])
        .weight("b", &[192])
        .node("MultiHeadAttention", &["x", "k", "v", "b"], &["y"], heads())
        .model();
    ms(&mut separate);
    assert_eq!(macs(&import(separate.write_to_bytes().unwrap().into()).model), two_products);
    // Two heads share a key; a step of one token behind 15 that are there.
    let mut grouped = Graph::new()
        .input("x", &[1, 1, 128])
        .input("pk", &[1, 2, 15, 16])
        .input("pv", &[1, 2, 15, 16])
        .node(
            "GroupQueryAttention",
            &["x", "", "", "pk", "pv"],
            &["y", "nk", "nv"],
            vec![int("num_heads", 4), int("kv_num_heads", 2)],
        )
        .output("y", &[1, 1, 64])
        .output("nk", &[1, 2, 16, 16])
        .output("nv", &[1, 2, 16, 16])
        .model();
    ms(&mut grouped);
    let grouped = import(grouped.write_to_bytes().unwrap().into());
    assert_eq!(macs(&grouped.model), 2 * 4 * 16 * 16);
    assert!(grouped.warnings.is_empty(), "{:?}", grouped.warnings);
}

/// What is fused behind a reduction runs once for each result.
#[test]
fn an_activation_behind_a_reduction_is_not_charged_for_each_point() {
    let graph = Graph::new().input("x", &[1, 64, 7, 7]).node("GlobalAveragePool", &["x"], &["p"], vec![]);
    let import = import(graph.node("HardSigmoid", &["p"], &["y"], vec![]).output("y", &[1, 64, 1, 1]).bytes());
    let layer = import.model.layers.iter().next().unwrap();
    assert_eq!((layer.nodes.len(), layer.lane_operations, layer.whole().volume()), (2, 1, 64 * 49));
}

/// Steps are groups, for which the weights are the same.
#[test]
fn a_recurrent_layer_has_its_steps_as_groups() {
    let graph = Graph::new()
        .input("x", &[10, 2, 32])
        .weight("w", &[1, 256, 32])
        .weight("r", &[1, 256, 64])
        .node("LSTM", &["x", "w", "r"], &["", "last"], vec![int("hidden_size", 64)])
        .output("last", &[1, 2, 64]);
    let import = import(graph.bytes());
    let layer = import.model.layers.iter().next().unwrap();
    assert_eq!(layer.whole().volume(), 10 * 2 * 256 * (32 + 64));
    assert!(import.warnings[0].what.contains("steps costed one by one"));
}

/// All nodes are of com.microsoft.
fn ms(model: &mut ModelProto) {
    model.opset_import.push(OperatorSetIdProto { domain: "com.microsoft".into(), version: 1, ..Default::default() });
    for node in &mut model.graph.as_mut().unwrap().node {
        node.domain = "com.microsoft".into();
    }
}
