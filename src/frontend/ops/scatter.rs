//! Operators that gather or scatter by index.

use super::context::{Context, Refusal, axis, shown};
use super::{Lowered, lanes};
use crate::frontend::fact::Fact;

/// GatherElements: as many elements as there are indices.
pub(super) fn gather_elements(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let (x, indices) = (cx.input(0)?, cx.input(1)?);
    axis(cx.int("axis")?.unwrap_or(0), x.rank())?;
    if indices.rank() != x.rank() {
        let (x, indices) = (shown(&x.shape), shown(&indices.shape));
        return Err(Refusal::new(format!("has indices {indices} into {x}, which need the same rank")));
    }
    Ok(Lowered::by_element(cx, vec![Fact::at_run_time(indices.shape.clone(), x.element)], lanes::MOVE))
}

/// GatherND: the last dimension of the indices is an index into the data, behind some batch dimensions.
pub(super) fn gather_nd(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let (x, indices) = (cx.input(0)?, cx.input(1)?);
    let batch = cx.size("batch_dims", 0)?;
    let misfit = || {
        let (x, indices) = (shown(&x.shape), shown(&indices.shape));
        Refusal::new(format!("has indices {indices} into {x}, which do not fit"))
    };
    let (&length, places) = indices.shape.split_last().ok_or_else(misfit)?;
    let first = batch.checked_add(length).and_then(|first| usize::try_from(first).ok()).ok_or_else(misfit)?;
    let slice = x.shape.get(first..).ok_or_else(misfit)?;
    let shape = [places, slice].concat();
    Ok(Lowered::by_element(cx, vec![Fact::at_run_time(shape, x.element)], lanes::MOVE))
}

/// The first input with some elements changed, or in another order: Scatter, ScatterElements, ScatterND, TensorScatter,
/// ReverseSequence.
pub(super) fn rewritten(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    Ok(Lowered::by_element(cx, vec![Fact::at_run_time(x.shape.clone(), x.element)], lanes::MOVE))
}
