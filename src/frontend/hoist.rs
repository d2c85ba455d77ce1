//! Pointwise operators by numbers alone run before the views that they stand behind: the scale of queries and keys, which
//! exporters write behind the split into heads, is then part of the product that makes them.
//!
//! A layer can write through a view only where the view is affine both ways, and a split is not. But an operator that
//! does the same with each element does not care where it is.

use super::graph::{NodeId, ValueId};
use super::infer::TypedGraph;
use super::ops::{Form, View};
use super::uses::{Uses, maker};
use super::view;

/// Lets every such operator change places with the views before it.
pub(super) fn hoist(typed: &mut TypedGraph) {
    let uses = Uses::new(typed);
    // Each place has its readers afterwards that it had before, so what is said of uses stays right.
    for node in typed.graph.nodes.ids().filter(|&node| uses.live[node]) {
        if let Some(input) = sole_input(typed, node) {
            let views = views_before(typed, &uses, node, input);
            let is_split = |&node: &NodeId| view_of(typed, node).is_some_and(|view| view.write.is_none());
            if views.iter().any(is_split) {
                move_before(typed, &uses, node, input, &views);
            }
        }
    }
}

/// The one input of a pointwise operator whose others are numbers; it has the output's shape.
fn sole_input(typed: &TypedGraph, node: NodeId) -> Option<usize> {
    let Form::Pointwise(pointwise) = &typed.forms[node] else { return None };
    let is_read = |&input: &usize| typed.input(node, input).is_some_and(|(_, fact)| !fact.is_immediate());
    let mut inputs = pointwise.operands.iter().map(|operand| operand.input).filter(is_read);
    let (input, None) = (inputs.next()?, inputs.next()) else { return None };
    let [Some(output), ..] = typed.graph.nodes[node].outputs[..] else { return None };
    (typed.input(node, input)?.1.shape == typed.facts[output].shape).then_some(input)
}

/// The views between a node and the layer whose result it reads, in order; none if something else reads it too.
fn views_before(typed: &TypedGraph, uses: &Uses, node: NodeId, input: usize) -> Vec<NodeId> {
    let mut views = Vec::new();
    let (mut reader, mut value) = (node, typed.input(node, input).map(|(value, _)| value));
    while let Some(read) = value
        && uses.readers[read] == [reader]
        && !uses.is_output[read]
        && let Some(node) = maker(typed, read)
    {
        match &typed.forms[node] {
            Form::Views(_) if keeps_elements(typed, node) => {
                views.insert(0, node);
                (reader, value) = (node, typed.input(node, 0).map(|(value, _)| value));
            }
            Form::Nest(_) | Form::Pointwise(_) => return views,
            Form::Views(_) | Form::Constant | Form::Concat { axis: _ } => break,
        }
    }
    Vec::new()
}

/// Whether a view has each element of its input once, in its input's type.
fn keeps_elements(typed: &TypedGraph, node: NodeId) -> bool {
    let (Some((_, input)), [Some(output)]) = (typed.input(node, 0), &typed.graph.nodes[node].outputs[..]) else {
        return false;
    };
    let output = &typed.facts[*output];
    view_of(typed, node).is_some() && input.element == output.element && input.elements() == output.elements()
}

fn view_of(typed: &TypedGraph, node: NodeId) -> Option<&View> {
    match &typed.forms[node] {
        Form::Views(views) => views.first().filter(|_| views.len() == 1),
        Form::Constant | Form::Nest(_) | Form::Pointwise(_) | Form::Concat { axis: _ } => None,
    }
}

/// The operator takes the place of the first view, and each view that of the next. Values stay where they are; what they
/// hold is what the operator makes of what the one before held.
fn move_before(typed: &mut TypedGraph, uses: &Uses, node: NodeId, input: usize, views: &[NodeId]) {
    let places: Vec<NodeId> = views.iter().copied().chain([node]).collect();
    let made: Vec<ValueId> = places.iter().filter_map(|&place| typed.graph.nodes[place].outputs[0]).collect();
    let Some((first, fact)) = typed.input(views[0], 0).map(|(value, fact)| (value, fact.clone())) else { return };
    if let Form::Pointwise(pointwise) = &mut typed.forms[node] {
        let read = pointwise.operands.iter_mut().filter(|operand| operand.input == input);
        read.for_each(|operand| operand.access = view::identity(fact.rank()));
    }
    let element = typed.facts[made[views.len()]].element;
    let shapes: Vec<_> = [first].iter().chain(&made).map(|&value| typed.facts[value].shape.clone()).collect();
    for (&value, shape) in made.iter().zip(shapes) {
        typed.facts[value].shape = shape;
        typed.facts[value].element = element;
    }
    if !uses.is_output[made[views.len()]] {
        let mut names: Vec<_> = made.iter().map(|&value| typed.graph.values[value].name.clone()).collect();
        names.rotate_right(1);
        made.iter().zip(names).for_each(|(&value, name)| typed.graph.values[value].name = name);
    }
    for pair in places.windows(2).rev() {
        typed.swap_work(pair[0], pair[1]);
    }
    typed.graph.nodes[places[0]].inputs[input] = Some(first);
    for (&place, &value) in places[1..].iter().zip(&made) {
        typed.graph.nodes[place].inputs[0] = Some(value);
    }
}
