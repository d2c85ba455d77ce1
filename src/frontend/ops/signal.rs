//! Operators on signals: Fourier transforms, windows, mel weights.

use super::context::{Context, Refusal, axis, shown};
use super::{Form, Lowered, lanes};
use crate::frontend::fact::{ElementType, Fact};

/// DFT: along an axis, which is an input since version 20; complex numbers are a last dimension of 2.
pub(super) fn dft(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let given = match cx.opset < 20 {
        true => cx.int("axis")?.unwrap_or(1),
        false => cx.optional_ints(2)?.and_then(|axes| axes.first().copied()).unwrap_or(-2),
    };
    let at = axis(given, x.rank())?;
    let (is_half, is_inverse) = (cx.flag("onesided", false)?, cx.flag("inverse", false)?);
    let length = match cx.optional(1) {
        Some(_) => cx.sizes(1)?.first().copied().unwrap_or(0),
        None if is_half && is_inverse => x.shape[at].saturating_sub(1).saturating_mul(2),
        None => x.shape[at],
    };
    let mut shape = x.shape.clone();
    shape[at] = if is_half && !is_inverse { length / 2 + 1 } else { length };
    let last = x.rank() - 1;
    if last == at {
        return Err(Refusal::new(format!("transforms {} along its last axis", shown(&x.shape))));
    }
    shape[last] = if is_half && is_inverse { 1 } else { 2 };
    // A butterfly for each binary digit of the length.
    let lanes = lanes::BUTTERFLY * u64::from(u64::BITS - length.leading_zeros()).max(1);
    Ok(Lowered::by_row(cx, vec![Fact::at_run_time(shape, x.element)], lanes, |i| i == at))
}

/// STFT: a transform of each frame.
pub(super) fn stft(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let step = cx.sizes(1)?.first().copied().filter(|&step| step > 0);
    let step = step.ok_or_else(|| Refusal::new("has no sound step between frames"))?;
    let window = cx.optional(2).and_then(|window| window.shape.first().copied());
    let length = match cx.optional(3) {
        Some(_) => cx.sizes(3)?.first().copied(),
        None => window,
    };
    let length = length.ok_or_else(|| Refusal::new("needs a frame's length or a window"))?;
    let &[batch, samples, ..] = &x.shape[..] else { return Err(Refusal::new("needs a batch of signals")) };
    let frames = samples.checked_sub(length).map(|room| room / step + 1);
    let frames = frames.ok_or_else(|| Refusal::new(format!("has frames of {length} in {samples} samples")))?;
    let bins = if cx.flag("onesided", true)? { length / 2 + 1 } else { length };
    let lanes = lanes::BUTTERFLY * u64::from(u64::BITS - length.leading_zeros()).max(1);
    let fact = Fact::at_run_time(vec![batch, frames, bins, 2], x.element);
    Ok(Lowered::by_row(cx, vec![fact], lanes, |i| i == 2))
}

/// HannWindow, HammingWindow, BlackmanWindow: known before the model runs.
pub(super) fn window(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let element = cx.element_or("output_datatype", ElementType::Float(32))?;
    let size = cx.sizes(0)?.first().copied().unwrap_or(0);
    Ok(Lowered::new(vec![Fact::constant(vec![size], element)], Form::Constant))
}

/// MelWeightMatrix: known before the model runs.
pub(super) fn mel_weights(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let element = cx.element_or("output_datatype", ElementType::Float(32))?;
    let (bins, length) = (cx.sizes(0)?, cx.sizes(1)?);
    let (&[bins], &[length]) = (&bins[..], &length[..]) else { return Err(Refusal::new("needs scalars")) };
    Ok(Lowered::new(vec![Fact::constant(vec![length / 2 + 1, bins], element)], Form::Constant))
}
