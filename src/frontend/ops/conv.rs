//! Convolutions.

use super::context::{Context, Refusal, shown, signed};
use super::nest::{Nest, Read, Source};
use super::window::Window;
use super::{Form, Lowered, lanes};
use crate::frontend::fact::{ElementType, Fact};
use crate::frontend::view::combine;
use crate::ir::{Access, Affine, Role};

/// Conv: input `[batch, g·ic, …]`, weight `[g·oc, ic, k…]`, output `[batch, g·oc, o…]`.
pub(super) fn conv(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let operands = Operands { input: 0, weight: 1, bias: Some(2) };
    lower(cx, &operands, cx.input(0)?.element)
}

/// The convolutions of ORT's blocked layout, whose channels are padded to whole blocks: of one weight for all, those that
/// are there; of one for each channel, all, and the input has nothing but padding for the rest.
pub(super) fn blocked(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let (mut x, mut weight) = (cx.input(0)?.clone(), cx.input(1)?.clone());
    if let (Some(there), Some(padded)) = (x.shape.get_mut(1), weight.shape.get_mut(1)) {
        match (cx.size("group", 1)?, *padded) {
            (1, all) => *padded = all.min(*there),
            (groups, 1) => *there = groups.max(*there),
            (_, _) => {}
        }
    }
    let inputs = (0..cx.input_count()).map(|i| match i {
        0 => Some(&x),
        1 => Some(&weight),
        _ => cx.optional(i),
    });
    fused(&cx.with(inputs.collect()))
}

/// FusedConv: an activation, and what is added before it.
pub(super) fn fused(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let mut lowered = conv(cx)?;
    if let (Form::Nest(nest), true) = (&mut lowered.form, cx.optional(3).is_some()) {
        nest.read(3, nest.write.clone());
    }
    Ok(lowered)
}

/// ConvInteger: whole numbers, summed in 32 bits.
pub(super) fn conv_integer(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    lower(cx, &Operands { input: 0, weight: 1, bias: None }, ElementType::Int(32))
}

/// QLinearConv: each operand with a scale and a zero point behind it.
pub(super) fn quantized(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let operands = Operands { input: 0, weight: 3, bias: Some(8) };
    lower(cx, &operands, cx.input(7)?.element)
}

/// DeformConv: offsets, and a mask, say where each window reads.
pub(super) fn deformable(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let operands = Operands { input: 0, weight: 1, bias: Some(3) };
    let mut lowered = lower(cx, &operands, cx.input(0)?.element)?;
    if let Form::Nest(nest) = &mut lowered.form {
        nest.reads[0].access = None;
        nest.reads.extend([2, 4].map(|input| Read { source: Source::Input(input), access: None }));
    }
    Ok(lowered.warned("reads where the data says; costed as a convolution that reads its whole input"))
}

/// CausalConvWithState: each channel over the state and the input behind it; the next state is their end.
pub(super) fn causal(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let (x, weight) = (cx.input(0)?, cx.input(1)?);
    let (&[batch, channels, length], &[_, _, taps]) = (&x.shape[..], &weight.shape[..]) else {
        return Err(Refusal::new("needs an input and a weight of rank 3"));
    };
    let mut nest = Nest::vector(lanes::MULTIPLY_ADD);
    nest.write = nest.axes(&x.shape, |_| false);
    let tap = nest.dim("kw", taps, Role::K);
    let (channel, at) = (nest.write.0[1].clone(), nest.write.0[2].clone());
    let history = taps.saturating_sub(1);
    let reach = combine(-signed(history)?, [(&at, 1), (&tap, 1)])?;
    nest.read(0, Access(vec![nest.write.0[0].clone(), channel.clone(), reach]));
    nest.read(1, Access(vec![channel.clone(), Affine::constant(0), tap]));
    nest.read(2, Access(vec![channel]));
    nest.reads.push(Read { source: Source::Input(3), access: None });
    let state = Fact::at_run_time(vec![batch, channels, history], x.element);
    Ok(Lowered::new(vec![Fact::at_run_time(vec![batch, channels, length], x.element), state], Form::Nest(nest)))
}

/// Which inputs a convolution multiplies and adds.
struct Operands {
    input: usize,
    weight: usize,
    bias: Option<usize>,
}

fn lower(cx: &Context<'_>, operands: &Operands, element: ElementType) -> Result<Lowered, Refusal> {
    let (x, weight) = (cx.input(operands.input)?, cx.input(operands.weight)?);
    if x.rank() < 3 || weight.rank() != x.rank() {
        let (x, weight) = (shown(&x.shape), shown(&weight.shape));
        return Err(Refusal::new(format!("has input {x} and weight {weight}, which need the same rank from 3 up")));
    }
    let (channels, kernels, ic) = (x.shape[1], weight.shape[0], weight.shape[1]);
    let groups = u64::try_from(cx.int("group")?.unwrap_or(1)).unwrap_or(0);
    if groups == 0 || kernels % groups != 0 || ic.checked_mul(groups) != Some(channels) {
        let (x, weight) = (shown(&x.shape), shown(&weight.shape));
        return Err(Refusal::new(format!(
            "has input {x} and weight {weight}, whose channels do not fit {groups} groups"
        )));
    }
    let oc = kernels / groups;
    let window = Window::new(cx, &x.shape[2..], &weight.shape[2..])?;

    let mut nest = Nest::product();
    let batch = nest.dim("batch", x.shape[0], Role::M);
    let g = nest.dim("g", groups, Role::Group);
    let out = nest.dim("oc", oc, Role::N);
    let output = window.output_dims(&mut nest);
    let inner = nest.dim("ic", ic, Role::K);
    let window_dims = window.dims(&mut nest, output)?;

    let in_channel = combine(0, [(&g, signed(ic)?), (&inner, 1)])?;
    let out_channel = combine(0, [(&g, signed(oc)?), (&out, 1)])?;
    nest.read(operands.input, Access([vec![batch.clone(), in_channel], window_dims.input].concat()));
    nest.read(operands.weight, Access([vec![out_channel.clone(), inner], window_dims.kernel].concat()));
    if let Some((input, bias)) = operands.bias.and_then(|input| Some((input, cx.optional(input)?))) {
        if bias.shape != [kernels] {
            return Err(Refusal::new(format!("has bias {} for {kernels} output channels", shown(&bias.shape))));
        }
        nest.read(input, Access(vec![out_channel.clone()]));
    }
    nest.bias = operands.bias.filter(|_| weight.is_constant());
    nest.write = Access([vec![batch, out_channel], window_dims.output].concat());
    let shape = [&[x.shape[0], kernels], &window.output[..]].concat();
    Ok(Lowered::new(vec![Fact::at_run_time(shape, element)], Form::Nest(nest)))
}
