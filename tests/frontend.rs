//! The frontend from outside: the networks of testdata/, and small models built with rust-protobuf.

mod frontend_models;

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use frontend_models::{Graph, ints};
use layerweaver::frontend::{FloatBits, Import, Options, parse, read};
use layerweaver::ir::{Affine, Layer, Model, Op, TensorKind};

fn testdata(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

fn dims(sizes: &[(&str, u64)]) -> Options {
    Options { dims: sizes.iter().map(|&(name, size)| (name.into(), size)).collect(), ..Options::default() }
}

fn network(name: &str) -> Model {
    let options = dims(&[("batch", 1), ("seq", 128)]);
    read(&testdata(&format!("{name}.onnx")), &options).unwrap_or_else(|errors| panic!("{errors}")).model
}

fn import(graph: &Graph) -> Import {
    parse(graph.bytes(), "model", &Options::default()).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The one error of a model, as a user sees it.
fn error(graph: &Graph) -> String {
    parse(graph.bytes(), "model", &Options::default()).unwrap_err().to_string()
}

fn macs(model: &Model) -> u64 {
    model.layers.iter().filter(|layer| layer.op == Op::Gemm).map(|layer| layer.whole().volume()).sum()
}

fn kinds(model: &Model) -> BTreeMap<&str, usize> {
    let mut kinds = BTreeMap::new();
    for layer in &model.layers {
        *kinds.entry(layer.kind.as_str()).or_default() += 1;
    }
    kinds
}

fn sizes(layer: &Layer) -> Vec<(&str, u64)> {
    layer.dims.iter().map(|dim| (dim.name.as_str(), dim.size)).collect()
}

fn read_names<'a>(model: &'a Model, layer: &Layer) -> Vec<&'a str> {
    layer.reads.iter().map(|read| model.tensors[read.tensor].name.as_str()).collect()
}

/// An index as text: `64·head + n + 3`.
fn shown(layer: &Layer, index: &Affine) -> String {
    let term = |&(dim, stride): &(layerweaver::ir::DimId, i64)| match stride {
        1 => layer.dims[dim.index()].name.clone(),
        _ => format!("{stride}·{}", layer.dims[dim.index()].name),
    };
    let mut parts: Vec<_> = index.terms.iter().map(term).collect();
    if index.offset != 0 || parts.is_empty() {
        parts.push(index.offset.to_string());
    }
    parts.join(" + ")
}

fn read_access(layer: &Layer, operand: usize) -> Vec<String> {
    layer.reads[operand].access.as_ref().unwrap().0.iter().map(|index| shown(layer, index)).collect()
}

fn write_access(layer: &Layer) -> Vec<String> {
    layer.write.as_ref().unwrap().access.as_ref().unwrap().0.iter().map(|index| shown(layer, index)).collect()
}

/// The published multiply-accumulates of each network, in millions, to 2 %.
#[test]
fn networks_have_their_published_macs() {
    let published = [
        ("resnet50", 4_090),
        ("resnet152", 11_500),
        ("mobilenet_v2", 300),
        ("inception_v3", 5_700),
        ("resnext50_32x4d", 4_200),
        ("bert_base", 11_200),
        ("bert_large", 39_500),
    ];
    for (name, millions) in published {
        let macs = macs(&network(name));
        assert!(macs.abs_diff(millions * 1_000_000) * 50 <= millions * 1_000_000, "{name} has {macs} MACs");
    }
}

#[test]
fn nothing_but_real_work_is_left() {
    let residual = [("Conv", 53), ("Gemm", 1), ("GlobalAveragePool", 1), ("MaxPool", 1)];
    assert_eq!(kinds(&network("resnet50")), BTreeMap::from(residual));
    assert_eq!(kinds(&network("resnext50_32x4d")), BTreeMap::from(residual));
    // 8 layers a block of 12, 2 of them without weights, and the pooler; a mask; two tables that are looked up.
    let encoder =
        [("Cast", 1), ("Gather", 2), ("Gemm", 1), ("LayerNormalization", 25), ("MatMul", 96), ("Softmax", 12)];
    assert_eq!(kinds(&network("bert_base")), BTreeMap::from(encoder));
    assert_eq!(kinds(&network("ncf")), BTreeMap::from([("Gather", 4), ("Gemm", 4)]));
    assert!(!kinds(&network("inception_v3")).contains_key("Concat"), "branches are written in place");
}

