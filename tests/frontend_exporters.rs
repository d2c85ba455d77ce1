//! What exporters and optimizers write that no network of testdata/ has: weights in odd places, blocks of channels, trees,
//! operators of somebody's own, sizes that only the data decide.

mod frontend_models;

use frontend_models::{Graph, int, ints};
use layerweaver::frontend::{Import, Options, parse};
use layerweaver::ir::{Model, Op, TensorKind};
use onnx_protobuf::{
    AttributeProto, Message, ModelProto, OperatorSetIdProto, TensorProto, attribute_proto::AttributeType,
};

fn import(model: &ModelProto) -> Import {
    read(model).unwrap_or_else(|errors| panic!("{errors}"))
}

fn read(model: &ModelProto) -> Result<Import, String> {
    let bytes = model.write_to_bytes().unwrap().into();
    parse(bytes, "m", &Options::default()).map_err(|errors| errors.to_string())
}

/// A model of nodes of one domain.
fn of_domain(graph: &Graph, domain: &str, version: i64) -> ModelProto {
    let mut model = graph.model();
    model.opset_import.push(OperatorSetIdProto { domain: domain.into(), version, ..Default::default() });
    for node in &mut model.graph.as_mut().unwrap().node {
        node.domain = domain.into();
    }
    model
}

/// A model in an older operator set.
fn in_opset(graph: &Graph, version: i64) -> ModelProto {
    let mut model = graph.model();
    model.opset_import[0].version = version;
    model
}

fn kinds(model: &Model) -> Vec<&str> {
    model.layers.iter().map(|layer| layer.kind.as_str()).collect()
}

/// Of each product.
fn macs(model: &Model) -> Vec<u64> {
    model.layers.iter().filter(|layer| layer.op == Op::Gemm).map(|layer| layer.whole().volume()).collect()
}

fn shapes(model: &Model, kind: TensorKind) -> Vec<&[u64]> {
    model.tensors.iter().filter(|tensor| tensor.kind == kind).map(|tensor| &tensor.shape[..]).collect()
}

fn warnings(import: &Import) -> Vec<String> {
    import.warnings.iter().map(ToString::to_string).collect()
}

fn tensor(name: &str, value: TensorProto) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        t: Some(value).into(),
        type_: AttributeType::TENSOR.into(),
        ..Default::default()
    }
}

fn floats(name: &str, floats: &[f32]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        floats: floats.to_vec(),
        type_: AttributeType::FLOATS.into(),
        ..Default::default()
    }
}

fn texts(name: &str, texts: &[&str]) -> AttributeProto {
    let strings = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    AttributeProto { name: name.into(), strings, type_: AttributeType::STRINGS.into(), ..Default::default() }
}

/// One weight in a Constant, one in a ConstantOfShape: both are loaded as any other.
#[test]
fn weights_that_nodes_make() {
    let weight = TensorProto { dims: vec![8, 16], data_type: 1, float_data: vec![0.5; 128], ..Default::default() };
    let graph = Graph::new()
        .input("x", &[4, 8])
        .int_tensor("shape", &[2], &[16, 32])
        .node("Constant", &[], &["w"], vec![tensor("value", weight)])
        .node("ConstantOfShape", &["shape"], &["v"], vec![])
        .node("MatMul", &["x", "w"], &["h"], vec![])
        .node("MatMul", &["h", "v"], &["y"], vec![])
        .output("y", &[4, 32]);
    let import = import(&graph.model());
    assert_eq!(kinds(&import.model), ["MatMul", "MatMul"]);
    assert_eq!(shapes(&import.model, TensorKind::Weight), [[8, 16], [16, 32]]);
}

/// Resize takes a region of no elements where it has none; a Concat may have a part of none.
#[test]
fn initializers_without_elements() {
    let graph = Graph::new()
        .input("x", &[1, 3, 4, 4])
        .weight("none", &[0])
        .weight("part", &[1, 0, 8, 8])
        .int_tensor("sizes", &[4], &[1, 3, 8, 8])
        .node("Resize", &["x", "none", "none", "sizes"], &["r"], vec![])
        .node("Concat", &["r", "part"], &["c"], vec![int("axis", 1)])
        .node("Relu", &["c"], &["y"], vec![])
        .output("y", &[1, 3, 8, 8]);
    let import = import(&graph.model());
    assert_eq!(shapes(&import.model, TensorKind::Output), [[1, 3, 8, 8]]);
    assert_eq!(shapes(&import.model, TensorKind::Weight), [[0u64; 0]; 0]);
    assert_eq!(warnings(&import), [""; 0]);
}

