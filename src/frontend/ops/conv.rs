//! Convolutions.

use super::context::{Context, Refusal, shown, signed};
use super::nest::Nest;
use super::window::Window;
use super::{Form, Lowered};
use crate::frontend::fact::Fact;
use crate::frontend::view::combine;
use crate::ir::{Access, Role};

/// Conv: input `[batch, g·ic, …]`, weight `[g·oc, ic, k…]`, output `[batch, g·oc, o…]`.
pub(super) fn conv(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let (x, weight) = (cx.input(0)?, cx.input(1)?);
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
    nest.read(0, Access([vec![batch.clone(), in_channel], window_dims.input].concat()));
    nest.read(1, Access([vec![out_channel.clone(), inner], window_dims.kernel].concat()));
    if let Some(bias) = cx.optional(2) {
        if bias.shape != [kernels] {
            return Err(Refusal::new(format!("has bias {} for {kernels} output channels", shown(&bias.shape))));
        }
        nest.read(2, Access(vec![out_channel.clone()]));
    }
    nest.bias = weight.is_constant().then_some(2);
    nest.write = Access([vec![batch, out_channel], window_dims.output].concat());
    let shape = [&[x.shape[0], kernels], &window.output[..]].concat();
    Ok(Lowered::new(vec![Fact::at_run_time(shape, x.element)], Form::Nest(nest)))
}
