//! Model-local functions: each call becomes the function's nodes.

use std::collections::BTreeMap;

use super::{MOST_NODES, Renaming};
use crate::frontend::error::Kind;
use crate::frontend::graph::{Wrong, called, node_name};
use crate::frontend::opsets::Opsets;
use crate::frontend::proto::{AttributeProto, FunctionProto, ModelProto, NodeProto};

/// Functions that call each other deeper than this call themselves.
const DEEPEST: usize = 32;

/// Puts all functions of a model in the place of their calls.
pub(in super::super) fn inline(model: &mut ModelProto) -> Result<(), Wrong> {
    if model.functions.is_empty() {
        return Ok(());
    }
    let functions = std::mem::take(&mut model.functions);
    for set in functions.iter().flat_map(|function| &function.opset_import) {
        if !model.opset_import.iter().any(|known| known.domain == set.domain) {
            model.opset_import.push(set.clone());
        }
    }
    let opsets = Opsets::of(model);
    let mut calls = Calls { functions: BTreeMap::new(), opsets: &opsets, placed: 0 };
    for function in &functions {
        calls.functions.insert((&function.domain, &function.name, &function.overload), function);
    }
    if let Some(graph) = &mut model.graph {
        let mut nodes = Vec::new();
        for node in std::mem::take(&mut graph.node) {
            calls.place(node, 0, &mut nodes)?;
        }
        graph.node = nodes;
    }
    Ok(())
}

struct Calls<'a> {
    /// By domain, name and overload.
    functions: BTreeMap<(&'a str, &'a str, &'a str), &'a FunctionProto>,
    opsets: &'a Opsets,
    placed: usize,
}

impl Calls<'_> {
    /// Adds a node, or the nodes of the function that it calls.
    fn place(&mut self, mut node: NodeProto, depth: usize, to: &mut Vec<NodeProto>) -> Result<(), Wrong> {
        let key = (node.domain.as_str(), node.op_type.as_str(), node.overload.as_str());
        let Some(&function) = self.functions.get(&key) else {
            for graph in node.attribute.iter_mut().filter_map(|attribute| attribute.g.as_mut()) {
                let mut nodes = Vec::new();
                for inner in std::mem::take(&mut graph.node) {
                    self.place(inner, depth + 1, &mut nodes)?;
                }
                graph.node = nodes;
            }
            self.placed += 1;
            to.push(node);
            return Ok(());
        };
        if depth > DEEPEST || self.placed > MOST_NODES {
            return Err((Some(node_name(&node, self.opsets)), Kind::EndlessCalls));
        }
        for inner in body(&node, function) {
            self.place(inner, depth + 1, to)?;
        }
        Ok(())
    }
}

/// The nodes of a function as a node calls it.
fn body(call: &NodeProto, function: &FunctionProto) -> Vec<NodeProto> {
    let mut renaming = Renaming::new(called(call), &function.node);
    for (i, input) in function.input.iter().enumerate() {
        renaming.bind(input, call.input.get(i).map_or("", String::as_str));
    }
    for (output, name) in function.output.iter().zip(&call.output).filter(|(_, name)| !name.is_empty()) {
        // An input that is handed through is an output too.
        if !function.input.contains(output) {
            renaming.bind(output, name);
        }
    }
    let through = function
        .output
        .iter()
        .zip(&call.output)
        .filter(|(output, name)| function.input.contains(output) && !name.is_empty());
    let through = through.map(|(output, name)| identity(renaming.name(output), name.clone()));
    let nodes = function.node.iter().map(|node| {
        let mut node = renaming.node(node);
        node.attribute = node.attribute.iter().filter_map(|attribute| given(attribute, call, function)).collect();
        node
    });
    nodes.chain(through).collect()
}

/// An attribute of a function's node: its own, the call's that it refers to, or that one's default.
fn given(attribute: &AttributeProto, call: &NodeProto, function: &FunctionProto) -> Option<AttributeProto> {
    if attribute.ref_attr_name.is_empty() {
        let mut own = attribute.clone();
        for node in own.g.iter_mut().flat_map(|graph| &mut graph.node) {
            node.attribute = node.attribute.iter().filter_map(|inner| given(inner, call, function)).collect();
        }
        return Some(own);
    }
    let all = call.attribute.iter().chain(&function.attribute_proto);
    let found = all.into_iter().find(|candidate| candidate.name == attribute.ref_attr_name)?;
    Some(AttributeProto { name: attribute.name.clone(), ..found.clone() })
}

/// A node that hands a value through.
pub(super) fn identity(from: String, to: String) -> NodeProto {
    NodeProto { input: vec![from], output: vec![to], op_type: "Identity".into(), ..NodeProto::default() }
}