/// Reshape before version 5, Upsample before versions 9 and 10.
#[test]
fn attributes_that_became_inputs() {
    let x = || Graph::new().input("x", &[1, 2, 4, 4]);
    let reshape =
        x().node("Reshape", &["x"], &["r"], vec![ints("shape", &[0, -1])]).node("Relu", &["r"], &["y"], vec![]);
    let reshape = import(&in_opset(&reshape.output("y", &[]), 4));
    assert_eq!(shapes(&reshape.model, TensorKind::Output), [[1, 32]]);
    let scales = [1.0, 1.0, 2.0, 3.0];
    let upsample = x().node("Upsample", &["x"], &["y"], vec![floats("scales", &scales)]).output("y", &[]);
    assert_eq!(shapes(&import(&in_opset(&upsample, 8)).model, TensorKind::Output), [[1, 2, 8, 12]]);
    let mut given = in_opset(&x().node("Upsample", &["x", "s"], &["y"], vec![]).output("y", &[]), 9);
    let value = TensorProto {
        name: "s".into(),
        dims: vec![4],
        data_type: 1,
        float_data: scales.to_vec(),
        ..Default::default()
    };
    given.graph.as_mut().unwrap().initializer.push(value);
    assert_eq!(shapes(&import(&given).model, TensorKind::Output), [[1, 2, 8, 12]]);
}

/// What the file says of a value within is wrong: 4×8 by 8×2 is 4×2.
#[test]
fn a_declared_shape_within_that_is_wrong() {
    let graph = Graph::new()
        .input("x", &[4, 8])
        .weight("w", &[8, 2])
        .node("MatMul", &["x", "w"], &["h"], vec![])
        .node("Softmax", &["h"], &["y"], vec![])
        .output("y", &[4, 2]);
    let mut model = graph.model();
    model.graph.as_mut().unwrap().value_info = Graph::new().output("h", &[4, 3]).graph().output;
    let import = import(&model);
    assert_eq!(shapes(&import.model, TensorKind::Output), [[4, 2]]);
    assert_eq!(
        warnings(&import),
        ["node 'h' (MatMul): makes 'h' of shape 4×2, though the file declares 4×3; ours stands"]
    );
}

/// ONNX Runtime pads channels to blocks of 8 or 16: the weight has 24 of them as 32, the input has 24, which come last.
#[test]
fn blocks_of_channels() {
    let graph = Graph::new()
        .input("x", &[1, 8, 9, 24])
        .weight("w", &[32, 32, 3, 3])
        .weight("b", &[32])
        .node("ReorderInput", &["x"], &["r"], vec![int("channels_last", 1)])
        .node("Conv", &["r", "w", "b"], &["c"], vec![ints("pads", &[1, 1, 1, 1])])
        .node("MaxPool", &["c"], &["p"], vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])])
        .node("Upsample", &["p"], &["u"], vec![ints("scales", &[1, 1, 2, 2])])
        .node("ReorderOutput", &["u"], &["y"], vec![int("channels", 30), int("channels_last", 1)])
        .output("y", &[1, 8, 8, 30]);
    let import = import(&of_domain(&graph, "com.microsoft.nchwc", 1));
    assert_eq!(kinds(&import.model), ["Conv", "MaxPool", "Upsample", "ReorderOutput"]);
    assert_eq!(shapes(&import.model, TensorKind::Output), [[1, 8, 8, 30]]);
    assert_eq!(macs(&import.model), [72 * 32 * 24 * 9]);
    assert_eq!(warnings(&import), [""; 0]);
}

