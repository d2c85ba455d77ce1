//! Our subset of ONNX against the whole of it: prost with `proto/onnx.proto` and rust-protobuf with the published
//! descriptors decode the same files, and must see the same.

use std::path::PathBuf;

use bytes::Bytes;
use onnx_protobuf::Message as _;
use prost::Message as _;

#[allow(clippy::all, unreachable_pub, missing_docs, dead_code, reason = "generated")]
mod ours {
    include!(concat!(env!("OUT_DIR"), "/onnx.rs"));
}

#[test]
fn both_decoders_see_the_same() {
    let files = models();
    assert!(files.len() >= 8, "testdata/ has the networks");
    for path in files {
        let bytes = std::fs::read(&path).unwrap();
        let theirs = onnx_protobuf::ModelProto::parse_from_bytes(&bytes).unwrap();
        let ours = ours::ModelProto::decode(Bytes::from(bytes)).unwrap();
        compare(&ours, &theirs, &path.display().to_string());
    }
}

fn models() -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "onnx"));
    files.sort();
    files
}

fn compare(ours: &ours::ModelProto, theirs: &onnx_protobuf::ModelProto, file: &str) {
    let sets = |domain: &str, version: i64| (domain.to_owned(), version);
    assert_eq!(
        ours.opset_import.iter().map(|set| sets(&set.domain, set.version)).collect::<Vec<_>>(),
        theirs.opset_import.iter().map(|set| sets(&set.domain, set.version)).collect::<Vec<_>>(),
        "{file}"
    );
    let (ours, theirs) = (ours.graph.as_ref().unwrap(), theirs.graph.as_ref().unwrap());
    assert_eq!(ours.name, theirs.name, "{file}");
    assert_eq!(ours.node.len(), theirs.node.len(), "{file}");
    for (ours, theirs) in ours.node.iter().zip(&theirs.node) {
        compare_nodes(ours, theirs, file);
    }
    assert_eq!(ours.initializer.len(), theirs.initializer.len(), "{file}");
    for (ours, theirs) in ours.initializer.iter().zip(&theirs.initializer) {
        compare_tensors(ours, theirs, file);
    }
    for (ours, theirs) in [(&ours.input, &theirs.input), (&ours.output, &theirs.output)] {
        let dims = |info: &ours::ValueInfoProto| format!("{} {:?}", info.name, our_dims(info));
        let their = |info: &onnx_protobuf::ValueInfoProto| format!("{} {:?}", info.name, their_dims(info));
        assert_eq!(ours.iter().map(dims).collect::<Vec<_>>(), theirs.iter().map(their).collect::<Vec<_>>(), "{file}");
    }
}

fn compare_nodes(ours: &ours::NodeProto, theirs: &onnx_protobuf::NodeProto, file: &str) {
    let name = &ours.name;
    assert_eq!(
        (name, &ours.op_type, &ours.domain, &ours.input, &ours.output),
        (&theirs.name, &theirs.op_type, &theirs.domain, &theirs.input, &theirs.output),
        "{file}"
    );
    assert_eq!(ours.attribute.len(), theirs.attribute.len(), "{file}, node {name}");
    for (ours, theirs) in ours.attribute.iter().zip(&theirs.attribute) {
        let numbers = (&ours.name, ours.i, ours.f.to_bits(), &ours.ints, &ours.floats, ours.r#type);
        let expected = (
            &theirs.name,
            theirs.i,
            theirs.f.to_bits(),
            &theirs.ints,
            &theirs.floats,
            theirs.type_.enum_value_or_default() as i32,
        );
        assert_eq!(numbers, expected, "{file}, node {name}");
        assert_eq!(&ours.s[..], &theirs.s[..], "{file}, node {name}");
        assert_eq!(ours.t.is_some(), theirs.t.is_some(), "{file}, node {name}");
        if let (Some(ours), Some(theirs)) = (&ours.t, theirs.t.as_ref()) {
            compare_tensors(ours, theirs, file);
        }
    }
}

fn compare_tensors(ours: &ours::TensorProto, theirs: &onnx_protobuf::TensorProto, file: &str) {
    assert_eq!(
        (&ours.name, &ours.dims, ours.data_type, &ours.raw_data[..], unpacked(&ours.int64_data)),
        (&theirs.name, &theirs.dims, theirs.data_type, &theirs.raw_data[..], theirs.int64_data.clone()),
        "{file}"
    );
    let location = theirs.data_location.enum_value_or_default() as i32;
    assert_eq!((ours.data_location, ours.external_data.len()), (location, theirs.external_data.len()), "{file}");
}

fn unpacked(field: &[Bytes]) -> Vec<i64> {
    let mut bytes = field.concat().into_iter().collect::<std::collections::VecDeque<u8>>();
    let next = |_| (!bytes.is_empty()).then(|| prost::encoding::decode_varint(&mut bytes).unwrap().cast_signed());
    (0..).map_while(next).collect()
}

/// The dimensions of a value: a size, or a name.
fn our_dims(info: &ours::ValueInfoProto) -> Vec<String> {
    use ours::{tensor_shape_proto::dimension::Value, type_proto};
    let Some(type_proto::Value::TensorType(tensor)) = &info.r#type.as_ref().unwrap().value else { return Vec::new() };
    let shown = |dim: &ours::tensor_shape_proto::Dimension| match &dim.value {
        Some(Value::DimValue(size)) => size.to_string(),
        Some(Value::DimParam(name)) => name.clone(),
        None => String::new(),
    };
    tensor.shape.as_ref().unwrap().dim.iter().map(shown).collect()
}

fn their_dims(info: &onnx_protobuf::ValueInfoProto) -> Vec<String> {
    let shown = |dim: &onnx_protobuf::tensor_shape_proto::Dimension| {
        if dim.has_dim_value() { dim.dim_value().to_string() } else { dim.dim_param().to_owned() }
    };
    info.type_.tensor_type().shape.dim.iter().map(shown).collect()
}
