//! A peer's own suite: the node test models of the `onnx` package, with their outputs' shapes inferred and compared with
//! what the files declare. `testdata/onnx_node_suite/fetch.sh` fetches them; without them this test only says so.
//!
//! Each case goes through twice where once is not enough: as it is, and with its inputs given as initializers from its
//! own test data, for a shape that data decides. What is not right then is in `known.txt` with its reason.

use std::collections::BTreeMap;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use layerweaver::frontend::{Inferred, Options, Warning, infer_outputs, parse};
use onnx_protobuf::{Message, ModelProto, TensorProto, TypeProto, ValueInfoProto, type_proto};
use protobuf::CodedInputStream;

/// The folders of the suite whose cases have a `model.onnx` each.
const FOLDERS: &[&str] = &["node", "simple", "pytorch-converted", "pytorch-operator"];

/// Larger inputs, in bytes, decide no shapes.
const MOST_GIVEN: usize = 1 << 15;

/// What became of a case.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// As declared; `true` where its inputs had to be given.
    Right(bool),
    /// At least as large as declared, with a warning that says so.
    Bound(String),
    Refused(String),
    Wrong(String),
    Panicked,
}

#[test]
#[expect(clippy::print_stderr, reason = "the score is what one runs this for")]
fn the_suites_shapes_are_inferred() {
    let testdata = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let Some(data) = suite(&testdata) else {
        eprintln!("skipped: testdata/onnx_node_suite/fetch.sh fetches the onnx package's suite");
        return;
    };
    let known = fs::read_to_string(testdata.join("testdata/onnx_node_suite/known.txt")).unwrap();
    let known: BTreeMap<&str, &str> = known.lines().filter_map(|line| line.split_once(": ")).collect();
    let mut tally: BTreeMap<&str, usize> = BTreeMap::new();
    let mut faults = Vec::new();
    let cases = cases(&data);
    for case in &cases {
        let name = case.file_name().unwrap().to_str().unwrap();
        let outcome = judge(case);
        let (kind, said) = match &outcome {
            Outcome::Right(false) => ("right", ""),
            Outcome::Right(true) => ("right with inputs given", ""),
            Outcome::Bound(said) => ("upper bound", said.as_str()),
            Outcome::Refused(said) => ("refused", said.as_str()),
            Outcome::Wrong(said) => ("wrong", said.as_str()),
            Outcome::Panicked => ("panicked", ""),
        };
        *tally.entry(kind).or_default() += 1;
        match (matches!(outcome, Outcome::Right(_)), known.get(name)) {
            (true, Some(_)) => faults.push(format!("{name} is right now: take it out of known.txt")),
            (false, None) => faults.push(format!("{name}: {kind}: {said}")),
            (false, Some(_)) if outcome == Outcome::Panicked => faults.push(format!("{name}: panicked")),
            (true, None) | (false, Some(_)) => {}
        }
    }
    eprintln!("{} cases: {tally:?}", cases.len());
    assert!(faults.is_empty(), "{} cases differ from known.txt:\n{}", faults.len(), faults.join("\n"));
}

/// Where the suite is, if it is there.
fn suite(sources: &Path) -> Option<PathBuf> {
    let default = || sources.join("target/onnx-suite/onnx/backend/test/data");
    let folder = std::env::var_os("LAYERWEAVER_ONNX_SUITE").map_or_else(default, PathBuf::from);
    folder.join("node").is_dir().then_some(folder)
}

fn cases(data: &Path) -> Vec<PathBuf> {
    let folders = FOLDERS.iter().filter_map(|folder| fs::read_dir(data.join(folder)).ok()).flatten();
    let mut cases: Vec<_> = folders.map(|entry| entry.unwrap().path()).collect();
    cases.retain(|case| case.join("model.onnx").is_file());
    cases.sort();
    cases
}

