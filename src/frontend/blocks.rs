//! Weights that are quantised in blocks: their scales and zero points are read with them. One for all, or for each
//! channel, is too small to count; one for each block of 32 weights of 4 bits is an eighth of them.
//!
//! Which block an index is in takes a division. So the loop along the blocks' axis becomes two: over the blocks, and
//! within one.

use super::graph::{Node, NodeId, ValueId};
use super::infer::TypedGraph;
use super::ops::{Form, Nest, Read, Source, input_of};
use super::uses::maker;
use super::view::identity;
use crate::ir::{Access, Affine};

/// How a weight is quantised.
struct Blocked {
    /// The axis of the weight as it is stored.
    axis: usize,
    /// How many elements along the axis share a scale.
    size: u64,
    /// Scales, and zero points where there are some.
    parameters: Vec<ValueId>,
    /// The axis as it is stored of each axis as it is read.
    stored: Vec<usize>,
}

/// Lets every loop nest read the scales of its weights.
pub(super) fn read_scales(typed: &mut TypedGraph) {
    for node in typed.graph.nodes.ids() {
        let Form::Nest(nest) = &typed.forms[node] else { continue };
        let weight =
            |read: &Read| typed.input(node, input_of(&read.source)).and_then(|(value, _)| blocked(typed, value));
        let weights: Vec<_> = nest.reads.iter().map(weight).collect();
        for (read, weight) in weights.into_iter().enumerate() {
            if let Some(weight) = weight {
                read_with(typed, node, read, &weight);
            }
        }
    }
}

/// How a constant was quantised, if in blocks; it may have been transposed since, or have changed its type of floats.
fn blocked(typed: &TypedGraph, mut value: ValueId) -> Option<Blocked> {
    let mut stored: Vec<usize> = (0..typed.facts[value].rank()).collect();
    loop {
        let node = maker(typed, value).filter(|_| typed.facts[value].is_constant())?;
        let (input, fact) = typed.input(node, 0)?;
        let of = &typed.graph.nodes[node];
        match of.name.op.as_str() {
            "Cast" => {}
            "Transpose" => {
                let turned: Vec<usize> = match ints(of, "perm") {
                    Some(axes) => axes.iter().filter_map(|&axis| usize::try_from(axis).ok()).collect(),
                    None => (0..fact.rank()).rev().collect(),
                };
                stored = stored.into_iter().map(|axis| turned.get(axis).copied()).collect::<Option<_>>()?;
            }
            "DequantizeLinear" => {
                let (scale, scales) = typed.input(node, 1)?;
                let rank = i64::try_from(fact.rank()).ok()?;
                let axis = int(of, "axis").unwrap_or(1);
                let axis = usize::try_from(if axis < 0 { axis.checked_add(rank)? } else { axis }).ok()?;
                let (all, blocks) = (*fact.shape.get(axis)?, *scales.shape.get(axis)?);
                let given = int(of, "block_size").and_then(|size| u64::try_from(size).ok()).filter(|&size| size > 0);
                let size = given.or_else(|| Some(all.div_ceil(blocks.max(1))))?;
                let zero = typed.input(node, 2).map(|(zero, _)| zero);
                let is_blocked = scales.rank() == fact.rank() && !scales.is_immediate() && size > 1;
                return is_blocked.then(|| Blocked {
                    axis,
                    size,
                    parameters: [scale].into_iter().chain(zero).collect(),
                    stored,
                });
            }
            _ => return None,
        }
        value = input;
    }
}

/// Lets a loop nest read the scales of one of its operands; all of them where the blocks do not fit its loops.
fn read_with(typed: &mut TypedGraph, node: NodeId, read: usize, weight: &Blocked) {
    let Form::Nest(nest) = &mut typed.forms[node] else { return };
    let access = in_blocks(nest, read, weight);
    for &parameter in &weight.parameters {
        let inputs = &mut typed.graph.nodes[node].inputs;
        nest.reads.push(Read { source: Source::Input(inputs.len()), access: access.clone() });
        inputs.push(Some(parameter));
    }
}

/// The scale of the weight that an iteration reads. Cuts the loop along the blocks.
fn in_blocks(nest: &mut Nest, read: usize, weight: &Blocked) -> Option<Access> {
    let along = weight.stored.iter().position(|&stored| stored == weight.axis)?;
    let Affine { offset: 0, terms } = nest.reads[read].access.as_ref()?.0.get(along)? else { return None };
    let &[(dim, 1)] = &terms[..] else { return None };
    let size = nest.dims.get(dim.index())?.size;
    let block = match size {
        _ if size <= weight.size => Affine::constant(0),
        _ if size.is_multiple_of(weight.size) => {
            *nest = nest.cut(dim, weight.size)?;
            Affine::dim(dim)
        }
        _ => return None,
    };
    let read = nest.reads[read].access.as_ref()?;
    let mut access = identity(weight.stored.len());
    for (index, &stored) in read.0.iter().zip(&weight.stored) {
        *access.0.get_mut(stored)? = if stored == weight.axis { block.clone() } else { index.clone() };
    }
    Some(access)
}

fn int(node: &Node, name: &str) -> Option<i64> {
    node.attributes.iter().find(|attribute| attribute.name == name).map(|attribute| attribute.i)
}

fn ints<'a>(node: &'a Node, name: &str) -> Option<&'a [i64]> {
    node.attributes.iter().find(|attribute| attribute.name == name).map(|attribute| &attribute.ints[..])
}