/// Of 12 channels with a weight each ONNX Runtime 1.18.1 makes 16 groups, behind an input that has only 12; what is added
/// has 16 too.
#[test]
fn blocks_of_channels_with_a_weight_each() {
    let graph = Graph::new()
        .input("x", &[1, 12, 8, 8])
        .weight("w", &[16, 12, 1, 1])
        .weight("each", &[16, 1, 3, 3])
        .node("Conv", &["x", "w"], &["a"], vec![])
        .node("ReorderInput", &["x"], &["r"], vec![])
        .node("Conv", &["r", "each"], &["c"], vec![ints("pads", &[1, 1, 1, 1]), int("group", 16)])
        .node("Add", &["c", "a"], &["s"], vec![])
        .node("ReorderOutput", &["s"], &["y"], vec![int("channels", 12)])
        .output("y", &[1, 12, 8, 8]);
    let mut model = of_domain(&graph, "com.microsoft.nchwc", 1);
    model.graph.as_mut().unwrap().node[3].domain.clear();
    let import = import(&model);
    assert_eq!(kinds(&import.model), ["Conv", "Conv", "ReorderOutput"]);
    assert_eq!(macs(&import.model), [64 * 16 * 12, 64 * 16 * 9]);
    assert_eq!(warnings(&import), [""; 0]);
}

/// The label is the class of the most likely; the map of each row has the numbers that were a row.
#[test]
fn trees_and_a_map_of_what_they_say() {
    let graph = Graph::new()
        .input("x", &[10, 4])
        .node("TreeEnsembleClassifier", &["x"], &["label", "p"], vec![ints("classlabels_int64s", &[0, 1, 2])])
        .node("ZipMap", &["p"], &["maps"], vec![ints("classlabels_int64s", &[0, 1, 2])])
        .output("label", &[10])
        .output("maps", &[]);
    let mut model = of_domain(&graph, "ai.onnx.ml", 3);
    model.graph.as_mut().unwrap().output[1].type_ = None.into();
    let import = import(&model);
    assert_eq!(shapes(&import.model, TensorKind::Output), [&[10][..], &[10, 3]]);
    let said = warnings(&import);
    assert!(
        said[0].starts_with("node 'label' (TreeEnsembleClassifier): is costed as 1 vector operations for each row"),
        "{said:?}"
    );
    assert!(said.iter().any(|said| said == "node 'maps' (ZipMap): makes a map of each row, which is taken as the row"));
}

/// A tree of two levels and one of one: three fetches and comparisons for each row, which two numbers share.
#[test]
fn trees_that_give_numbers() {
    let trees = |op: &str, version: i64, attributes: Vec<AttributeProto>| {
        let graph = Graph::new().input("x", &[10, 4]).node(op, &["x"], &["y"], attributes).output("y", &[10, 2]);
        import(&of_domain(&graph, "ai.onnx.ml", version))
    };
    for import in [
        trees(
            "TreeEnsembleRegressor",
            3,
            vec![
                int("n_targets", 2),
                ints("nodes_treeids", &[0, 0, 0, 0, 0, 1, 1, 1]),
                ints("nodes_nodeids", &[0, 1, 2, 3, 4, 0, 1, 2]),
                ints("nodes_truenodeids", &[1, 3, 0, 0, 0, 1, 0, 0]),
                ints("nodes_falsenodeids", &[2, 4, 0, 0, 0, 2, 0, 0]),
            ],
        ),
        trees(
            "TreeEnsemble",
            5,
            vec![
                int("n_targets", 2),
                ints("tree_roots", &[0, 2]),
                ints("nodes_truenodeids", &[1, 0, 2]),
                ints("nodes_trueleafs", &[0, 1, 1]),
                ints("nodes_falsenodeids", &[4, 1, 3]),
                ints("nodes_falseleafs", &[1, 1, 1]),
            ],
        ),
    ] {
        assert_eq!(shapes(&import.model, TensorKind::Output), [[10, 2]]);
        assert_eq!(import.model.layers.iter().map(|layer| layer.lane_operations).collect::<Vec<_>>(), [3]);
        assert_eq!(warnings(&import).len(), 1);
    }
}

/// A map goes in: nobody knows its size, so its values have to be given as a tensor.
#[test]
fn a_map_as_an_input() {
    let vocabulary = vec![texts("string_vocabulary", &["a", "b"])];
    let graph = Graph::new().input("x", &[]).node("DictVectorizer", &["x"], &["y"], vocabulary).output("y", &[1, 2]);
    let mut model = of_domain(&graph, "ai.onnx.ml", 1);
    model.graph.as_mut().unwrap().input[0].type_.as_mut().unwrap().mut_map_type().key_type = 8;
    assert_eq!(
        read(&model).map(|_| ()).unwrap_err(),
        "m has input 'x' that is a map; take out the nodes that read it, and give the model the tensor that they make"
    );
}

