//! Whatever a file holds, the answer is a model or an error: files that are cut off, files with other bytes, and whole
//! models with other attributes, shapes, constants, operators and edges.

use std::path::PathBuf;

use bytes::Bytes;
use layerweaver::frontend::{Options, parse};
use onnx_protobuf::{GraphProto, Message, ModelProto, TensorProto};

fn testdata(name: &str) -> Vec<u8> {
    std::fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)).unwrap()
}

fn options() -> Options {
    let dims = [("batch".to_owned(), 1), ("seq".to_owned(), 16)].into();
    Options { dims, ..Options::default() }
}

/// Marsaglia's xorshift: the same models in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, from: &'a mut [T]) -> Option<&'a mut T> {
        let index = self.below(from.len());
        from.get_mut(index)
    }

    /// A number that a shape, an axis or a stride may be, or must not be.
    fn number(&mut self) -> i64 {
        let numbers = [0, 1, 2, 3, 4, 7, 64, 128, 1000, -1, -2, -7, 1 << 20, 1 << 31, 1 << 48, i64::MAX, i64::MIN];
        numbers[self.below(numbers.len())]
    }
}

#[test]
fn files_that_are_cut_off_are_refused() {
    for name in ["ncf.onnx", "resnet50.onnx"] {
        let whole = Bytes::from(testdata(name));
        for end in (0..whole.len()).step_by(whole.len() / 150) {
            assert!(parse(whole.slice(..end), name, &options()).is_err(), "{name} cut at {end}");
        }
    }
}

#[test]
fn files_with_other_bytes_never_panic() {
    let mut random = Random(1);
    let whole = testdata("ncf.onnx");
    for _ in 0..2000 {
        let mut changed = whole.clone();
        for _ in 0..=random.below(4) {
            let value = random.below(256) as u8;
            *random.pick(&mut changed).unwrap() = value;
        }
        let _ = parse(changed.into(), "changed", &options());
    }
}

#[test]
fn models_with_other_contents_never_panic() {
    let mut random = Random(2);
    let networks = ["ncf.onnx", "mobilenet_v2.onnx", "gpt2_decode.onnx", "bert_base_dynamic.onnx", "xlnet_large.onnx"];
    let exported =
        ["exported/cnn_qdq.onnx", "exported/cnn_qoperator.onnx", "exported/bert.onnx", "exported/llama_half.onnx"];
    for name in networks.into_iter().chain(exported) {
        let mut whole = ModelProto::parse_from_bytes(&testdata(name)).unwrap();
        // A block or two have every operator that the network has.
        whole.graph.as_mut().unwrap().node.truncate(260);
        let last = whole.graph.node.last().unwrap().output[0].clone();
        whole.graph.as_mut().unwrap().output.truncate(1);
        whole.graph.as_mut().unwrap().output[0].name = last;
        let mut models = 0;
        for _ in 0..600 {
            let mut changed = whole.clone();
            for _ in 0..=random.below(3) {
                change(changed.graph.as_mut().unwrap(), &mut random);
            }
            models += usize::from(parse(changed.write_to_bytes().unwrap().into(), name, &options()).is_ok());
        }
        assert!(models > 0, "some changes of {name} leave a model");
    }
}

/// The peer's own suite has every operator; see tests/onnx_node_suite.rs.
#[test]
fn the_suites_models_with_other_contents_never_panic() {
    let default = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/onnx-suite/onnx/backend/test/data");
    let suite = std::env::var_os("LAYERWEAVER_ONNX_SUITE").map_or_else(default, PathBuf::from).join("node");
    let mut cases: Vec<_> = std::fs::read_dir(suite).into_iter().flatten().map(|case| case.unwrap().path()).collect();
    cases.sort();
    let mut random = Random(3);
    for case in cases {
        let whole = ModelProto::parse_from_bytes(&std::fs::read(case.join("model.onnx")).unwrap()).unwrap();
        for _ in 0..8 {
            let mut changed = whole.clone();
            let graph = changed.graph.as_mut().unwrap();
            for i in 0..graph.input.len() {
                give(graph, i, &mut random);
            }
            for _ in 0..=random.below(3) {
                change(graph, &mut random);
            }
            let _ = parse(changed.write_to_bytes().unwrap().into(), "case", &options());
        }
    }
}

/// Makes an int64 input a constant, or gives an input another size.
fn give(graph: &mut GraphProto, input: usize, random: &mut Random) {
    let (name, number) = (graph.input[input].name.clone(), random.number());
    let type_ = graph.input[input].type_.as_mut().unwrap();
    if !type_.has_tensor_type() {
        return;
    }
    let tensor = type_.mut_tensor_type();
    let sizes: Vec<_> = tensor.shape.iter().flat_map(|shape| &shape.dim).map(|dim| dim.dim_value()).collect();
    let count = sizes.iter().product::<i64>();
    if tensor.elem_type == 7 && random.below(3) > 0 && (0..64).contains(&count) {
        let int64_data = (0..count).map(|_| random.number().clamp(-5, 1 << 40)).collect();
        graph.initializer.push(TensorProto { name, dims: sizes, data_type: 7, int64_data, ..Default::default() });
    } else if let Some(dim) = random.pick(&mut tensor.shape.as_mut().unwrap().dim)
        && number > 0
    {
        dim.set_dim_value(number);
    }
}

/// Changes one thing.
fn change(graph: &mut GraphProto, random: &mut Random) {
    match random.below(6) {
        0 => {
            let number = random.number();
            let with_ints = graph.node.iter_mut().flat_map(|node| &mut node.attribute).filter(|a| !a.ints.is_empty());
            if let Some(int) = random.pick(&mut with_ints.collect::<Vec<_>>()).and_then(|a| a.ints.first_mut()) {
                *int = number;
            }
        }
        1 => {
            let number = random.number();
            let attributes = graph.node.iter_mut().flat_map(|node| &mut node.attribute);
            if let Some(attribute) = random.pick(&mut attributes.collect::<Vec<_>>()) {
                attribute.i = number;
                if let Some(tensor) = attribute.t.as_mut().filter(|tensor| tensor.raw_data.len() >= 8) {
                    tensor.raw_data[..8].copy_from_slice(&number.to_le_bytes());
                }
            }
        }
        2 => {
            let number = random.number();
            if let Some(size) = random.pick(&mut graph.initializer).and_then(|tensor| tensor.dims.first_mut()) {
                *size = number;
            }
        }
        3 => {
            let number = random.number();
            if let Some(tensor) = random.pick(&mut graph.initializer) {
                tensor.dims.push(number.clamp(0, 4));
            }
        }
        4 => {
            let other = random.pick(&mut graph.node).map(|node| node.op_type.clone());
            if let (Some(node), Some(other)) = (random.pick(&mut graph.node), other) {
                node.op_type = other;
            }
        }
        _ => {
            let other = random.pick(&mut graph.node).and_then(|node| node.output.first().cloned());
            let input = random.pick(&mut graph.node).and_then(|node| node.input.first_mut());
            if let (Some(input), Some(other)) = (input, other) {
                *input = other;
            }
        }
    }
}
