//! Operators that make random numbers, which are computed whenever the model runs.

use super::context::{Context, Refusal};
use super::{Lowered, lanes, pointwise};
use crate::frontend::fact::{ElementType, Fact};

/// RandomNormal, RandomUniform: a shape from an attribute.
pub(super) fn shaped(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let given = cx.int_list("shape")?.unwrap_or_default();
    let shape = given.iter().map(|&size| u64::try_from(size)).collect::<Result<Vec<_>, _>>();
    let shape = shape.map_err(|_| Refusal::new(format!("makes a tensor of shape {given:?}")))?;
    let element = cx.element_or("dtype", ElementType::Float(32))?;
    Ok(Lowered::by_element(cx, vec![Fact::at_run_time(shape, element)], lanes::RANDOM))
}

/// RandomNormalLike, RandomUniformLike, Bernoulli: the shape of the input, and its type unless one is given.
pub(super) fn like(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let element = cx.element_or("dtype", cx.input(0)?.element)?;
    pointwise::typed(cx, element)
}

/// Multinomial: samples for each row.
pub(super) fn multinomial(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let rows = cx.input(0)?.shape.first().copied().ok_or_else(|| Refusal::new("needs rows"))?;
    let element = cx.element_or("dtype", ElementType::Int(32))?;
    let shape = vec![rows, cx.size("sample_size", 1)?];
    Ok(Lowered::by_element(cx, vec![Fact::at_run_time(shape, element)], lanes::RANDOM))
}