fn judge(case: &Path) -> Outcome {
    let mut model = ModelProto::parse_from_bytes(&fs::read(case.join("model.onnx")).unwrap()).unwrap();
    let declared = std::mem::take(&mut model.graph.as_mut().unwrap().output);
    let bare = |output: &ValueInfoProto| ValueInfoProto { name: output.name.clone(), ..Default::default() };
    model.graph.as_mut().unwrap().output = declared.iter().map(bare).collect();
    let options = Options { shapes: odd_shapes(case, &model), ..Options::default() };
    let first = attempt(&model, &declared, &options);
    match first {
        Outcome::Right(_) | Outcome::Panicked => return first,
        Outcome::Bound(_) | Outcome::Refused(_) | Outcome::Wrong(_) => {}
    }
    give_inputs(case, &mut model);
    match (attempt(&model, &declared, &options), first) {
        (Outcome::Right(_), _) => Outcome::Right(true),
        (Outcome::Refused(_), first @ Outcome::Bound(_)) => first,
        (second, _) => second,
    }
}

/// One way of a model, laid out too: that may be refused, but never panic.
fn attempt(model: &ModelProto, declared: &[ValueInfoProto], options: &Options) -> Outcome {
    let bytes = Bytes::from(model.write_to_bytes().unwrap());
    let answer = catch_unwind(|| {
        let _ = parse(bytes.clone(), "case", options);
        infer_outputs(bytes, options)
    });
    match answer {
        Err(_) => Outcome::Panicked,
        Ok(Err(errors)) => Outcome::Refused(errors.to_string().replace('\n', " / ")),
        Ok(Ok((outputs, warnings))) => compare(declared, &outputs, &warnings),
    }
}

fn compare(declared: &[ValueInfoProto], outputs: &[Inferred], warnings: &[Warning]) -> Outcome {
    let mut bounded = None;
    for info in declared {
        let Some(ours) = outputs.iter().find(|output| output.name == info.name) else {
            return Outcome::Wrong(format!("no output '{}'", info.name));
        };
        let said = || format!("'{}' is {:?}, declared {}", info.name, ours.tensors, shown(&info.type_));
        let Some((is_sequence, tensor)) = tensor_of(&info.type_, false) else { continue };
        if is_sequence != ours.is_sequence {
            return Outcome::Wrong(said());
        }
        for (shape, element) in &ours.tensors {
            let theirs = sizes(tensor);
            let fits = |test: fn(u64, u64) -> bool| {
                theirs.as_ref().is_none_or(|theirs| {
                    let pairs = || theirs.iter().zip(shape);
                    theirs.len() == shape.len() && pairs().all(|(theirs, &ours)| theirs.is_none_or(|t| test(t, ours)))
                })
            };
            let is_warned = warnings.iter().any(|warning| warning.what.contains("upper bound"));
            match element_name(tensor.elem_type) == *element {
                true if fits(|theirs, ours| theirs == ours) => {}
                true if fits(|theirs, ours| theirs <= ours) && is_warned => bounded = Some(said()),
                _ => return Outcome::Wrong(said()),
            }
        }
    }
    bounded.map_or(Outcome::Right(false), Outcome::Bound)
}

/// Shapes of those inputs that the file declares with a size of 0 or with none; lengths of sequences, and the shapes of
/// their tensors.
fn odd_shapes(case: &Path, model: &ModelProto) -> BTreeMap<String, Vec<u64>> {
    let mut shapes = BTreeMap::new();
    for (i, input) in model.graph.input.iter().enumerate() {
        if !input.type_.has_tensor_type() {
            let is_sequence = tensor_of(&input.type_, false).is_some_and(|(is_sequence, _)| is_sequence);
            let Some(tensors) = sequence(case, i, input).filter(|_| is_sequence) else { continue };
            for (at, tensor) in tensors.iter().enumerate() {
                shapes.insert(format!("{}[{at}]", input.name), shape(tensor));
            }
            shapes.insert(input.name.clone(), vec![tensors.len() as u64]);
            continue;
        }
        let tensor = input.type_.tensor_type();
        let is_odd = sizes(tensor).is_none_or(|sizes| sizes.iter().any(|size| size.is_none_or(|size| size == 0)));
        if let (true, Some(given)) = (is_odd, given(case, i)) {
            shapes.insert(input.name.clone(), shape(&given));
        }
    }
    shapes
}

