//! Operators that normalise: softmax, and all that subtract a mean or divide by a deviation.
//!
//! A normalised axis has role `k`: each result needs all of it, so it is not cut, though the write has it too.

use super::context::{Context, Refusal, axes, axis, shown, signed};
use super::nest::Nest;
use super::{Form, Lowered, lanes};
use crate::frontend::fact::{ElementType, Fact};
use crate::frontend::view::{self, combine, compose};
use crate::ir::{Access, Role};

/// Softmax, LogSoftmax and Hardmax: over one axis; before version 13 over all from it on. QLinearSoftmax says the version.
pub(super) fn softmax(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let is_old = cx.int("opset")?.unwrap_or(cx.opset) < 13;
    let at = axis(cx.int("axis")?.unwrap_or(if is_old { 1 } else { -1 }), x.rank())?;
    whole_axes(cx, lanes::SOFTMAX, |i| i == at || (is_old && i > at))
}

/// BiasSoftmax: over all axes from one on, with a bias added that broadcasts.
pub(super) fn bias_softmax(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let (x, bias) = (cx.input(0)?, cx.input(1)?);
    let at = axis(cx.int("axis")?.unwrap_or(1), x.rank())?;
    let mut lowered = whole_axes(cx, lanes::of(cx.op()), |i| i >= at)?;
    if let Form::Nest(nest) = &mut lowered.form {
        let fits = super::pointwise::broadcast_shapes(&[&bias.shape, &x.shape]).as_ref() == Some(&x.shape);
        let access = if fits { Some(compose(&view::broadcast(&bias.shape, &x.shape), &nest.write)?) } else { None };
        nest.reads.push(super::Read { source: super::Source::Input(1), access });
    }
    Ok(lowered)
}

/// LpNormalization: over one axis.
pub(super) fn lp_normalization(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let at = axis(cx.int("axis")?.unwrap_or(-1), cx.input(0)?.rank())?;
    whole_axes(cx, lanes::LP_NORMALIZATION, |i| i == at)
}

/// MeanVarianceNormalization: over all axes but the channels, or those named.
pub(super) fn mean_variance(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let over = axes(cx.int_list("axes")?.unwrap_or(&[0, 2, 3]), cx.input(0)?.rank())?;
    whole_axes(cx, lanes::LAYER_NORMALIZATION, |i| over.contains(&i))
}

/// InstanceNormalization, GroupNormalization, and ORT's GroupNorm and SkipGroupNorm: over all but the batch and the
/// channels; a scale and a bias for each channel, or for each group of them. Before that an input and a bias are added.
pub(super) fn by_channel(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let is_grouped = cx.op() != "InstanceNormalization";
    if x.rank() < 2 {
        return Err(Refusal::new("needs an input with a channel dimension"));
    }
    // A group's channels are normalised together.
    let others = (1..cx.input_count()).filter(|&input| cx.optional(input).is_some());
    let mut nest = Nest::vector(lanes::normalization(cx.op(), others.clone().count() as u64));
    let all = nest.axes(&x.shape, |i| i >= 2 || (is_grouped && i == 1));
    nest.read(0, all.clone());
    for input in others {
        let shape = &cx.input(input)?.shape;
        let per_channel = (*shape == [x.shape[1]]).then(|| Access(vec![all.0[1].clone()]));
        let access = if *shape == x.shape { Some(all.clone()) } else { per_channel };
        nest.reads.push(super::Read { source: super::Source::Input(input), access });
    }
    nest.write = all;
    let whole = Fact::at_run_time(x.shape.clone(), x.element);
    Ok(Lowered::new(vec![whole; cx.output_count()], Form::Nest(nest)))
}

/// LayerNormalization and RMSNormalization: over all axes from one on; a scale and a bias that broadcast.
pub(super) fn layer_normalization(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let at = axis(cx.int("axis")?.unwrap_or(-1), x.rank())?;
    let parameters = [1, 2].into_iter().filter(|&input| cx.optional(input).is_some()).count();
    let mut nest = Nest::vector(lanes::normalization(cx.op(), parameters as u64));
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
    // Statistics are computed in 32 bits, unless `stash_type` says otherwise.
    let statistics = Fact::at_run_time(statistics, cx.element_or("stash_type", ElementType::Float(32))?);
    let outputs = [Fact::at_run_time(x.shape.clone(), x.element), statistics.clone(), statistics];
    Ok(Lowered::new(outputs.into_iter().take(cx.output_count()).collect(), Form::Nest(nest)))
}

/// LRN: each element by the squares of its neighbours in a few channels.
pub(super) fn local_response(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let size = cx.needed_size("size")?;
    if x.rank() < 2 || size == 0 {
        return Err(Refusal::new("needs an input with a channel dimension and a size from 1 up"));
    }
    let mut nest = Nest::vector(lanes::LOCAL_RESPONSE);
    nest.write = nest.axes(&x.shape, |_| false);
    let near = nest.dim("near", size, Role::K);
    let mut read = nest.write.clone();
    read.0[1] = combine(-signed((size - 1) / 2)?, [(&read.0[1], 1), (&near, 1)])?;
    nest.read(0, read);
    Ok(Lowered::new(vec![Fact::at_run_time(x.shape.clone(), x.element)], Form::Nest(nest)))
}

/// The first input in its own shape, each element by all of some axes.
fn whole_axes(cx: &Context<'_>, lanes: u64, is_whole: impl Fn(usize) -> bool) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let mut nest = Nest::vector(lanes);
    let access = nest.axes(&x.shape, is_whole);
    nest.read(0, access.clone());
    nest.write = access;
    Ok(Lowered::new(vec![Fact::at_run_time(x.shape.clone(), x.element)], Form::Nest(nest)))
}