/// An operator of somebody's own: a layer where its output is declared, an error where it is not.
#[test]
fn an_operator_of_somebodys_own() {
    let graph = |shape: &[i64]| {
        let graph = Graph::new().input("x", &[4, 8]).node("Swirl", &["x"], &["y"], vec![]).output("y", shape);
        of_domain(&graph, "mine", 1)
    };
    let known = import(&graph(&[4, 2]));
    assert_eq!((kinds(&known.model), shapes(&known.model, TensorKind::Output)), (vec!["Swirl"], vec![&[4, 2][..]]));
    assert!(warnings(&known)[0].starts_with("node 'y' (Swirl): is not known; costed as one vector operation"));
    let error = read(&graph(&[4, -1])).map(|_| ()).unwrap_err();
    assert!(error.contains("declare the shapes of its outputs in value_info"), "{error}");
}

/// 3 boxes of at most 2 for each of 2 classes; a region of each that is kept: 4 of them.
#[test]
fn sizes_that_the_data_decide_are_bounded() {
    let graph = Graph::new()
        .input("boxes", &[1, 3, 4])
        .input("scores", &[1, 2, 3])
        .input("features", &[1, 16, 20, 20])
        .int_tensor("most", &[], &[2])
        .int_tensor("batch", &[4], &[0, 0, 0, 0])
        .int_tensor("box", &[1], &[2])
        .node("NonMaxSuppression", &["boxes", "scores", "most"], &["kept"], vec![])
        .node("Gather", &["kept", "box"], &["index"], vec![int("axis", 1)])
        .node("Squeeze", &["index", "one"], &["at"], vec![])
        .int_tensor("one", &[1], &[1])
        .node("Gather", &["boxes", "at"], &["picked"], vec![int("axis", 1)])
        .node("Squeeze", &["picked", "zero"], &["rois"], vec![])
        .int_tensor("zero", &[1], &[0])
        .node("RoiAlign", &["features", "rois", "batch"], &["y"], vec![int("output_height", 7), int("output_width", 7)])
        .output("y", &[4, 16, 7, 7]);
    let import = import(&graph.model());
    assert_eq!(shapes(&import.model, TensorKind::Output), [[4, 16, 7, 7]]);
    let bounds: Vec<_> = warnings(&import).into_iter().filter(|said| said.contains("upper bound")).collect();
    assert_eq!(bounds.len(), 1, "{bounds:?}");
    assert_eq!(
        bounds[0],
        "node 'kept' (NonMaxSuppression): has an output whose size the data decides; the upper bound is taken: as many \
         boxes as may be kept of each class; or give it, as in --dim kept=1"
    );
}

/// NonZero of 3×4 has at most 12 columns; a computed k picks at most all 12. Where the user knows better, 5 of 7.
#[test]
fn what_follows_a_bound_has_it_too() {
    let graph = Graph::new()
        .input("x", &[3, 4])
        .int_input("k", &[1])
        .node("NonZero", &["x"], &["n"], vec![])
        .node("TopK", &["n", "k"], &["t", "i"], vec![])
        .output("t", &[2, 12]);
    let mut model = graph.model();
    model.graph.as_mut().unwrap().output[0].type_.as_mut().unwrap().mut_tensor_type().elem_type = 7;
    let import = import(&model);
    assert_eq!(shapes(&import.model, TensorKind::Output), [[2, 12]]);
    let said = warnings(&import);
    assert!(said.iter().any(|said| said.starts_with("node 'n' (NonZero): has an output whose size the data decides")));
    assert!(said.iter().any(|said| said.starts_with("node 't' (TopK): has an output whose size the data decides")));
    let given = |sizes: [(&str, u64); 2]| {
        let dims = sizes.map(|(name, size)| (name.to_owned(), size)).into();
        let options = Options { dims, ..Options::default() };
        let import = parse(model.write_to_bytes().unwrap().into(), "m", &options).unwrap();
        assert!(options.unknown_names(&[&import]).is_empty());
        assert!(!warnings(&import).iter().any(|said| said.contains("upper bound")));
        shapes(&import.model, TensorKind::Output)[0].to_vec()
    };
    assert_eq!(given([("n", 7), ("t", 5)]), [2, 5]);
    assert_eq!(given([("n", 7), ("t", 50)]), [2, 7], "no more than there are");
}

