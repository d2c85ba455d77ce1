//! Inputs that are sequences: as many tensors as the user says.

use std::collections::BTreeMap;

use crate::frontend::ops::MOST_ITEMS;
use crate::frontend::proto::{GraphProto, NodeProto, TypeProto, ValueInfoProto, type_proto};

/// Puts tensors in the place of those sequences among a graph's inputs whose lengths are given, and says which these are.
pub(in super::super) fn sequences(graph: &mut GraphProto, shapes: &BTreeMap<String, Vec<u64>>) -> Vec<String> {
    let mut spread = Vec::new();
    for input in std::mem::take(&mut graph.input) {
        let items = input.r#type.as_ref().and_then(items_of);
        let length = match shapes.get(&input.name).map(Vec::as_slice) {
            Some(&[length]) => usize::try_from(length).ok().filter(|&length| length <= MOST_ITEMS),
            Some(_) | None => None,
        };
        let (Some(item), Some(length)) = (items, length) else {
            graph.input.push(input);
            continue;
        };
        let names: Vec<_> = (0..length).map(|i| format!("{}[{i}]", input.name)).collect();
        let tensor = |name: &String| ValueInfoProto { name: name.clone(), r#type: Some(item.clone()) };
        graph.input.extend(names.iter().map(tensor));
        graph.node.push(sequence(names, input.name.clone()));
        spread.push(input.name);
    }
    spread
}

/// The type of a sequence's tensors.
fn items_of(declared: &TypeProto) -> Option<&TypeProto> {
    match declared.value.as_ref()? {
        type_proto::Value::SequenceType(sequence) => sequence.elem_type.as_deref(),
        type_proto::Value::OptionalType(inner) => items_of(inner.elem_type.as_deref()?),
        type_proto::Value::TensorType(_) | type_proto::Value::MapType(_) | type_proto::Value::SparseTensorType(_) => {
            None
        }
    }
}

/// A node that makes a sequence.
pub(super) fn sequence(input: Vec<String>, output: String) -> NodeProto {
    NodeProto { input, output: vec![output], op_type: "SequenceConstruct".into(), ..NodeProto::default() }
}
