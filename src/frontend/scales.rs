//! Scales and zero points that are read with what they belong to: one for each channel of a weight, or for each block. One
//! for all is part of the instruction, and zero points that are known to be 0 are none. A bias has the scale of the sums
//! that it is added to, so its own is not read.
//!
//! Which block an index is in takes a division. So the loop along the blocks' axis becomes two: over the blocks, and
//! within one.

use super::fact::{ElementType, Fact};
use super::graph::{Node, NodeId, ValueId};
use super::infer::TypedGraph;
use super::ops::{Form, Nest, Read, Source, input_of};
use super::uses::maker;
use super::view::{broadcast, compose, identity};
use crate::ir::{Access, Affine, Role};

/// Operators of whole numbers: an operand, and the inputs that scale and shift it, for all or for each channel.
const WHOLE_NUMBERS: &[(&str, usize, &[usize])] = &[
    ("ConvInteger", 1, &[3]),
    ("DynamicQuantizeMatMul", 1, &[2, 3]),
    ("MatMulInteger", 0, &[2]),
    ("MatMulInteger", 1, &[3]),
    ("MatMulIntegerToFloat", 0, &[2, 4]),
    ("MatMulIntegerToFloat", 1, &[3, 5]),
    ("MatMulNBits", 1, &[2]),
    ("QGemm", 0, &[1, 2]),
    ("QGemm", 3, &[4, 5]),
    ("QLinearConv", 3, &[4, 5]),
    ("QLinearMatMul", 0, &[1, 2]),
    ("QLinearMatMul", 3, &[4, 5]),
];

/// How a weight is quantised.
struct Scaled {
    /// The axis of the weight as it is stored.
    axis: usize,
    /// How many elements along the axis share a scale; `None` where each index has one, whatever the others.
    block: Option<u64>,
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
            |read: &Read| typed.input(node, input_of(&read.source)).and_then(|(value, _)| scaled(typed, value));
        let weights: Vec<_> = nest.reads.iter().map(weight).collect();
        for (read, weight) in weights.into_iter().enumerate() {
            if let Some(weight) = weight {
                read_with(typed, node, read, &weight);
            }
        }
        let op = typed.graph.nodes[node].name.op.clone();
        for (_, operand, parameters) in WHOLE_NUMBERS.iter().filter(|(name, _, _)| *name == op) {
            for &parameter in *parameters {
                read_parameter(typed, node, *operand, parameter);
            }
        }
    }
}

/// How a constant was quantised, if not by one scale for all; it may have been transposed since, or have changed its type
/// of floats.
fn scaled(typed: &TypedGraph, mut value: ValueId) -> Option<Scaled> {
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
                let (axis, block) = along(of, fact, scales)?;
                let zero = typed.input(node, 2).filter(|(_, zero)| !is_zero(zero)).map(|(zero, _)| zero);
                let parameters = [scale].into_iter().chain(zero).collect();
                return Some(Scaled { axis, block, parameters, stored });
            }
            _ => return None,
        }
        value = input;
    }
}

/// The axis along which a DequantizeLinear has a scale for each index or for each block; `None` where it has one for all,
/// and of a bias.
fn along(dequantize: &Node, x: &Fact, scales: &Fact) -> Option<(usize, Option<u64>)> {
    if scales.is_immediate() || x.rank() < 2 {
        return None;
    }
    let rank = i64::try_from(x.rank()).ok()?;
    let axis = int(dequantize, "axis").unwrap_or(1);
    let axis = usize::try_from(if axis < 0 { axis.checked_add(rank)? } else { axis }).ok()?;
    let (all, blocks) = (*x.shape.get(axis)?, scales.shape.get(axis));
    if scales.rank() == 1 {
        return (scales.shape[0] == all).then_some((axis, None));
    }
    let given = int(dequantize, "block_size").and_then(|size| u64::try_from(size).ok()).filter(|&size| size > 0);
    let size = given.or_else(|| Some(all.div_ceil(blocks?.max(&1).to_owned())))?;
    (scales.rank() == x.rank() && size > 1).then_some((axis, Some(size)))
}

