//! Which nodes become one layer.
//!
//! A node with work of its own is an anchor. From its result a group grows, in topological order: a pointwise node
//! joins if its shape is that of the group's values, whatever else it reads; a node that moves all elements joins if
//! where they go is affine. The group ends with the longest prefix of which only the last value is used outside. So
//! bias, batch normalisation, activations in any spelling, masks and residual additions fuse without a pattern for each;
//! and a Transpose and Reshape behind them too, for the layer then writes straight into the final layout.
//!
//! What a group reads may come later than its anchor in the file: the layers then run in another order. There always is
//! one. A cycle of layers would leave each of them by its last value, which all its members lead to, so it would be a
//! cycle of nodes.

use std::collections::BTreeSet;

use super::graph::{NodeId, ValueId, in_order};
use super::infer::TypedGraph;
use super::ops::{Form, Pointwise};
use super::uses::{Uses, inputs_read, maker};
use super::view::{compose, identity};
use crate::ir::{self, Access, IdVec};

/// Longer chains are cut, so that the work stays linear whatever the graph.
const MOST_MEMBERS: usize = 64;

/// The nodes of a layer.
pub(super) struct Group {
    /// The nodes that joined the anchor, in order.
    pub(super) members: Vec<Member>,
    /// The value that the layer writes.
    pub(super) result: ValueId,
    /// The index in the result as a function of the index in the anchor's output.
    pub(super) position: Access,
}

/// A node that joined, and the index in its output as a function of the index in the anchor's output.
pub(super) struct Member {
    pub(super) node: NodeId,
    pub(super) position: Access,
}

/// The group of each anchor; `None` of nodes that joined another's, that only move elements, or that have no work.
pub(super) fn groups(typed: &TypedGraph, uses: &Uses) -> Groups {
    let mut groups = Groups {
        anchored: typed.graph.nodes.iter().map(|_| None).collect(),
        joined: typed.graph.nodes.iter().map(|_| None).collect(),
        order: Vec::new(),
    };
    for anchor in anchors(typed, uses) {
        let output = typed.graph.nodes[anchor].outputs.first().copied().flatten();
        if let (None, Some(output)) = (groups.joined[anchor], output) {
            let growth = Growth::new(typed, uses, &groups.joined, output);
            let group = if has_other_outputs(typed, uses, anchor) { growth.alone() } else { growth.grow() };
            for member in &group.members {
                groups.joined[member.node] = Some(anchor);
            }
            groups.anchored[anchor] = Some(group);
        }
    }
    groups.order = groups.in_order(typed, uses);
    groups
}

/// The nodes that others can join, those first that take up what they can: behind a product it is free, and where two
/// results are added, the later one's layer does it. A chain of pointwise nodes begins with its first.
fn anchors<'a>(typed: &'a TypedGraph, uses: &'a Uses) -> impl Iterator<Item = NodeId> + 'a {
    let of = |is_meant: fn(&Form) -> bool| {
        typed.graph.nodes.ids().filter(move |&node| uses.live[node] && is_meant(&typed.forms[node]))
    };
    let products = of(|form| matches!(form, Form::Nest(nest) if nest.op == ir::Op::Gemm));
    let others = of(|form| matches!(form, Form::Nest(nest) if nest.op != ir::Op::Gemm));
    products.rev().chain(others.rev()).chain(of(|form| matches!(form, Form::Pointwise(_))))
}

/// Whether outputs of a node but the first are used: they are made from the first, which then has to be there.
fn has_other_outputs(typed: &TypedGraph, uses: &Uses, node: NodeId) -> bool {
    typed.graph.nodes[node].outputs.iter().skip(1).flatten().any(|&output| uses.is_used(output))
}

/// All groups.
pub(super) struct Groups {
    /// By anchor.
    pub(super) anchored: IdVec<NodeId, Option<Group>>,
    /// The anchor that a node joined.
    pub(super) joined: IdVec<NodeId, Option<NodeId>>,
    /// The nodes that joined no other, so that all that a group reads is made before it; otherwise as the file has them.
    pub(super) order: Vec<NodeId>,
}