fn shape(tensor: &TensorProto) -> Vec<u64> {
    tensor.dims.iter().map(|&size| size as u64).collect()
}

/// The tensors of the case's own data for an input that is a sequence, or an optional one that is there. They are the
/// third field of a SequenceProto, which is the fifth of an OptionalProto.
fn sequence(case: &Path, index: usize, input: &ValueInfoProto) -> Option<Vec<TensorProto>> {
    let mut bytes = fs::read(case.join(format!("test_data_set_0/input_{index}.pb"))).ok()?;
    if input.type_.has_optional_type() {
        bytes = messages(&bytes, 5).pop()?;
    }
    messages(&bytes, 3).iter().map(|tensor| TensorProto::parse_from_bytes(tensor).ok()).collect()
}

/// The messages in one field of a message.
fn messages(bytes: &[u8], field: u32) -> Vec<Vec<u8>> {
    let (mut stream, mut found) = (CodedInputStream::from_bytes(bytes), Vec::new());
    while let Some(tag) = stream.read_raw_tag_or_eof().unwrap() {
        if tag & 7 == 2 {
            let message = stream.read_bytes().unwrap();
            found.extend((tag >> 3 == field).then_some(message));
        } else {
            stream.read_raw_varint64().unwrap();
        }
    }
    found
}

/// Gives a model its inputs.
fn give_inputs(case: &Path, model: &mut ModelProto) {
    let graph = model.graph.as_mut().unwrap();
    for (i, input) in graph.input.iter().enumerate() {
        if input.type_.has_tensor_type()
            && let Some(mut tensor) = given(case, i)
        {
            tensor.name.clone_from(&input.name);
            graph.initializer.push(tensor);
        }
    }
}

/// The tensor of the case's own data for an input.
fn given(case: &Path, input: usize) -> Option<TensorProto> {
    let bytes = fs::read(case.join(format!("test_data_set_0/input_{input}.pb"))).ok()?;
    (bytes.len() <= MOST_GIVEN).then(|| TensorProto::parse_from_bytes(&bytes).ok()).flatten()
}

/// The tensor of a type, and whether there is a sequence of them.
fn tensor_of(declared: &TypeProto, is_sequence: bool) -> Option<(bool, &type_proto::Tensor)> {
    match declared.value.as_ref()? {
        type_proto::Value::TensorType(tensor) => Some((is_sequence, tensor)),
        type_proto::Value::SequenceType(sequence) => tensor_of(&sequence.elem_type, true),
        type_proto::Value::OptionalType(optional) => tensor_of(&optional.elem_type, is_sequence),
        _ => None,
    }
}

fn sizes(tensor: &type_proto::Tensor) -> Option<Vec<Option<u64>>> {
    let size = |dim: &onnx_protobuf::tensor_shape_proto::Dimension| {
        dim.has_dim_value().then(|| u64::try_from(dim.dim_value()).ok()).flatten()
    };
    tensor.shape.as_ref().map(|shape| shape.dim.iter().map(size).collect())
}

fn shown(declared: &TypeProto) -> String {
    tensor_of(declared, false).map_or_else(String::new, |(is_sequence, tensor)| {
        let kind = if is_sequence { "sequence of " } else { "" };
        format!("{kind}{:?} {}", sizes(tensor), element_name(tensor.elem_type))
    })
}

/// The kind and width of an element, by its number in ONNX.
fn element_name(number: i32) -> &'static str {
    match number {
        1 => "float32",
        2 | 3 => "int8",
        4 | 5 => "int16",
        6 | 12 => "int32",
        7 | 13 => "int64",
        9 => "bool",
        10 | 16 => "float16",
        11 => "float64",
        17..=20 | 24 => "narrow float8",
        21 | 22 => "int4",
        23 => "narrow float4",
        25 | 26 => "int2",
        _ => "text or complex",
    }
}
