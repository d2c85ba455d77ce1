//! Bodies in the place of nodes: model-local functions, branches, and loops step by step.
//!
//! All happens on the file's own messages, before names are resolved, so that what comes after sees one flat graph.
//! Functions are called by name and go first. A branch or a number of steps is known only after inference: `infer` runs
//! on what there is, says what it decides of each node, and runs again on what `control` makes of it.

mod control;
mod functions;
mod sequences;
mod steps;

use std::collections::BTreeMap;

use super::proto::{AttributeProto, GraphProto, NodeProto, ValueInfoProto};

pub(super) use control::{Choice, Decision, control};
pub(super) use functions::inline;
pub(super) use sequences::sequences;
pub(super) use steps::Loops;

/// No model has more nodes when all is in place.
const MOST_NODES: usize = 1 << 20;

/// What the names of a body are in the graph that it becomes part of.
struct Renaming {
    prefix: String,
    names: BTreeMap<String, String>,
}

impl Renaming {
    /// All that a body's nodes make takes the prefix. Names that are not the body's own stay as they are.
    fn new(prefix: &str, nodes: &[NodeProto]) -> Self {
        let made = nodes.iter().flat_map(|node| &node.output).filter(|name| !name.is_empty());
        let names = made.map(|name| (name.clone(), format!("{prefix}/{name}"))).collect();
        Self { prefix: prefix.to_owned(), names }
    }

    /// A name of the body's that is one of the graph's.
    fn bind(&mut self, body: &str, graph: &str) {
        self.names.insert(body.to_owned(), graph.to_owned());
    }

    fn name(&self, name: &str) -> String {
        self.names.get(name).cloned().unwrap_or_else(|| name.to_owned())
    }

    fn node(&self, node: &NodeProto) -> NodeProto {
        let called = if node.name.is_empty() { String::new() } else { format!("{}/{}", self.prefix, node.name) };
        NodeProto {
            name: called,
            output: node.output.iter().map(|name| self.name(name)).collect(),
            ..self.reader(node)
        }
    }

    /// A node that reads other names.
    fn reader(&self, node: &NodeProto) -> NodeProto {
        NodeProto {
            input: node.input.iter().map(|name| self.name(name)).collect(),
            output: node.output.clone(),
            name: node.name.clone(),
            op_type: node.op_type.clone(),
            attribute: node.attribute.iter().map(|attribute| self.attribute(attribute)).collect(),
            domain: node.domain.clone(),
            overload: node.overload.clone(),
        }
    }

    /// A graph may also hand through what it sees around it.
    fn result(&self, output: &ValueInfoProto) -> ValueInfoProto {
        ValueInfoProto { name: self.name(&output.name), ..output.clone() }
    }

    /// A graph within a node sees the names around it, save those that it has itself.
    fn attribute(&self, attribute: &AttributeProto) -> AttributeProto {
        let graph = attribute.g.as_ref().map(|graph| {
            let without = self.without(graph);
            let names = without.as_ref().unwrap_or(self);
            GraphProto {
                node: graph.node.iter().map(|node| names.reader(node)).collect(),
                output: graph.output.iter().map(|output| names.result(output)).collect(),
                ..graph.clone()
            }
        });
        AttributeProto { g: graph, ..attribute.clone() }
    }

    /// The same without the names that a graph has itself, where there are some.
    fn without(&self, graph: &GraphProto) -> Option<Self> {
        let inputs = graph.input.iter().map(|input| &input.name);
        let weights = graph.initializer.iter().map(|tensor| &tensor.name);
        let own: Vec<_> = inputs.chain(weights).chain(graph.node.iter().flat_map(|node| &node.output)).collect();
        if !own.iter().any(|&name| self.names.contains_key(name)) {
            return None;
        }
        let mut names = self.names.clone();
        own.into_iter().for_each(|name| drop(names.remove(name)));
        Some(Self { prefix: self.prefix.clone(), names })
    }
}
