//! Operators whose output has a shape that only data decides, which the user or the file says.

use super::context::Context;
use super::{Lowered, Note, lanes};
use crate::frontend::fact::{ElementType, Fact};

/// An operator whose shape only data decides, with what is said of it instead: work of the vector unit.
pub(in super::super) fn open(cx: &Context<'_>, outputs: Vec<Fact>, why: &str) -> Lowered {
    let note = format!("{why}; the shape that is given stands, costed as one vector operation for each element");
    Lowered { warning: Some(Note::Open(note)), ..Lowered::by_element(cx, outputs, lanes::MOVE) }
}

/// The type of what an operator with an open shape makes.
pub(in super::super) fn element_of(cx: &Context<'_>) -> ElementType {
    let of = |input: usize| cx.optional(input).map(|fact| fact.element);
    let value = || cx.tensor("value").ok().flatten().and_then(|value| ElementType::from_onnx(value.data_type.into()));
    let element = match cx.op() {
        "ConstantOfShape" => value(),
        "OneHot" => of(2),
        _ => of(0),
    };
    element.unwrap_or(ElementType::Float(32))
}

/// A shape that an operator might make whose shape is open: of as many dimensions as it has.
pub(in super::super) fn example(cx: &Context<'_>) -> Vec<u64> {
    let shape = |input: usize| cx.optional(input).map(|fact| fact.shape.clone()).unwrap_or_default();
    let ones =
        |sizes: usize| vec![1; shape(sizes).first().and_then(|&rank| usize::try_from(rank).ok()).unwrap_or(1).min(8)];
    match cx.op() {
        "ConstantOfShape" | "RandomNormal" | "RandomUniform" => ones(0),
        "Reshape" | "Expand" => ones(1),
        "Range" => vec![128],
        _ => shape(0),
    }
}
