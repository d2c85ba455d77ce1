//! QuantizeLinear and DequantizeLinear that stand twice: some quantisers write a pair for each reader of a value.
//!
//! Two are one if they do the same with the same value: by the same scale and zero point, or by constants that are known
//! to be the same.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use super::fact::Known;
use super::graph::{NodeId, ValueId};
use super::infer::TypedGraph;
use crate::ir::IdVec;

/// What a node does, and with what.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Work {
    op: String,
    domain: String,
    inputs: Vec<Option<Operand>>,
    /// As they are stored, in an order of their own.
    attributes: Vec<Vec<u8>>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Operand {
    Value(ValueId),
    /// A constant that is known: its type, its shape, and the bits of its elements.
    Known(String, Vec<u64>, Vec<u64>),
}

/// Lets what reads a node's result read that of the first which does the same. The others then have no work, for nobody
/// reads them.
pub(super) fn merge(typed: &mut TypedGraph) {
    let outputs: BTreeSet<ValueId> = typed.graph.outputs.iter().copied().collect();
    let mut first: BTreeMap<Work, ValueId> = BTreeMap::new();
    let mut stands_for: IdVec<ValueId, ValueId> = typed.graph.values.ids().collect();
    for node in typed.graph.nodes.ids() {
        for input in typed.graph.nodes[node].inputs.iter_mut().flatten() {
            *input = stands_for[*input];
        }
        let is_one = matches!(typed.graph.nodes[node].name.op.as_str(), "QuantizeLinear" | "DequantizeLinear");
        let [Some(output)] = typed.graph.nodes[node].outputs[..] else { continue };
        // An output of the graph is stored in its own type.
        if is_one && !outputs.contains(&output) {
            stands_for[output] = *first.entry(work(typed, node)).or_insert(output);
        }
    }
}

fn work(typed: &TypedGraph, node: NodeId) -> Work {
    let of = &typed.graph.nodes[node];
    let mut attributes: Vec<_> = of.attributes.iter().map(Message::encode_to_vec).collect();
    attributes.sort();
    let inputs = of.inputs.iter().map(|&input| input.map(|value| operand(typed, value))).collect();
    Work { op: of.name.op.clone(), domain: of.domain.clone(), inputs, attributes }
}

fn operand(typed: &TypedGraph, value: ValueId) -> Operand {
    let fact = &typed.facts[value];
    let bits = match &fact.known {
        Known::Ints(ints) => ints.iter().map(|int| int.cast_unsigned()).collect(),
        Known::Floats(floats) => floats.iter().map(|float| float.to_bits()).collect(),
        Known::AtRunTime | Known::Constant | Known::Narrow(_) | Known::Sequence(_) => return Operand::Value(value),
    };
    Operand::Known(fact.element.name(), fact.shape.clone(), bits)
}