/// Of torchvision's detectors: an image of 300×400 is scaled by min(800 / 300, 1333 / 400), in floats.
#[test]
fn sizes_that_detectors_compute() {
    let graph = Graph::new()
        .input("x", &[1, 3, 300, 400])
        .int_tensor("sizes", &[2], &[300, 400])
        .number("least", 800.0)
        .number("most", 1333.0)
        .node("ReduceMin", &["sizes"], &["short"], vec![int("keepdims", 0)])
        .node("ReduceMax", &["sizes"], &["long"], vec![int("keepdims", 0)])
        .node("Cast", &["short"], &["short float"], vec![int("to", 1)])
        .node("Cast", &["long"], &["long float"], vec![int("to", 1)])
        .node("Reciprocal", &["short float"], &["by short"], vec![])
        .node("Reciprocal", &["long float"], &["by long"], vec![])
        .node("Mul", &["by short", "least"], &["up"], vec![])
        .node("Mul", &["by long", "most"], &["down"], vec![])
        .node("Min", &["up", "down"], &["scale"], vec![])
        .node("Cast", &["sizes"], &["sizes float"], vec![int("to", 1)])
        .node("Mul", &["sizes float", "scale"], &["scaled"], vec![])
        .node("Floor", &["scaled"], &["whole"], vec![])
        .node("Cast", &["whole"], &["target"], vec![int("to", 7)])
        .int_tensor("front", &[2], &[1, 3])
        .node("Concat", &["front", "target"], &["shape"], vec![int("axis", 0)])
        .node("Resize", &["x", "", "", "shape"], &["y"], vec![])
        .output("y", &[1, 3, 800, 1066]);
    let import = import(&graph.model());
    assert_eq!(shapes(&import.model, TensorKind::Output), [[1, 3, 800, 1066]]);
    assert_eq!((kinds(&import.model), warnings(&import)), (vec!["Resize"], vec![]));
}

/// The best of two levels side by side, and where they were. Each index is made with its value, so that it reads that part
/// of the whole that its own layer wrote.
#[test]
fn the_best_of_several_levels() {
    let graph = Graph::new()
        .input("a", &[30])
        .input("b", &[20])
        .int_tensor("k", &[1], &[5])
        .node("TopK", &["a", "k"], &["best a", "at a"], vec![])
        .node("TopK", &["b", "k"], &["best b", "at b"], vec![])
        .node("Concat", &["best a", "best b"], &["best"], vec![int("axis", 0)])
        .node("Concat", &["at a", "at b"], &["at"], vec![int("axis", 0)])
        .node("Gather", &["best", "at"], &["y"], vec![])
        .output("y", &[10]);
    let model = import(&graph.model()).model;
    assert_eq!(kinds(&model), ["TopK", "TopK", "TopK", "TopK", "Gather"]);
}

/// The last state is made from all steps, which then have a tensor of their own and are moved to their part.
#[test]
fn all_steps_and_the_last_state() {
    let graph = Graph::new()
        .input("x", &[5, 2, 8])
        .input("other", &[5, 1, 2, 16])
        .weight("w", &[1, 64, 8])
        .weight("r", &[1, 64, 16])
        .node("LSTM", &["x", "w", "r"], &["all", "last"], vec![int("hidden_size", 16)])
        .node("Concat", &["all", "other"], &["y"], vec![int("axis", 0)])
        .output("y", &[10, 1, 2, 16])
        .output("last", &[1, 2, 16]);
    let model = import(&graph.model()).model;
    assert_eq!(kinds(&model), ["LSTM", "LSTM", "Concat", "Concat"]);
}

#[test]
fn a_pad_of_nothing_is_no_work() {
    let graph = Graph::new()
        .input("x", &[4, 8])
        .int_tensor("pads", &[4], &[0; 4])
        .node("Pad", &["x", "pads"], &["p"], vec![])
        .node("Relu", &["p"], &["y"], vec![])
        .output("y", &[4, 8]);
    assert_eq!(kinds(&import(&graph.model()).model), ["Relu"]);
}
