//! Operators that reduce whole axes: softmax, layer normalisation, means and sums.
//!
//! A normalised axis has role `k`: each result needs all of it, so it is not cut, though the write has it too.

use super::context::{Context, Refusal, axes, axis, shown};
use super::nest::Nest;
use super::{Form, Lowered, lanes};
use crate::frontend::fact::Fact;
use crate::frontend::view::{self, compose};
use crate::ir::{Access, Affine};

/// Softmax and LogSoftmax: over one axis; before version 13 over all from it on.
pub(super) fn softmax(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let is_old = cx.opset < 13;
    let at = axis(cx.int("axis")?.unwrap_or(if is_old { 1 } else { -1 }), x.rank())?;
    let mut nest = Nest::vector(lanes::SOFTMAX);
    let access = nest.axes(&x.shape, |i| i == at || (is_old && i > at));
    nest.read(0, access.clone());
    nest.write = access;
    Ok(Lowered::new(vec![Fact::at_run_time(x.shape.clone(), x.element)], Form::Nest(nest)))
}

/// LayerNormalization: over all axes from one on; a scale and a bias that broadcast.
pub(super) fn layer_normalization(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let at = axis(cx.int("axis")?.unwrap_or(-1), x.rank())?;
    let mut nest = Nest::vector(lanes::LAYER_NORMALIZATION);
    let access = nest.axes(&x.shape, |i| i >= at);
    nest.read(0, access.clone());
    for parameter in [1, 2] {
        let Some(fact) = cx.optional(parameter) else { continue };
        if super::pointwise::broadcast_shapes(&[&fact.shape, &x.shape]).as_ref() != Some(&x.shape) {
            let (parameter, x) = (shown(&fact.shape), shown(&x.shape));
            return Err(Refusal::new(format!("has parameter {parameter}, which does not broadcast to {x}")));
        }
        nest.read(parameter, compose(&view::broadcast(&fact.shape, &x.shape), &access)?);
    }
    nest.write = access;
    let statistics = x.shape.iter().enumerate().map(|(i, &size)| if i < at { size } else { 1 }).collect::<Vec<_>>();
    let statistics = Fact::at_run_time(statistics, x.element);
    let outputs = [Fact::at_run_time(x.shape.clone(), x.element), statistics.clone(), statistics];
    Ok(Lowered::new(outputs.into_iter().take(cx.output_count()).collect(), Form::Nest(nest)))
}

/// ReduceMean, ReduceSum, ReduceMax, ReduceMin: the axes are an input since version 18, of ReduceSum since 13.
pub(super) fn reduce(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let input_since = if cx.op() == "ReduceSum" { 13 } else { 18 };
    let given = if cx.opset < input_since { cx.int_list("axes")? } else { cx.optional_ints(1)? };
    let reduced = match given {
        Some(given) if !given.is_empty() => axes(given, x.rank())?,
        Some(_) | None if cx.flag("noop_with_empty_axes", false)? => Vec::new(),
        Some(_) | None => (0..x.rank()).collect(),
    };
    let keeps = cx.flag("keepdims", true)?;
    let mut nest = Nest::vector(lanes::REDUCE);
    let access = nest.axes(&x.shape, |i| reduced.contains(&i));
    let (mut shape, mut write) = (Vec::new(), Vec::new());
    for (i, index) in access.0.iter().enumerate() {
        match reduced.contains(&i) {
            false => {
                shape.push(x.shape[i]);
                write.push(index.clone());
            }
            true if keeps => {
                shape.push(1);
                write.push(Affine::constant(0));
            }
            true => {}
        }
    }
    nest.read(0, access);
    nest.write = Access(write);
    Ok(Lowered::new(vec![Fact::at_run_time(shape, x.element)], Form::Nest(nest)))
}
