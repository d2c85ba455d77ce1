//! Who reads what, once constants are folded: a constant's makers read nothing.

use super::graph::{NodeId, Source, ValueId};
use super::infer::TypedGraph;
use super::ops::{self, Form};
use crate::ir::IdVec;

/// The nodes that have work to do, and the readers of each value.
pub(super) struct Uses {
    /// Whether an output of the graph needs the node's work.
    pub(super) live: IdVec<NodeId, bool>,
    /// The live nodes that read a value, in order.
    pub(super) readers: IdVec<ValueId, Vec<NodeId>>,
    /// Whether a value is an output of the graph.
    pub(super) is_output: IdVec<ValueId, bool>,
}

impl Uses {
    pub(super) fn new(typed: &TypedGraph) -> Self {
        let graph = &typed.graph;
        let mut uses = Self {
            live: graph.nodes.iter().map(|_| false).collect(),
            readers: graph.values.iter().map(|_| Vec::new()).collect(),
            is_output: graph.values.iter().map(|_| false).collect(),
        };
        let mut needed: IdVec<ValueId, bool> = graph.values.iter().map(|_| false).collect();
        for &output in &graph.outputs {
            uses.is_output[output] = true;
            needed[output] = true;
        }
        for id in graph.nodes.ids().rev() {
            let outputs = &graph.nodes[id].outputs;
            let is_needed =
                outputs.iter().flatten().any(|&output| needed[output] && !typed.facts[output].is_constant());
            uses.live[id] = is_needed;
            if is_needed {
                for input in inputs_read(typed, id) {
                    needed[input] = true;
                }
            }
        }
        for id in graph.nodes.ids().filter(|&id| uses.live[id]) {
            for input in inputs_read(typed, id) {
                uses.readers[input].push(id);
            }
        }
        uses
    }

    /// Whether anybody needs a value.
    pub(super) fn is_used(&self, value: ValueId) -> bool {
        self.is_output[value] || !self.readers[value].is_empty()
    }
}

/// The node that makes a value.
pub(super) fn maker(typed: &TypedGraph, value: ValueId) -> Option<NodeId> {
    match typed.graph.values[value].source {
        Source::Node(node) => Some(node),
        Source::Input | Source::Initializer(_) => None,
    }
}

/// The values that a node's work reads, each once.
pub(super) fn inputs_read(typed: &TypedGraph, id: NodeId) -> Vec<ValueId> {
    let inputs: Vec<usize> = match &typed.forms[id] {
        Form::Constant => Vec::new(),
        Form::Nest(nest) => nest.reads.iter().map(|read| ops::input_of(&read.source)).collect(),
        Form::Pointwise(pointwise) => pointwise.operands.iter().map(|operand| operand.input).collect(),
        Form::Views(_) => vec![0],
        Form::Concat { axis: _ } => (0..typed.graph.nodes[id].inputs.len()).collect(),
    };
    let mut values: Vec<_> = inputs.into_iter().filter_map(|i| Some(typed.input(id, i)?.0)).collect();
    values.sort_unstable();
    values.dedup();
    values
}
