//! Small models, built with rust-protobuf: a witness that shares no code with ours.

#![allow(dead_code, reason = "each test uses some of it")]

use bytes::Bytes;
use onnx_protobuf::{
    AttributeProto, GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
    TypeProto, ValueInfoProto, attribute_proto::AttributeType, tensor_shape_proto::Dimension, type_proto,
};

/// Numbers of `TensorProto.DataType`.
const FLOAT: i32 = 1;
const INT64: i32 = 7;

/// A model that is being put together. Nodes have no names, so they are called after their outputs.
#[derive(Clone)]
pub(crate) struct Graph {
    graph: GraphProto,
}

impl Graph {
    /// A graph without anything.
    pub(crate) fn new() -> Self {
        Self { graph: GraphProto::new() }
    }

    /// The body of a loop over a product, whose state of 4 × 8 is multiplied by weights.
    pub(crate) fn step() -> Self {
        Self::new()
            .int_input("i", &[])
            .input("go", &[])
            .input("state", &[4, 8])
            .weight("w", &[8, 8])
            .node("MatMul", &["state", "w"], &["next"], vec![])
            .output("go", &[])
            .output("next", &[4, 8])
    }

    /// A float input.
    pub(crate) fn input(mut self, name: &str, shape: &[i64]) -> Self {
        self.graph.input.push(value(name, shape, FLOAT));
        self
    }

    /// An input of a type of `TensorProto.DataType`.
    pub(crate) fn input_of(mut self, name: &str, shape: &[i64], data_type: i32) -> Self {
        self.graph.input.push(value(name, shape, data_type));
        self
    }

    /// An int64 input.
    pub(crate) fn int_input(mut self, name: &str, shape: &[i64]) -> Self {
        self.graph.input.push(value(name, shape, INT64));
        self
    }

    /// A float output.
    pub(crate) fn output(mut self, name: &str, shape: &[i64]) -> Self {
        self.graph.output.push(value(name, shape, FLOAT));
        self
    }

    /// A float weight whose elements are elsewhere.
    pub(crate) fn weight(self, name: &str, shape: &[i64]) -> Self {
        self.weight_of(name, shape, FLOAT)
    }

    /// A float constant of one element.
    pub(crate) fn number(self, name: &str, number: f32) -> Self {
        self.float_tensor(name, &[], &[number])
    }

    /// A float constant.
    pub(crate) fn float_tensor(mut self, name: &str, shape: &[i64], floats: &[f32]) -> Self {
        self.graph.initializer.push(TensorProto {
            name: name.into(),
            dims: shape.to_vec(),
            data_type: FLOAT,
            float_data: floats.to_vec(),
            ..Default::default()
        });
        self
    }

    /// A weight of a type of `TensorProto.DataType`, whose elements are elsewhere.
    pub(crate) fn weight_of(mut self, name: &str, shape: &[i64], data_type: i32) -> Self {
        let mut tensor = TensorProto { name: name.into(), dims: shape.to_vec(), data_type, ..Default::default() };
        tensor.data_location = onnx_protobuf::tensor_proto::DataLocation::EXTERNAL.into();
        self.graph.initializer.push(tensor);
        self
    }

    /// An int64 constant.
    pub(crate) fn int_tensor(mut self, name: &str, shape: &[i64], ints: &[i64]) -> Self {
        self.graph.initializer.push(TensorProto {
            name: name.into(),
            dims: shape.to_vec(),
            data_type: INT64,
            int64_data: ints.to_vec(),
            ..Default::default()
        });
        self
    }

    /// A node.
    pub(crate) fn node(mut self, op: &str, inputs: &[&str], outputs: &[&str], attributes: Vec<AttributeProto>) -> Self {
        self.graph.node.push(NodeProto {
            op_type: op.into(),
            input: inputs.iter().map(|&name| name.into()).collect(),
            output: outputs.iter().map(|&name| name.into()).collect(),
            attribute: attributes,
            ..Default::default()
        });
        self
    }

    /// A float input with dimensions that are numbers or names.
    pub(crate) fn named_input(mut self, name: &str, dims: &[&str]) -> Self {
        let mut input = value(name, &vec![1; dims.len()], FLOAT);
        let shape = input.type_.as_mut().unwrap().mut_tensor_type().shape.as_mut().unwrap();
        for (dim, &given) in shape.dim.iter_mut().zip(dims) {
            match given.parse() {
                Ok(size) => dim.set_dim_value(size),
                Err(_) => dim.set_dim_param(given.into()),
            }
        }
        self.graph.input.push(input);
        self
    }

    /// Lets every node of an operator that reads one value read another.
    pub(crate) fn rewire(mut self, op: &str, from: &str, to: &str) -> Self {
        for node in self.graph.node.iter_mut().filter(|node| node.op_type == op) {
            node.input.iter_mut().filter(|input| *input == from).for_each(|input| *input = to.into());
        }
        self
    }

    /// The file.
    pub(crate) fn bytes(&self) -> Bytes {
        self.model().write_to_bytes().unwrap().into()
    }

    /// The graph alone, as a branch or a loop's body.
    pub(crate) fn graph(self) -> GraphProto {
        self.graph
    }

    /// The model.
    pub(crate) fn model(&self) -> ModelProto {
        let opset = OperatorSetIdProto { version: 17, ..Default::default() };
        ModelProto {
            ir_version: 8,
            opset_import: vec![opset],
            graph: Some(self.graph.clone()).into(),
            ..Default::default()
        }
    }
}

/// An attribute of whole numbers.
pub(crate) fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { name: name.into(), ints: ints.to_vec(), type_: AttributeType::INTS.into(), ..Default::default() }
}

/// An attribute of a graph.
pub(crate) fn graph(name: &str, graph: Graph) -> AttributeProto {
    let g = Some(graph.graph()).into();
    AttributeProto { name: name.into(), g, type_: AttributeType::GRAPH.into(), ..Default::default() }
}

/// An attribute of one whole number.
pub(crate) fn int(name: &str, int: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i: int, type_: AttributeType::INT.into(), ..Default::default() }
}

fn value(name: &str, shape: &[i64], element: i32) -> ValueInfoProto {
    let mut dims = TensorShapeProto::new();
    for &size in shape {
        let mut dim = Dimension::new();
        dim.set_dim_value(size);
        dims.dim.push(dim);
    }
    let tensor = type_proto::Tensor { elem_type: element, shape: Some(dims).into(), ..Default::default() };
    let mut type_ = TypeProto::new();
    type_.set_tensor_type(tensor);
    ValueInfoProto { name: name.into(), type_: Some(type_).into(), ..Default::default() }
}
