//! Models of `testdata/exported/`: what PyTorch's exporter and ONNX Runtime's tools write, as they write it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use layerweaver::frontend::{Options, read};
use layerweaver::ir::{Model, Op, TensorKind};

fn model(name: &str) -> Model {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/exported/{name}.onnx"));
    read(&path, &Options::default()).unwrap_or_else(|errors| panic!("{errors}")).model
}

fn kinds(model: &Model) -> BTreeMap<&str, usize> {
    let mut kinds = BTreeMap::new();
    for layer in &model.layers {
        *kinds.entry(layer.kind.as_str()).or_default() += 1;
    }
    kinds
}

fn macs(model: &Model) -> u64 {
    model.layers.iter().filter(|layer| layer.op == Op::Gemm).map(|layer| layer.whole().volume()).sum()
}

/// A block of BERT: four products with weights around the two of attention, and two behind; a normalisation after each
/// half, and of the embeddings; a pooler. The mask is converted, a table is looked up.
#[test]
fn a_block_of_bert() {
    let bert = model("bert");
    let layers = [("Cast", 1), ("Gather", 1), ("Gemm", 1), ("LayerNormalization", 3), ("MatMul", 8), ("Softmax", 1)];
    assert_eq!(kinds(&bert), BTreeMap::from(layers));
    // 16 tokens of 32, 64 within the block, one token in the pooler.
    let expected = 4 * 16 * 32 * 32 + 2 * (16 * 16 * 32) + 2 * 16 * 32 * 64 + 32 * 32;
    for name in ["bert", "bert_dynamic", "bert_optimized"] {
        assert_eq!(macs(&model(name)), expected, "{name}");
    }
    let optimized = model("bert_optimized");
    assert_eq!(optimized.layers.len(), bert.layers.len(), "ONNX Runtime's optimizer fuses no more");
}

/// What quantize_dynamic quantises at run time is a layer; the products of whole numbers are as many as of floats before.
#[test]
fn a_block_of_bert_that_is_quantised_at_run_time() {
    let dynamic = model("bert_dynamic");
    let kinds = kinds(&dynamic);
    assert_eq!([kinds["MatMulInteger"], kinds["MatMul"]], [7, 2]);
    for layer in dynamic.layers.iter().filter(|layer| layer.kind == "MatMulInteger") {
        let widths: Vec<_> = layer.reads[..2].iter().map(|read| dynamic.tensors[read.tensor].element_bits).collect();
        assert_eq!(widths, [8, 8], "{}", layer.name);
        let joined = |end: &str| layer.nodes.iter().any(|node| node.ends_with(end));
        assert!(joined("_cast") && joined("_output_scale_mul"), "the conversion and the scale: {:?}", layer.nodes);
    }
}

/// Queries, keys and values are parts of one product's result, and GELU is a hyperbolic tangent.
#[test]
fn a_block_of_gpt2() {
    let gpt2 = model("gpt2");
    let layers = [("Gather", 1), ("Gemm", 4), ("LayerNormalization", 3), ("MatMul", 2), ("Softmax", 1)];
    assert_eq!(kinds(&gpt2), BTreeMap::from(layers));
}

/// Normalisations in half floats that are widened between. The rotations of queries and of keys are a layer each, of 16 · 32
/// and of 16 · 16 elements; the keys and values that heads share are in pieces.
#[test]
fn a_block_of_llama() {
    let kinds_ = model("llama_half");
    let kinds = kinds(&kinds_);
    assert_eq!([kinds["RMSNormalization"], kinds["Softmax"], kinds["MatMul"]], [3, 1, 9]);
    let pointwise = ["Sigmoid", "Pow", "Div", "Cast", "ReduceMean", "Sqrt"];
    assert!(pointwise.iter().all(|op| !kinds.contains_key(op)), "{kinds:?}");
    let rotations = kinds_.layers.iter().filter(|layer| layer.kind == "RotaryEmbedding");
    assert_eq!(rotations.map(|layer| layer.whole().volume()).sum::<u64>(), 16 * 32 + 16 * 16);
    assert!(!kinds.contains_key("Neg"), "{kinds:?}");
}

/// One network in floats, with pairs around its operators, and in operators of whole numbers: the same layers, but for
/// the one that quantises the input; all between is of 8 bits, and biases of 32.
#[test]
fn three_forms_of_a_network_are_the_same_layers() {
    let loops = |model: &Model| -> Vec<_> {
        let dims = |layer: &layerweaver::ir::Layer| (layer.op, layer.dims.clone());
        model.layers.iter().filter(|layer| layer.kind != "QuantizeLinear").map(dims).collect()
    };
    let forms = ["cnn", "cnn_qdq", "cnn_qoperator"].map(model);
    let [floats, pairs, operators] = &forms;
    assert_eq!(loops(floats).len(), 10);
    assert_eq!(loops(floats), loops(pairs));
    assert_eq!(loops(pairs), loops(operators));
    let stored = |model: &Model| {
        let mut stored: Vec<_> =
            model.tensors.iter().map(|tensor| (tensor.shape.clone(), tensor.element_bits)).collect();
        stored.sort();
        stored
    };
    assert_eq!(stored(pairs), stored(operators));
    for tensor in &pairs.tensors {
        let is_bias = tensor.kind == TensorKind::Weight && tensor.shape.len() == 1;
        let expected = match tensor.kind {
            TensorKind::Input | TensorKind::Output => 32,
            TensorKind::Weight if is_bias => 32,
            TensorKind::Weight | TensorKind::Activation => 8,
        };
        assert_eq!(tensor.element_bits, expected, "{}", tensor.name);
    }
}
