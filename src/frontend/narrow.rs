//! Quantised models as quantisers write them: DequantizeLinear before each operator and QuantizeLinear behind it.
//!
//! Between the two an operator is stated over floats, though what it reads and writes is narrow. QuantizeLinear joins the
//! layer before it and DequantizeLinear is a view, so what is left to say is where neither is work: what a view shows of
//! dequantised elements is stored as they are, QuantizeLinear of such elements by the scale that they have changes
//! nothing, and a concatenation that is quantised has narrow parts.
//!
//! Where the NPU's format takes the place of wide floats, a conversion between two of them changes nothing either.

use super::fact::{ElementType, Fact};
use super::graph::{NodeId, ValueId};
use super::infer::TypedGraph;
use super::ops::{Form, View};
use super::uses::{Uses, maker};
use crate::ir::IdVec;

/// The DequantizeLinear whose elements a value shows.
type Shown = IdVec<ValueId, Option<NodeId>>;

/// Gives values between DequantizeLinear and QuantizeLinear the type that they are stored in. An output of the graph
/// keeps its own.
pub(super) fn narrow(typed: &mut TypedGraph) {
    let uses = Uses::new(typed);
    let mut shown: Shown = typed.graph.values.iter().map(|_| None).collect();
    for node in typed.graph.nodes.ids().filter(|&node| uses.live[node]) {
        let Some((input, _)) = typed.input(node, 0) else { continue };
        match (typed.graph.nodes[node].name.op.as_str(), &typed.forms[node]) {
            (op, Form::Views(_)) => {
                let origin = if op == "DequantizeLinear" { Some(node) } else { shown[input] };
                for output in typed.graph.nodes[node].outputs.clone().into_iter().flatten() {
                    shown[output] = origin;
                    if origin.is_some() && !uses.is_output[output] {
                        store_as(typed, output, input);
                    }
                }
            }
            ("QuantizeLinear", Form::Pointwise(_)) => {
                let is_undone = shown[input].is_some_and(|origin| undoes(typed, origin, node));
                if is_undone || quantises_parts(typed, &uses, &shown, node, input) {
                    let same = View::same(typed.facts[input].rank());
                    typed.forms[node] = Form::Views(vec![same]);
                }
            }
            (_, Form::Constant | Form::Nest(_) | Form::Pointwise(_) | Form::Concat { axis: _ }) => {}
        }
    }
}

/// Lets conversions between wide floats be no work, where both are stored in one width.
pub(super) fn same_floats(typed: &mut TypedGraph) {
    for node in typed.graph.nodes.ids() {
        let of = &typed.graph.nodes[node];
        let (true, [Some(output)]) = (matches!(of.name.op.as_str(), "Cast" | "CastLike"), &of.outputs[..]) else {
            continue;
        };
        let Some((_, x)) = typed.input(node, 0) else { continue };
        let are_floats = [x, &typed.facts[*output]].iter().all(|fact| matches!(fact.element, ElementType::Float(_)));
        if are_floats && matches!(typed.forms[node], Form::Pointwise(_)) {
            typed.forms[node] = Form::Views(vec![View::same(x.rank())]);
        }
    }
}

/// Lets a value be stored in the type of another, if that is narrower.
fn store_as(typed: &mut TypedGraph, value: ValueId, as_narrow: ValueId) {
    let narrow = typed.facts[as_narrow].element;
    if narrow.bits(None) < typed.facts[value].element.bits(None) {
        typed.facts[value].element = narrow;
    }
}

/// Whether a QuantizeLinear gives back what a DequantizeLinear took: one scale and one zero point for all, the same.
fn undoes(typed: &TypedGraph, dequantize: NodeId, quantize: NodeId) -> bool {
    let parameter = |node: NodeId, input: usize| typed.input(node, input);
    let is_same_scale = match (parameter(dequantize, 1), parameter(quantize, 1)) {
        (Some((one, fact)), Some((other, other_fact))) => {
            fact.is_immediate() && (one == other || is_known_as(fact, other_fact))
        }
        (_, _) => false,
    };
    let is_same_zero = match (parameter(dequantize, 2), parameter(quantize, 2)) {
        (Some((one, fact)), Some((other, other_fact))) => one == other || is_known_as(fact, other_fact),
        (Some((_, fact)), None) | (None, Some((_, fact))) => fact.as_ints() == Some(&[0]),
        (None, None) => true,
    };
    let narrow = typed.input(dequantize, 0).map(|(_, fact)| fact.element);
    let output = typed.graph.nodes[quantize].outputs.first().copied().flatten();
    is_same_scale && is_same_zero && output.is_some_and(|output| Some(typed.facts[output].element) == narrow)
}

/// Whether two constants are known, and the same.
fn is_known_as(one: &Fact, other: &Fact) -> bool {
    one.as_floats().is_some_and(|floats| other.as_floats() == Some(floats))
        || one.as_ints().is_some_and(|ints| other.as_ints() == Some(ints))
}

/// Whether a QuantizeLinear alone reads a concatenation, which then has its parts quantised. It is, when this is so; and
/// if a part was quantised by another scale, its doing so is work.
fn quantises_parts(typed: &mut TypedGraph, uses: &Uses, shown: &Shown, quantize: NodeId, whole: ValueId) -> bool {
    let Some(concat) = maker(typed, whole) else { return false };
    let is_concat = matches!(typed.forms[concat], Form::Concat { axis: _ });
    let is_alone = uses.readers[whole] == [quantize] && !uses.is_output[whole];
    let is_immediate = |&input: &usize| typed.input(quantize, input).is_none_or(|(_, fact)| fact.is_immediate());
    let output = typed.graph.nodes[quantize].outputs.first().copied().flatten();
    let (true, true, true, Some(output)) = (is_concat, is_alone, [1, 2].iter().all(is_immediate), output) else {
        return false;
    };
    let is_undone = |part: &ValueId| shown[*part].is_some_and(|origin| undoes(typed, origin, quantize));
    if !typed.graph.nodes[concat].inputs.iter().flatten().all(is_undone) {
        typed.stands_for[concat].push(quantize);
    }
    store_as(typed, whole, output);
    true
}
