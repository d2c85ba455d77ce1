//! The fingerprint of a model: SHA-256 over its graph, payloads of weights left out.
//!
//! Names, types and shapes count. So do the elements of small int64 tensors, for they say shapes, axes and indices: two
//! graphs that differ in them are two networks. The same network with other weights, or with its weights in another
//! file, has the same fingerprint.

use std::fmt::Write;

use prost::Message;
use sha2::{Digest, Sha256};

use super::proto::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto};

/// The most elements of an int64 tensor that says a shape.
const MOST_SHAPE_ELEMENTS: i64 = 64;

/// The fingerprint, in lowercase hexadecimal digits.
pub(super) fn of(model: &ModelProto) -> String {
    let skeleton = ModelProto {
        graph: model.graph.as_ref().map(graph),
        opset_import: model.opset_import.clone(),
        functions: model.functions.iter().map(function).collect(),
        ..ModelProto::default()
    };
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(skeleton.encode_to_vec()) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn function(from: &FunctionProto) -> FunctionProto {
    FunctionProto {
        name: from.name.clone(),
        input: from.input.clone(),
        output: from.output.clone(),
        attribute: from.attribute.clone(),
        node: from.node.iter().map(node).collect(),
        opset_import: from.opset_import.clone(),
        domain: from.domain.clone(),
        attribute_proto: from.attribute_proto.iter().map(attribute).collect(),
        value_info: from.value_info.clone(),
        overload: from.overload.clone(),
    }
}

fn graph(graph: &GraphProto) -> GraphProto {
    GraphProto {
        node: graph.node.iter().map(node).collect(),
        name: graph.name.clone(),
        initializer: graph.initializer.iter().map(tensor).collect(),
        input: graph.input.clone(),
        output: graph.output.clone(),
        value_info: graph.value_info.clone(),
        sparse_initializer: graph.sparse_initializer.iter().map(sparse).collect(),
    }
}

fn node(node: &NodeProto) -> NodeProto {
    let attribute = node.attribute.iter().map(attribute).collect();
    NodeProto {
        input: node.input.clone(),
        output: node.output.clone(),
        name: node.name.clone(),
        op_type: node.op_type.clone(),
        attribute,
        domain: node.domain.clone(),
        overload: node.overload.clone(),
    }
}

fn attribute(from: &AttributeProto) -> AttributeProto {
    AttributeProto {
        name: from.name.clone(),
        f: from.f,
        i: from.i,
        s: from.s.clone(),
        t: from.t.as_ref().map(tensor),
        g: from.g.as_ref().map(graph),
        floats: from.floats.clone(),
        ints: from.ints.clone(),
        strings: from.strings.clone(),
        tensors: from.tensors.iter().map(tensor).collect(),
        graphs: from.graphs.iter().map(graph).collect(),
        tp: from.tp.clone(),
        type_protos: from.type_protos.clone(),
        r#type: from.r#type,
        ref_attr_name: from.ref_attr_name.clone(),
        sparse_tensor: from.sparse_tensor.as_ref().map(sparse),
        sparse_tensors: from.sparse_tensors.iter().map(sparse).collect(),
    }
}

fn sparse(from: &SparseTensorProto) -> SparseTensorProto {
    SparseTensorProto {
        values: from.values.as_ref().map(tensor),
        indices: from.indices.as_ref().map(tensor),
        dims: from.dims.clone(),
    }
}

fn tensor(from: &TensorProto) -> TensorProto {
    let elements = from.dims.iter().try_fold(1i64, |all, &size| all.checked_mul(size));
    let says_a_shape = from.data_type == 7 && elements.is_some_and(|elements| elements <= MOST_SHAPE_ELEMENTS);
    let (raw_data, int64_data) = match says_a_shape {
        true => (from.raw_data.clone(), from.int64_data.clone()),
        false => Default::default(),
    };
    TensorProto {
        dims: from.dims.clone(),
        data_type: from.data_type,
        name: from.name.clone(),
        raw_data,
        int64_data,
        ..TensorProto::default()
    }
}