impl Groups {
    fn in_order(&self, typed: &TypedGraph, uses: &Uses) -> Vec<NodeId> {
        let of = |node: NodeId| self.joined[node].unwrap_or(node);
        let mut needs = vec![Vec::new(); typed.graph.nodes.len()];
        for node in typed.graph.nodes.ids().filter(|&node| uses.live[node]) {
            let makers = inputs_read(typed, node).into_iter().filter_map(|input| maker(typed, input));
            let makers = makers.filter(|&maker| uses.live[maker] && of(maker) != of(node));
            needs[of(node).index()].extend(makers.map(|maker| of(maker).index()));
        }
        let is_apart = |node: usize| uses.live[NodeId::from(node)] && self.joined[NodeId::from(node)].is_none();
        in_order(&needs, is_apart).into_iter().map(NodeId::from).collect()
    }
}

/// A value of a growing group.
struct Held {
    value: ValueId,
    /// The node that made it, unless it is the anchor.
    node: Option<NodeId>,
    position: Access,
}

struct Growth<'a> {
    typed: &'a TypedGraph,
    uses: &'a Uses,
    joined: &'a IdVec<NodeId, Option<NodeId>>,
    held: Vec<Held>,
}

impl<'a> Growth<'a> {
    fn new(typed: &'a TypedGraph, uses: &'a Uses, joined: &'a IdVec<NodeId, Option<NodeId>>, output: ValueId) -> Self {
        let position = identity(typed.facts[output].rank());
        Self { typed, uses, joined, held: vec![Held { value: output, node: None, position }] }
    }

    /// The anchor without anything that joins it.
    fn alone(self) -> Group {
        let (result, position) = (self.held[0].value, self.held[0].position.clone());
        Group { members: Vec::new(), result, position }
    }

    fn grow(mut self) -> Group {
        let mut candidates: BTreeSet<NodeId> = self.uses.readers[self.held[0].value].iter().copied().collect();
        while let Some(node) = candidates.pop_first() {
            // What does not join uses a value of the group, so nothing after it would be closed.
            let Some(held) = self.joins(node).filter(|_| self.held.len() < MOST_MEMBERS) else { break };
            candidates.extend(&self.uses.readers[held.value]);
            self.held.push(held);
        }
        let last = self.longest_closed();
        self.held.truncate(last + 1);
        let (result, position) = (self.held[last].value, self.held[last].position.clone());
        let member = |held: Held| Some(Member { node: held.node?, position: held.position });
        Group { members: self.held.into_iter().filter_map(member).collect(), result, position }
    }

    /// The value of a node that may join.
    fn joins(&self, node: NodeId) -> Option<Held> {
        let [Some(output), others @ ..] = &self.typed.graph.nodes[node].outputs[..] else { return None };
        if others.iter().any(Option::is_some) || self.joined[node].is_some() {
            return None;
        }
        let output = *output;
        let position = match &self.typed.forms[node] {
            Form::Pointwise(pointwise) => self.shared_position(node, output, pointwise)?,
            Form::Views(views) => {
                let [view] = &views[..] else { return None };
                let (input, _) = self.typed.input(node, 0)?;
                compose(view.write.as_ref()?, &self.find(input)?.position).ok()?
            }
            Form::Constant | Form::Nest(_) | Form::Concat { axis: _ } => return None,
        };
        Some(Held { value: output, node: Some(node), position })
    }

    /// The position that all values of the group have which a pointwise node reads.
    fn shared_position(&self, node: NodeId, output: ValueId, pointwise: &Pointwise) -> Option<Access> {
        let mut shared: Option<&Access> = None;
        for operand in &pointwise.operands {
            let (value, fact) = self.typed.input(node, operand.input)?;
            let Some(held) = self.find(value) else { continue };
            if fact.shape != self.typed.facts[output].shape || shared.is_some_and(|shared| *shared != held.position) {
                return None;
            }
            shared = Some(&held.position);
        }
        shared.cloned()
    }

    fn find(&self, value: ValueId) -> Option<&Held> {
        self.held.iter().find(|held| held.value == value)
    }

    /// The last value of the longest prefix before whose last value none is used outside of it.
    fn longest_closed(&self) -> usize {
        let place = |node: NodeId| self.held.iter().position(|held| held.node == Some(node)).unwrap_or(usize::MAX);
        let mut needed = 0;
        let mut longest = 0;
        for (i, held) in self.held.iter().enumerate() {
            if needed <= i {
                longest = i;
            }
            let last_use = self.uses.readers[held.value].iter().map(|&node| place(node)).max().unwrap_or(0);
            needed = needed.max(if self.uses.is_output[held.value] { usize::MAX } else { last_use });
        }
        longest
    }
}
