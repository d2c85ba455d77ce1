//! Operators that an exporter wrote as several, recognised: the last node of each takes the place of all.
//!
//! A pattern is a row of [`table::PATTERNS`]: an operator, its cost, and the [`Term`] that its result has to be. It is
//! found only where nobody else reads what is between, so that nothing is lost. What stands behind it as a plain
//! pointwise operator (the scale and the bias of a layer normalisation) is no part of it, for that fuses by itself.

mod find;
mod table;
#[cfg(test)]
mod tests;

use super::graph::{NodeId, ValueId};
use super::infer::TypedGraph;
use super::ops::{Form, Nest, Pointwise, PointwiseOperand, Read, Source, lanes};
use super::uses::Uses;
use super::view::{self, compose};
use crate::ir::{Access, IdVec};
use find::Found;

/// What a value has to be for a pattern to be found.
#[derive(Debug)]
enum Term {
    /// The input of the pattern: everywhere the same.
    X,
    /// A constant that lies along the input's axes, like a scale; by its number everywhere the same.
    Weight(usize),
    /// A constant of one element.
    Number,
    /// This constant, to the 8 binary digits that every type of floats holds.
    Is(f64),
    /// A constant of floats that is this everywhere.
    All(f64),
    /// Any constant.
    Constant,
    /// What lies along the input's axes, constant or not; by its number everywhere the same.
    Given(usize),
    /// The input, with its channels in so many rows as there are groups of them.
    InGroups,
    /// The input with the elements of its last axis in other places, some of them negated.
    Turned,
    /// The result of an operator. Factors and summands may stand in any order.
    Op(&'static str, &'static [Term]),
    /// The result of a reduction, of which the reduced axes stay; in one pattern they all reduce the same ones.
    Reduced(&'static str, &'static Term),
    /// Any of these.
    Any(&'static [Term]),
}

/// What is recognised.
#[derive(Debug)]
struct Pattern {
    /// The operator that it is.
    name: &'static str,
    /// Operations of a lane for each element, without weights and what else is given.
    lanes: u64,
    term: Term,
}

/// Puts operators in the place of what they were written as. A larger pattern's parts are not looked at again.
pub(super) fn recognise(typed: &mut TypedGraph) {
    let uses = Uses::new(typed);
    let mut taken: IdVec<NodeId, bool> = typed.graph.nodes.iter().map(|_| false).collect();
    for root in typed.graph.nodes.ids().rev().filter(|&node| uses.live[node]) {
        if taken[root] {
            continue;
        }
        let found = |pattern| Some((pattern, find::at(typed, &uses, root, pattern)?));
        if let Some((pattern, found)) = table::PATTERNS.iter().find_map(found) {
            found.nodes.iter().for_each(|&node| taken[node] = true);
            replace(typed, root, pattern, found);
        }
    }
}

/// Lets the last node of what was found do the work of all. The others then have none, for nobody reads them.
fn replace(typed: &mut TypedGraph, root: NodeId, pattern: &Pattern, found: Found) {
    let Found { x, weights, reduced, nodes } = found;
    let shape = &typed.facts[x].shape;
    let lanes = pattern.lanes.saturating_add(weights.len() as u64);
    let operands: Vec<ValueId> = [x].into_iter().chain(weights.into_values()).collect();
    let access = |&operand: &ValueId| view::broadcast(&typed.facts[operand].shape, shape);
    let accesses: Vec<Access> = operands.iter().map(access).collect();
    typed.forms[root] = match reduced {
        Some(reduced) => {
            let mut nest = Nest::vector(lanes);
            let all = nest.axes(shape, |axis| reduced[axis] != shape[axis]);
            nest.reads.extend(
                accesses
                    .iter()
                    .enumerate()
                    .map(|(input, access)| Read { source: Source::Input(input), access: compose(access, &all).ok() }),
            );
            nest.write = all;
            Form::Nest(nest)
        }
        None => {
            let operand = |(input, access)| PointwiseOperand { input, access, is_scale: false };
            Form::Pointwise(Pointwise { lanes, operands: accesses.into_iter().enumerate().map(operand).collect() })
        }
    };
    let node = &mut typed.graph.nodes[root];
    node.inputs = operands.into_iter().map(Some).collect();
    node.name.op = pattern.name.to_owned();
    typed.stands_for[root] = nodes.into_iter().filter(|&node| node != root).collect();
}