#[test]
fn named_dimensions_give_the_same_layers() {
    let shapes = |model: &Model| -> Vec<_> {
        model.layers.iter().map(|layer| (layer.kind.clone(), layer.dims.clone(), layer.write.clone())).collect()
    };
    let (fixed, named) = (network("bert_base"), network("bert_base_dynamic"));
    let without_tensors =
        |model| shapes(model).into_iter().map(|(kind, dims, write)| (kind, dims, write.unwrap().access));
    assert!(without_tensors(&fixed).eq(without_tensors(&named)));
}

#[test]
fn the_relative_shift_of_xlnet_is_an_access() {
    let model = network("xlnet_large");
    let joins = |layer: &&Layer| layer.nodes.contains(&"/layer.0/rel_attn/Add_3".to_owned());
    let layer = model.layers.iter().find(joins).unwrap();
    // To the scores by content those by position are added, where they are: the shift is no layer.
    assert_eq!((layer.name.as_str(), layer.reads.len()), ("/layer.0/rel_attn/Einsum_4", 3));
    assert_eq!(read_access(layer, 2), ["0", "n", "i", "j + -1·i + 128"]);
    assert!(!kinds(&model).contains_key("Reshape"));
}

#[test]
fn a_decode_step_writes_its_cache() {
    let model = network("gpt2_decode");
    let outputs = model.tensors.iter().filter(|tensor| tensor.kind == TensorKind::Output).count();
    assert_eq!(outputs, 25, "the logits and 24 caches");
    assert_eq!(kinds(&model)["Concat"], 48, "the old part and the new one of each");
}

