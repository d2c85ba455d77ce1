//! Which nodes become one layer.
//!
//! A node with work of its own is an anchor. From its result a group grows, in topological order: a pointwise node
//! joins if each of its inputs is a value of the group, a constant, or was there before the anchor, and its shape is
//! that of the group's values; a node that moves all elements joins if where they go is affine. The group ends with the
//! longest prefix of which only the last value is used outside. So bias, batch normalisation, activations in any
//! spelling, masks and residual additions fuse without a pattern for each; and a Transpose and Reshape behind them too,
//! for the layer then writes straight into the final layout.

use std::collections::BTreeSet;

use super::graph::{NodeId, ValueId};
use super::infer::TypedGraph;
use super::ops::{Form, Pointwise};
use super::uses::{Uses, maker};
use super::view::{compose, identity};
use crate::ir::{Access, IdVec};

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
    };
    for anchor in typed.graph.nodes.ids().filter(|&node| uses.live[node]) {
        let is_anchor = match &typed.forms[anchor] {
            Form::Nest(_) | Form::Pointwise(_) => groups.joined[anchor].is_none(),
            Form::Constant | Form::Views(_) | Form::Concat { axis: _ } => false,
        };
        let output = typed.graph.nodes[anchor].outputs.first().copied().flatten();
        if let (true, Some(output)) = (is_anchor, output) {
            let growth = Growth::new(typed, uses, &groups.joined, anchor, output);
            let group = if has_other_outputs(typed, uses, anchor) { growth.alone() } else { growth.grow() };
            for member in &group.members {
                groups.joined[member.node] = Some(anchor);
            }
            groups.anchored[anchor] = Some(group);
        }
    }
    groups
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
    anchor: NodeId,
    held: Vec<Held>,
}

impl<'a> Growth<'a> {
    fn new(
        typed: &'a TypedGraph,
        uses: &'a Uses,
        joined: &'a IdVec<NodeId, Option<NodeId>>,
        anchor: NodeId,
        output: ValueId,
    ) -> Self {
        let position = identity(typed.facts[output].rank());
        Self { typed, uses, joined, anchor, held: vec![Held { value: output, node: None, position }] }
    }

    /// The anchor without anything that joins it.
    fn alone(self) -> Group {
        let (result, position) = (self.held[0].value, self.held[0].position.clone());
        Group { members: Vec::new(), result, position }
    }

    fn grow(mut self) -> Group {
        let mut candidates: BTreeSet<NodeId> = self.uses.readers[self.held[0].value].iter().copied().collect();
        while let Some(node) = candidates.pop_first() {
            // What does not join uses a value from outside, so nothing after it would be closed.
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
        if others.iter().any(Option::is_some) {
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
            if let Some(held) = self.find(value) {
                if fact.shape != self.typed.facts[output].shape || shared.is_some_and(|shared| *shared != held.position)
                {
                    return None;
                }
                shared = Some(&held.position);
            } else if !fact.is_constant() && !self.is_there_before(value) {
                return None;
            }
        }
        shared.cloned()
    }

    /// Whether a value is made before the anchor runs: by a node before it, or by the layer of one.
    fn is_there_before(&self, value: ValueId) -> bool {
        let Some(maker) = maker(self.typed, value) else { return true };
        self.joined[maker].unwrap_or(maker) < self.anchor
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
