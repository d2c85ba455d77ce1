//! Bodies: an operator that is several layers, said in simpler operators.

use crate::frontend::graph::ValueId;
use crate::frontend::proto::{self, AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto};

/// A graph that stands in for a node, while it is put together. Its inputs are the node's, by position; then what else
/// it reads.
#[derive(Debug, Default)]
pub(in super::super) struct Body {
    graph: GraphProto,
    others: Vec<ValueId>,
}

/// A value of a body.
#[derive(Clone, Debug)]
pub(super) struct Wire(String);

impl Body {
    /// A body that reads so many inputs.
    pub(super) fn new(inputs: usize) -> Self {
        let mut body = Self::default();
        body.graph.input = (0..inputs).map(|i| value(&Self::input(i))).collect();
        body
    }

    pub(super) fn input(index: usize) -> Wire {
        Wire(format!("input {index}"))
    }

    /// The next output of the node that the body stands in for.
    pub(super) fn output(&mut self, wire: &Wire) {
        self.graph.output.push(value(wire));
    }

    /// A value that is not among the node's inputs: a tensor of a sequence.
    pub(super) fn other(&mut self, other: ValueId) -> Wire {
        let wire = Wire(format!("other {}", self.others.len()));
        self.others.push(other);
        self.graph.input.push(value(&wire));
        wire
    }

    /// The graph, and the values that it reads beside the node's inputs.
    pub(in super::super) fn into_graph(self) -> (GraphProto, Vec<ValueId>) {
        (self.graph, self.others)
    }

    pub(super) fn node(&mut self, op: &str, inputs: &[&Wire], attribute: Vec<AttributeProto>) -> Wire {
        let [output] = self.nodes("", op, inputs, attribute);
        output
    }

    /// A node of any domain, with so many outputs.
    pub(super) fn nodes<const N: usize>(
        &mut self,
        domain: &str,
        op: &str,
        inputs: &[&Wire],
        attribute: Vec<AttributeProto>,
    ) -> [Wire; N] {
        let name = format!("{op} {}", self.graph.node.len());
        let outputs = std::array::from_fn(|i| if i == 0 { name.clone() } else { format!("{name}.{i}") });
        self.graph.node.push(NodeProto {
            name,
            op_type: op.to_owned(),
            domain: domain.to_owned(),
            input: inputs.iter().map(|wire| wire.0.clone()).collect(),
            output: outputs.to_vec(),
            attribute,
            ..NodeProto::default()
        });
        outputs.map(Wire)
    }

    /// The wire of an input that a node leaves out.
    pub(super) fn absent() -> Wire {
        Wire(String::new())
    }

    /// The sum along an axis, which goes. Where the axis is said depends on the model's operator set.
    pub(super) fn sum(&mut self, x: &Wire, axis: i64) -> Wire {
        let axes = AttributeProto { name: "axes".into(), ints: vec![axis], r#type: 7, ..Default::default() };
        let input = self.ints(&[axis]);
        self.node("ReduceSum", &[x, &input], vec![axes, int("keepdims", 0)])
    }

    /// The elements of a weight that the file stores packed, with the number of their type.
    pub(super) fn unpacked(&mut self, name: &str, shape: &[u64], data_type: i32) -> Wire {
        let dims = shape.iter().copied().map(long).collect();
        let tensor = TensorProto { data_type, dims, data_location: 1, name: name.to_owned(), ..TensorProto::default() };
        self.graph.initializer.push(tensor);
        Wire(name.to_owned())
    }

    /// A weight by its scales, one for so many elements along an axis.
    pub(super) fn dequantized(&mut self, weight: &Wire, scales: &Wire, axis: i64, block: u64) -> Wire {
        let block = long(block);
        self.node("DequantizeLinear", &[weight, scales], vec![int("axis", axis), int("block_size", block)])
    }

    /// So many zeros before and behind, along one axis of some.
    pub(super) fn pad(&mut self, x: &Wire, rank: usize, axis: usize, before: u64, behind: u64) -> Wire {
        let mut pads = vec![0; 2 * rank];
        for (at, size) in [(axis, before), (rank + axis, behind)] {
            pads[at] = long(size);
        }
        let pads = self.ints(&pads);
        self.node("Pad", &[x, &pads], Vec::new())
    }

    pub(super) fn reshape(&mut self, x: &Wire, shape: &[u64]) -> Wire {
        let shape: Vec<i64> = shape.iter().copied().map(long).collect();
        let shape = self.ints(&shape);
        self.node("Reshape", &[x, &shape], Vec::new())
    }

    pub(super) fn transpose(&mut self, x: &Wire, permutation: &[i64]) -> Wire {
        let perm = AttributeProto { name: "perm".into(), ints: permutation.to_vec(), r#type: 7, ..Default::default() };
        self.node("Transpose", &[x], vec![perm])
    }

    pub(super) fn concat(&mut self, parts: &[&Wire], axis: i64) -> Wire {
        self.node("Concat", parts, vec![int("axis", axis)])
    }

    pub(super) fn einsum(&mut self, operands: &[&Wire], equation: &str) -> Wire {
        let s = equation.as_bytes().to_vec().into();
        let equation = AttributeProto { name: "equation".into(), s, r#type: 3, ..Default::default() };
        self.node("Einsum", operands, vec![equation])
    }

    /// In floats of 32 bits.
    pub(super) fn float(&mut self, x: &Wire) -> Wire {
        self.node("Cast", &[x], vec![int("to", 1)])
    }

    /// From one index to another along the last axis.
    pub(super) fn slice(&mut self, x: &Wire, from: u64, to: u64) -> Wire {
        self.slice_along(x, -1, from, to)
    }

    /// From one index to another along an axis.
    pub(super) fn slice_along(&mut self, x: &Wire, axis: i64, from: u64, to: u64) -> Wire {
        let mut bound = |at: u64| self.ints(&[long(at)]);
        let (from, to) = (bound(from), bound(to));
        let axis = self.ints(&[axis]);
        self.node("Slice", &[x, &from, &to, &axis], Vec::new())
    }

    pub(super) fn softmax(&mut self, x: &Wire) -> Wire {
        self.node("Softmax", &[x], vec![int("axis", -1)])
    }

    /// A constant of one element, which is part of an instruction.
    pub(super) fn number(&mut self) -> Wire {
        let tensor = TensorProto { data_type: 1, data_location: 1, ..TensorProto::default() };
        self.tensor(tensor)
    }

    pub(super) fn ints(&mut self, ints: &[i64]) -> Wire {
        let dims = vec![i64::try_from(ints.len()).unwrap_or(i64::MAX)];
        self.tensor(TensorProto { data_type: 7, dims, raw_data: proto::raw(ints), ..TensorProto::default() })
    }

    fn tensor(&mut self, tensor: TensorProto) -> Wire {
        let name = format!("constant {}", self.graph.initializer.len());
        self.graph.initializer.push(TensorProto { name: name.clone(), ..tensor });
        Wire(name)
    }
}

fn value(wire: &Wire) -> ValueInfoProto {
    ValueInfoProto { name: wire.0.clone(), ..ValueInfoProto::default() }
}

/// A size as tensors and attributes have it.
fn long(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i: value, r#type: 2, ..AttributeProto::default() }
}