#[test]
fn the_fingerprint_is_of_the_graph_alone() {
    let fingerprint = |options: &Options| read(&testdata("bert_base_dynamic.onnx"), options).unwrap().model.fingerprint;
    let one = fingerprint(&dims(&[("batch", 1), ("seq", 128)]));
    let narrow = Options { float_bits: FloatBits::all(8), ..dims(&[("batch", 2), ("seq", 64)]) };
    assert_eq!(one, fingerprint(&narrow));
    assert!(one.len() == 64 && one.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
    assert_ne!(one, network("bert_base").fingerprint);
}

#[test]
fn floats_take_the_precision_and_integers_keep_theirs() {
    let options = Options { float_bits: FloatBits::all(8), ..Options::default() };
    let model = read(&testdata("ncf.onnx"), &options).unwrap().model;
    for tensor in &model.tensors {
        let expected = if tensor.kind == TensorKind::Input { 64 } else { 8 };
        assert_eq!(tensor.element_bits, expected, "{}", tensor.name);
    }
}

/// Weights of 4 bits, packed: 3 × 5 are 60 bits, 8 bytes; 5 are 20 bits, 3 bytes. Activations of 16 and, where nothing
/// is said, of 32 as in the file: 1 × 3 are 6 bytes or 12, 1 × 5 are 10 or 20.
#[test]
fn weights_and_activations_have_widths_of_their_own() {
    let graph = Graph::new().input("x", &[1, 3]).weight("w", &[3, 5]).weight("b", &[5]).output("y", &[1, 5]);
    let graph = graph.node("Gemm", &["x", "w", "b"], &["y"], vec![]);
    let bytes = |weights, activations| {
        let options = Options { float_bits: FloatBits { weights, activations }, ..Options::default() };
        let model = parse(graph.bytes(), "model", &options).unwrap().model;
        let bytes = model.tensors.iter().map(|tensor| (tensor.name.clone(), tensor.bytes_of(&tensor.whole()).get()));
        ["x", "w", "b", "y"].map(|name| bytes.clone().find(|(other, _)| other == name).unwrap().1)
    };
    assert_eq!(bytes(Some(4), Some(16)), [6, 8, 3, 10]);
    assert_eq!(bytes(Some(4), None), [12, 8, 3, 20]);
    assert_eq!(bytes(None, Some(16)), [6, 60, 20, 10]);
}

/// Softmax of 5 and the ReLU behind it of 1 are 6 for each element; as a chip says, 8 and 3. Elements that only move, and
/// cannot vanish into an access, cost 1, or what it says of Transpose.
#[test]
fn a_chip_says_what_operators_cost_it() {
    let graph = Graph::new().input("x", &[4, 8]).node("Softmax", &["x"], &["s"], vec![]);
    let graph = graph.node("Relu", &["s"], &["y"], vec![]).output("y", &[4, 8]);
    let graph = graph.node("Transpose", &["x"], &["z"], vec![ints("perm", &[1, 0])]).output("z", &[8, 4]);
    let lanes = |operations: &[(&str, u64)]| {
        let operations = operations.iter().map(|&(name, lanes)| (name.into(), lanes)).collect();
        let model = parse(graph.bytes(), "model", &Options { operations, ..Options::default() }).unwrap().model;
        model.layers.iter().map(|layer| layer.lane_operations).collect::<Vec<_>>()
    };
    assert_eq!(lanes(&[]), [6, 1]);
    assert_eq!(lanes(&[("Softmax", 8), ("Relu", 3), ("Transpose", 2), ("Gelu", 9)]), [11, 2]);
}

/// A residual block: convolution, batch normalisation, ReLU; and again, with the sum before the ReLU.
#[test]
fn a_residual_block_is_two_layers() {
    let mut graph = Graph::new().input("x", &[1, 8, 16, 16]);
    for (i, input) in [(1, "x"), (2, "r1")] {
        graph = graph.weight(&format!("w{i}"), &[8, 8, 3, 3]);
        graph = graph.weight(&format!("offset{i}"), &[8]);
        let inputs = [input, &format!("w{i}"), &format!("offset{i}")];
        graph = graph.node("Conv", &inputs, &[&format!("c{i}")], vec![ints("pads", &[1, 1, 1, 1])]);
        for parameter in ["scale", "bias", "mean", "variance"] {
            graph = graph.weight(&format!("{parameter}{i}"), &[8]);
        }
        let names = ["c", "scale", "bias", "mean", "variance"].map(|name| format!("{name}{i}"));
        let inputs: Vec<_> = names.iter().map(String::as_str).collect();
        graph = graph.node("BatchNormalization", &inputs, &[&format!("b{i}")], vec![]);
        graph = graph.node("Relu", &[&format!("b{i}")], &[&format!("r{i}")], vec![]);
    }
    let graph =
        graph.rewire("Relu", "b2", "sum").node("Add", &["b2", "x"], &["sum"], vec![]).output("r2", &[1, 8, 16, 16]);
    let model = import(&graph).model;
    let layers: Vec<_> = model.layers.iter().collect();
    assert_eq!(layers.len(), 2);
    assert_eq!(sizes(layers[0]), [("oc", 8), ("oh", 16), ("ow", 16), ("ic", 8), ("kh", 3), ("kw", 3)]);
    assert_eq!(read_access(layers[0], 0), ["0", "ic", "oh + kh + -1", "ow + kw + -1"]);
    assert_eq!(
        read_names(&model, layers[0]),
        ["x", "w1", "bias1"],
        "the scale is in the weights, the offset in the bias"
    );
    assert_eq!(read_names(&model, layers[1]), ["r1", "w2", "bias2", "x"]);
    assert_eq!(layers[1].nodes, ["c2", "b2", "sum", "r2"], "in an order in which they run");
    assert_eq!(model.tensors[layers[1].write.as_ref().unwrap().tensor].kind, TensorKind::Output);
}

#[test]
fn attention_reads_and_writes_heads_in_place() {
    let heads = |graph: Graph, name: &str| {
        graph.node("Reshape", &[name, "split"], &[&format!("{name}_split")], vec![]).node(
            "Transpose",
            &[&format!("{name}_split")],
            &[&format!("{name}_heads")],
            vec![ints("perm", &[0, 2, 1, 3])],
        )
    };
    let mut graph = Graph::new().input("x", &[1, 16, 32]).int_tensor("split", &[4], &[1, 16, 4, 8]);
    graph = graph.int_tensor("join", &[3], &[0, 0, -1]);
    for name in ["q", "k", "v"] {
        graph = graph.weight(&format!("w{name}"), &[32, 32]);
        graph = heads(graph.node("MatMul", &["x", &format!("w{name}")], &[name], vec![]), name);
    }
    let graph = graph
        .node("Transpose", &["k_heads"], &["k_turned"], vec![ints("perm", &[0, 1, 3, 2])])
        .node("MatMul", &["q_heads", "k_turned"], &["scores"], vec![])
        .node("Softmax", &["scores"], &["weights"], vec![])
        .node("MatMul", &["weights", "v_heads"], &["context"], vec![])
        .node("Transpose", &["context"], &["turned"], vec![ints("perm", &[0, 2, 1, 3])])
        .node("Reshape", &["turned", "join"], &["y"], vec![])
        .output("y", &[1, 16, 32]);
    let model = import(&graph).model;
    let layers: Vec<_> = model.layers.iter().collect();
    assert_eq!(kinds(&model), BTreeMap::from([("MatMul", 5), ("Softmax", 1)]));
    assert_eq!(sizes(layers[3]), [("head", 4), ("m", 16), ("n", 16), ("k", 8)]);
    assert_eq!(read_access(layers[3], 0), ["0", "m", "8·head + k"]);
    assert_eq!(read_access(layers[3], 1), ["0", "n", "8·head + k"]);
    assert_eq!(write_access(layers[5]), ["0", "m", "8·head + n"]);
}

/// An activation that is used twice stays one layer, and a branch that is used outside stays a tensor.
#[test]
fn fusion_ends_where_a_value_is_used_outside() {
    let swish = Graph::new()
        .input("x", &[4, 8])
        .weight("w", &[8, 8])
        .node("MatMul", &["x", "w"], &["y"], vec![])
        .node("Sigmoid", &["y"], &["s"], vec![])
        .node("Mul", &["y", "s"], &["z"], vec![])
        .output("z", &[4, 8]);
    assert_eq!(import(&swish).model.layers.iter().next().unwrap().nodes, ["y", "s", "z"]);
    let branch = swish.output("s", &[4, 8]);
    let model = import(&branch).model;
    let nodes: Vec<_> = model.layers.iter().map(|layer| layer.nodes.clone()).collect();
    assert_eq!(nodes, [vec!["y"], vec!["s"], vec!["z"]], "y is needed twice, and s is an output");
}

#[test]
fn a_concat_is_written_in_parts_and_what_is_no_result_is_moved() {
    let graph = Graph::new()
        .input("x", &[1, 4, 8])
        .weight("w", &[8, 8])
        .node("MatMul", &["x", "w"], &["y"], vec![])
        .node("Concat", &["x", "y"], &["z"], vec![frontend_models::int("axis", 1)])
        .output("z", &[1, 8, 8]);
    let model = import(&graph).model;
    let layers: Vec<_> = model.layers.iter().collect();
    assert_eq!((layers[0].kind.as_str(), layers[1].kind.as_str()), ("MatMul", "Concat"));
    assert_eq!(write_access(layers[0]), ["0", "m + 4", "n"]);
    assert_eq!(write_access(layers[1]), ["0", "m", "n"]);
    assert_eq!(layers[0].write.as_ref().unwrap().tensor, layers[1].write.as_ref().unwrap().tensor);
}

#[test]
fn an_output_that_is_a_view_is_moved_to_its_own_tensor() {
    let graph = Graph::new()
        .input("x", &[2, 8])
        .node("Relu", &["x"], &["y"], vec![])
        .node("Transpose", &["x"], &["t"], vec![ints("perm", &[1, 0])])
        .output("y", &[2, 8])
        .output("t", &[8, 2]);
    let model = import(&graph).model;
    assert_eq!(kinds(&model), BTreeMap::from([("Relu", 1), ("Transpose", 1)]));
}

/// A table of 100 rows, of which 6 are looked up; a second index is known, so it is a view.
#[test]
fn a_gather_loads_its_rows() {
    let graph = Graph::new()
        .int_input("ids", &[2, 3])
        .weight("table", &[100, 16])
        .node("Gather", &["table", "ids"], &["rows"], vec![])
        .int_tensor("first", &[], &[-1])
        .node("Gather", &["rows", "first"], &["last"], vec![frontend_models::int("axis", 1)])
        .node("Relu", &["last"], &["y"], vec![])
        .output("y", &[2, 16]);
    let imported = import(&graph);
    let layers: Vec<_> = imported.model.layers.iter().collect();
    assert_eq!(layers.len(), 2);
    assert_eq!(imported.model.tensors[layers[0].reads[0].tensor].shape, [6, 16]);
    assert_eq!(read_access(layers[0], 0), ["3·batch + m", "n"]);
    assert_eq!(read_access(layers[1], 0), ["m", "2", "n"]);
    let warning = imported.warnings[0].to_string();
    assert!(warning.starts_with("node 'rows' (Gather): which rows is known only at run time"), "{warning}");
}

#[test]
fn constants_are_folded_and_not_counted() {
    let graph = Graph::new()
        .input("x", &[2, 12])
        .node("Shape", &["x"], &["shape"], vec![])
        .int_tensor("zero", &[1], &[0])
        .node("Gather", &["shape", "zero"], &["batch"], vec![])
        .int_tensor("rest", &[2], &[3, 4])
        .node("Concat", &["batch", "rest"], &["target"], vec![frontend_models::int("axis", 0)])
        .node("Reshape", &["x", "target"], &["cube"], vec![])
        .weight("w", &[5, 4])
        .node("Transpose", &["w"], &["turned"], vec![])
        .node("MatMul", &["cube", "turned"], &["y"], vec![])
        .output("y", &[2, 3, 5]);
    let model = import(&graph).model;
    let layers: Vec<_> = model.layers.iter().collect();
    assert_eq!(layers.len(), 1);
    assert_eq!(sizes(layers[0]), [("batch", 2), ("m", 3), ("n", 5), ("k", 4)]);
    assert_eq!(read_access(layers[0], 0), ["batch", "4·m + k"]);
    assert_eq!(model.tensors[layers[0].reads[1].tensor].shape, [4, 5]);
}

#[test]
fn all_unknown_operators_are_named_once_each() {
    let graph = Graph::new()
        .input("x", &[4])
        .node("Foo", &["x"], &["a"], vec![])
        .node("Foo", &["a"], &["b"], vec![])
        .node("Bar", &["b"], &["c"], vec![])
        .node("Relu", &["c"], &["y"], vec![])
        .output("y", &[4]);
    let message = error(&graph);
    let lines: Vec<_> = message.lines().collect();
    assert_eq!(lines.len(), 2, "{message}");
    assert!(
        lines[0].starts_with("model: node 'a' (Foo, operator set 17) has an operator that is not known"),
        "{message}"
    );
    assert!(
        lines[1].starts_with("model: node 'c' (Bar, operator set 17) has an operator that is not known"),
        "{message}"
    );
}

#[test]
fn an_unknown_operator_of_known_shape_is_a_layer_with_a_warning() {
    let graph = Graph::new().input("x", &[4]).node("Foo", &["x"], &["y"], vec![]).output("y", &[4]);
    let imported = import(&graph);
    assert_eq!(kinds(&imported.model), BTreeMap::from([("Foo", 1)]));
    assert!(imported.warnings[0].to_string().starts_with("node 'y' (Foo): is not known"));
}

#[test]
fn all_unbound_dimensions_are_named_with_their_flags() {
    let errors = read(&testdata("bert_base_dynamic.onnx"), &Options::default()).unwrap_err();
    let message = errors.to_string();
    assert!(message.ends_with("has dimensions without a size: batch, seq; give them, as in --dim batch=1 --dim seq=1"));
    assert_eq!(errors.0.len(), 1);
}

#[test]
fn inputs_without_sizes_take_whole_shapes() {
    let graph = Graph::new().input("x", &[-1, 4]).node("Relu", &["x"], &["y"], vec![]).output("y", &[4, 4]);
    let message = error(&graph);
    assert!(message.starts_with("model has inputs with dimensions that have neither size nor name: x;"), "{message}");
    assert!(message.ends_with("as in --shape x=1,4"), "{message}");
    let options = Options { shapes: [("x".to_owned(), vec![4, 4])].into(), ..Options::default() };
    let import = parse(graph.bytes(), "model", &options).unwrap();
    assert_eq!(import.model.layers.iter().map(|layer| layer.whole().volume()).collect::<Vec<_>>(), [16]);
    assert_eq!(import.inputs.into_iter().collect::<Vec<_>>(), ["x"]);
}

/// A flattened convolution is written in its flat layout, so that the layer behind it reads rows.
#[test]
fn a_merge_is_written_by_the_layer_before_it() {
    let graph = Graph::new()
        .input("x", &[1, 3, 8, 8])
        .weight("w", &[4, 3, 3, 3])
        .weight("v", &[144, 10])
        .node("Conv", &["x", "w"], &["c"], vec![])
        .node("Flatten", &["c"], &["f"], vec![])
        .node("MatMul", &["f", "v"], &["y"], vec![])
        .output("y", &[1, 10]);
    let model = import(&graph).model;
    let layers: Vec<_> = model.layers.iter().collect();
    assert_eq!(layers.len(), 2);
    assert_eq!(write_access(layers[0]), ["0", "36·oc + 6·oh + ow"]);
    assert_eq!(read_access(layers[1], 0), ["m", "k"]);
}

/// An input that is flattened has no layer before it that could write it so. The product counts along what was merged, 3
/// by 4; where that doesn't come out even, the elements are moved.
#[test]
fn a_merge_of_an_input_is_counted_by_its_reader() {
    let product = |shape: [i64; 2]| {
        let graph = Graph::new().input("x", &[2, 3, 4]).weight("w", &[shape[1], 5]).int_tensor("shape", &[2], &shape);
        let graph = graph.node("Reshape", &["x", "shape"], &["f"], vec![]);
        import(&graph.node("MatMul", &["f", "w"], &["y"], vec![]).output("y", &[shape[0], 5])).model
    };
    let even = product([2, 12]);
    let layer = even.layers.iter().next().unwrap();
    assert_eq!((even.layers.len(), layer.whole().volume()), (1, 2 * 5 * 12));
    assert_eq!(read_access(layer, 0), ["m", "block", "k"]);
    assert_eq!(read_access(layer, 1), ["4·block + k", "n"]);
    let layers = |shape| product(shape).layers.len();
    // 24 are 2 by 3 by 4, and 12 by 2 are 2 by 3 by 2 by 2.
    assert_eq!([[1, 24], [12, 2]].map(layers), [1, 1]);
    // 6 are no fours; 8 are, but the 2 that are left no part of 3; 3 is no part of 4.
    assert_eq!([[4, 6], [3, 8], [8, 3]].map(layers), [2, 2, 2]);
}

#[test]
fn files_that_are_no_models_are_refused_in_a_sentence() {
    let of =
        |bytes: &[u8]| parse(Bytes::copy_from_slice(bytes), "m.onnx", &Options::default()).unwrap_err().to_string();
    assert_eq!(of(b""), "m.onnx is empty; export or copy it again");
    assert_eq!(of(b"{\"a\": 1}\n"), "m.onnx is a text file, not an ONNX model; give the .onnx file itself");
    let whole = std::fs::read(testdata("ncf.onnx")).unwrap();
    let cut = of(&whole[..whole.len() / 2]);
    assert!(cut.starts_with("m.onnx is cut off or is no ONNX model"), "{cut}");
    let missing = read(&testdata("absent.onnx"), &Options::default()).unwrap_err().to_string();
    assert!(missing.contains("cannot be read") && missing.contains("absent.onnx"), "{missing}");
}

#[test]
fn a_cycle_and_an_unknown_tensor_name_their_node() {
    let cycle = Graph::new()
        .input("x", &[4])
        .node("Add", &["x", "b"], &["a"], vec![])
        .node("Relu", &["a"], &["b"], vec![])
        .output("b", &[4]);
    assert!(
        error(&cycle).starts_with("model: node 'a' (Add, operator set 17) needs its own result"),
        "{}",
        error(&cycle)
    );
    let unknown = Graph::new().input("x", &[4]).node("Add", &["x", "z"], &["y"], vec![]).output("y", &[4]);
    assert!(
        error(&unknown).starts_with("model: node 'y' (Add, operator set 17) needs tensor 'z'"),
        "{}",
        error(&unknown)
    );
}

#[test]
fn a_weight_that_does_not_fit_names_both_shapes() {
    let graph = Graph::new()
        .input("x", &[1, 3, 8, 8])
        .weight("w", &[8, 4, 3, 3])
        .node("Conv", &["x", "w"], &["y"], vec![])
        .output("y", &[1, 8, 6, 6]);
    let message = error(&graph);
    assert!(message.contains("node 'y' (Conv, operator set 17) has input 1×3×8×8 and weight 8×4×3×3"), "{message}");
}

#[test]
fn a_declared_shape_that_differs_is_a_warning() {
    let graph = Graph::new().input("x", &[4, 2]).node("Relu", &["x"], &["y"], vec![]).output("y", &[4, 3]);
    let imported = import(&graph);
    assert!(imported.warnings[0].to_string().contains("of shape 4×2, though the file declares 4×3"));
}

#[test]
fn nodes_may_stand_out_of_order_and_weights_among_the_inputs() {
    let graph = Graph::new()
        .input("x", &[4, 8])
        .input("w", &[8, 8])
        .weight("w", &[8, 8])
        .node("Relu", &["y"], &["z"], vec![])
        .node("MatMul", &["x", "w"], &["y"], vec![])
        .output("z", &[4, 8]);
    let model = import(&graph).model;
    assert_eq!(model.layers.iter().next().unwrap().nodes, ["y", "z"]);
    assert_eq!(model.tensors.iter().filter(|tensor| tensor.kind == TensorKind::Weight).count(), 1);
}