/// Lets a loop nest read the scales of one of its operands; all of them where the blocks do not fit its loops.
fn read_with(typed: &mut TypedGraph, node: NodeId, read: usize, weight: &Scaled) {
    let Form::Nest(nest) = &mut typed.forms[node] else { return };
    let access = match weight.block {
        Some(size) => in_blocks(nest, read, weight, size),
        None => by_channel(nest, read, weight),
    };
    let source = nest.reads[read].source.clone();
    for &parameter in &weight.parameters {
        keep_width(&mut typed.facts[parameter]);
        let inputs = &mut typed.graph.nodes[node].inputs;
        let source = match (&source, typed.facts[parameter].shape.split_first()) {
            // Those of the rows that are picked.
            (Source::Rows { table: _, shape }, Some((_, others))) if weight.block.is_some() || weight.axis == 0 => {
                let rows = if weight.axis == 0 { shape[0].div_ceil(weight.block.unwrap_or(1)) } else { shape[0] };
                Source::Rows { table: inputs.len(), shape: [&[rows], others].concat() }
            }
            (_, _) => Source::Input(inputs.len()),
        };
        nest.reads.push(Read { source, access: access.clone() });
        inputs.push(Some(parameter));
    }
}

/// The scale of the weight that an iteration reads, where each channel has one.
fn by_channel(nest: &Nest, read: usize, weight: &Scaled) -> Option<Access> {
    let along = weight.stored.iter().position(|&stored| stored == weight.axis)?;
    Some(Access(vec![nest.reads[read].access.as_ref()?.0.get(along)?.clone()]))
}

/// The scale of the weight that an iteration reads, where each block has one. Cuts the loop along the blocks.
fn in_blocks(nest: &mut Nest, read: usize, weight: &Scaled, block: u64) -> Option<Access> {
    let along = weight.stored.iter().position(|&stored| stored == weight.axis)?;
    let Affine { offset: 0, terms } = nest.reads[read].access.as_ref()?.0.get(along)? else { return None };
    let &[(dim, 1)] = &terms[..] else { return None };
    let size = nest.dims.get(dim.index())?.size;
    let at = match size {
        _ if size <= block => Affine::constant(0),
        _ if size.is_multiple_of(block) => {
            *nest = nest.cut(dim, block)?;
            Affine::dim(dim)
        }
        _ => return None,
    };
    let read = nest.reads[read].access.as_ref()?;
    let mut access = identity(weight.stored.len());
    for (index, &stored) in read.0.iter().zip(&weight.stored) {
        *access.0.get_mut(stored)? = if stored == weight.axis { at.clone() } else { index.clone() };
    }
    Some(access)
}

/// Lets an operator of whole numbers read what scales or shifts the channels of an operand, if it doesn't yet.
fn read_parameter(typed: &mut TypedGraph, node: NodeId, operand: usize, parameter: usize) {
    let (Some((_, of)), Some((value, fact))) = (typed.input(node, operand), typed.input(node, parameter)) else {
        return;
    };
    if !fact.is_constant() || fact.is_immediate() || is_zero(fact) {
        return;
    }
    let (shape, scales) = (of.shape.clone(), fact.shape.clone());
    keep_width(&mut typed.facts[value]);
    let Form::Nest(nest) = &mut typed.forms[node] else { return };
    let reads = |input| nest.reads.iter().find(move |read| matches!(read.source, Source::Input(read) if read == input));
    if let (None, Some(Some(access))) = (reads(parameter), reads(operand).map(|read| &read.access)) {
        let access = match scales[..] {
            [size] => channel(nest, &shape, access, size).map(|index| Access(vec![index])),
            _ => compose(&broadcast(&scales, &shape), access).ok(),
        };
        nest.reads.push(Read { source: Source::Input(parameter), access });
    }
}

/// The index of the channel that an iteration reads: along the last axis of this size that is not summed over.
fn channel(nest: &Nest, shape: &[u64], access: &Access, size: u64) -> Option<Affine> {
    let is_summed = |index: &Affine| index.terms.iter().any(|(dim, _)| nest.dims[dim.index()].role == Role::K);
    let axes = shape.iter().zip(&access.0).rev();
    axes.filter(|&(&of, index)| of == size && !is_summed(index)).map(|(_, index)| index.clone()).next()
}

/// Scales are as wide as the file has them, whatever floats are.
fn keep_width(scales: &mut Fact) {
    if let ElementType::Float(bits) = scales.element {
        scales.element = ElementType::NarrowFloat(bits);
    }
}

/// Whether a zero point is known to be none.
fn is_zero(fact: &Fact) -> bool {
    fact.as_ints().is_some_and(|ints| ints.iter().all(|&int| int == 0))
}

fn int(node: &Node, name: &str) -> Option<i64> {
    node.attribute(name).map(|attribute| attribute.i)
}

fn ints<'a>(node: &'a Node, name: &str) -> Option<&'a [i64]> {
    node.attribute(name).map(|attribute| &attribute.ints[..])
}
