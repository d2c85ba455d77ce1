//! Pointwise operators by numbers alone change places with what they stand behind or before, so that they fuse: the scale
//! of queries and keys, which exporters write behind the split into heads.
//!
//! A layer can write through a view only where the view is affine both ways, and a split is not. But an operator that
//! does the same with each element does not care where it is, so it runs before the view. And a factor of an operand of a
//! product is one of the result, where it is free.

use super::graph::{NodeId, ValueId};
use super::infer::TypedGraph;
use super::ops::{Form, View};
use super::uses::{Uses, maker};
use super::view;

/// No more views than these are followed.
const MOST_VIEWS: usize = 16;

/// Moves every such operator to where it fuses.
pub(super) fn reorder(typed: &mut TypedGraph) {
    let uses = Uses::new(typed);
    // Each place has its readers afterwards that it had before, so what is said of uses stays right.
    for node in typed.graph.nodes.ids().filter(|&node| uses.live[node]) {
        let Some(input) = sole_input(typed, node) else { continue };
        let views = views_before(typed, &uses, node, input);
        let is_split = |&node: &NodeId| view_of(typed, node).is_some_and(|view| view.write.is_none());
        if views.iter().any(is_split) {
            move_before(typed, &uses, node, input, &views);
        } else if is_factor(typed, node, input) && is_multiplied(typed, &uses, node) {
            let rank = typed.input(node, input).map_or(0, |(_, fact)| fact.rank());
            typed.graph.nodes[node].inputs.swap(0, input);
            typed.forms[node] = Form::Views(vec![View::same(rank)]);
        }
    }
}

/// Whether a node multiplies or divides its input by a number.
fn is_factor(typed: &TypedGraph, node: NodeId, input: usize) -> bool {
    match typed.graph.nodes[node].name.op.as_str() {
        "Mul" => true,
        "Div" => input == 0,
        _ => false,
    }
}

/// Whether all that a node makes is an operand of products, and nothing else.
fn is_multiplied(typed: &TypedGraph, uses: &Uses, node: NodeId) -> bool {
    let mut makers = vec![node];
    let mut followed = 0;
    while let Some(maker) = makers.pop() {
        for value in typed.graph.nodes[maker].outputs.iter().copied().flatten() {
            let is_view = |&&reader: &&NodeId| matches!(typed.forms[reader], Form::Views(_));
            let (views, others): (Vec<NodeId>, Vec<NodeId>) = uses.readers[value].iter().partition(is_view);
            followed += views.len();
            let are_products = others.iter().all(|&reader| typed.graph.nodes[reader].name.op == "MatMul");
            if uses.is_output[value] || !are_products || followed > MOST_VIEWS {
                return false;
            }
            makers.extend(views);
        }
    }
    true
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
        && views.len() < MOST_VIEWS
        && uses.readers[read] == [reader]
        && !uses.is_output[read]
        && let Some(node) = maker(typed, read)
    {
        match &typed.forms[node] {
            Form::Views(_) if keeps_elements(typed, node) => {
                views.push(node);
                (reader, value) = (node, typed.input(node, 0).map(|(value, _)| value));
            }
            Form::Nest(_) | Form::Pointwise(_) => {
                views.reverse();
                return views;
            }
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
