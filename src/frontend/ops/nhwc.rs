//! Images whose channels come last, as ONNX Runtime's layout transformer and its optimizer for diffusion models write
//! them: each by the rule for channels that come first.

use super::context::{Context, Refusal};
use super::nest::input_of;
use super::{Form, Lower, Lowered, conv, normalize, pool};
use crate::frontend::fact::Fact;

/// NhwcConv, NhwcFusedConv.
pub(super) fn conv(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    images(cx, true, &[0, 3], conv::fused)
}

/// NhwcMaxPool.
pub(super) fn max_pool(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    images(cx, true, &[0], pool::pool)
}

/// QLinearConv.
pub(super) fn quantized_conv(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    images(cx, false, &[0], conv::quantized)
}

/// QLinearAveragePool.
pub(super) fn quantized_pool(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    images(cx, false, &[0], pool::pool)
}

/// QLinearGlobalAveragePool.
pub(super) fn quantized_global(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    images(cx, false, &[0], pool::global)
}

/// GroupNorm and SkipGroupNorm.
pub(super) fn group_norm(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    images(cx, true, &[0, 3], normalize::by_channel)
}

/// A rule for channels that come first, of a node whose channels come last where its attribute, or without one the
/// operator, says so. Some of the inputs are images, and all outputs.
fn images(cx: &Context<'_>, by_default: bool, inputs: &[usize], rule: Lower) -> Result<Lowered, Refusal> {
    if !cx.flag("channels_last", by_default)? {
        return rule(cx);
    }
    let all: Vec<Option<Fact>> = (0..cx.input_count())
        .map(|input| {
            let mut fact = cx.optional(input)?.clone();
            if inputs.contains(&input) && fact.rank() > 2 {
                fact.shape[1..].rotate_right(1);
            }
            Some(fact)
        })
        .collect();
    let mut lowered = rule(&cx.with(all.iter().map(Option::as_ref).collect()))?;
    for fact in lowered.outputs.iter_mut().filter(|fact| fact.rank() > 2) {
        fact.shape[1..].rotate_left(1);
    }
    if let Form::Nest(nest) = &mut lowered.form {
        let images = nest.reads.iter_mut().filter(|read| inputs.contains(&input_of(&read.source)));
        let accesses = images.filter_map(|read| read.access.as_mut()).chain([&mut nest.write]);
        for access in accesses.filter(|access| access.0.len() > 2) {
            access.0[1..].rotate_left(1);
        }
    }
    Ok(lowered)
}
