//! Pools: a window that reduces each channel by itself.

use super::context::{Context, Refusal};
use super::nest::Nest;
use super::window::{self, Window};
use super::{Form, Lowered, lanes};
use crate::frontend::fact::{ElementType, Fact};
use crate::ir::{Access, Role};

/// MaxPool, AveragePool, LpPool.
pub(super) fn pool(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let spatial = spatial(cx)?;
    let kernel = cx.int_list("kernel_shape")?.unwrap_or_default();
    let kernel = kernel.iter().map(|&size| u64::try_from(size)).collect::<Result<Vec<_>, _>>();
    match kernel {
        Ok(kernel) if kernel.len() == spatial.len() => lower(cx, &Window::new(cx, spatial, &kernel)?),
        Ok(_) | Err(_) => Err(Refusal::new("has an attribute 'kernel_shape' that does not fit its input")),
    }
}

/// MaxUnpool: each value back to where it was the greatest.
pub(super) fn unpool(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let (x, spatial) = (cx.input(0)?, spatial(cx)?);
    let shape = match cx.optional(2) {
        Some(_) => cx.sizes(2)?,
        None => {
            let kernel = cx.int_list("kernel_shape")?.unwrap_or_default();
            let strides = window::bounded(cx, "strides", spatial.len(), 1)?;
            let pads = window::bounded(cx, "pads", 2 * spatial.len(), 0)?;
            let size = |(i, &size): (usize, &u64)| {
                let span = (i64::try_from(size).ok()? - 1).checked_mul(strides[i])?.checked_add(*kernel.get(i)?)?;
                u64::try_from(span - pads[i] - pads[i + spatial.len()]).ok()
            };
            let signed_size = |pair| size(pair).ok_or_else(|| Refusal::new("has attributes that do not fit its input"));
            let sizes = spatial.iter().enumerate().map(signed_size).collect::<Result<Vec<_>, _>>()?;
            [&x.shape[..2], &sizes[..]].concat()
        }
    };
    Ok(Lowered::by_element(cx, vec![Fact::at_run_time(shape, x.element)], lanes::MOVE))
}

/// GlobalAveragePool, GlobalMaxPool, GlobalLpPool.
pub(super) fn global(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    lower(cx, &Window::whole(spatial(cx)?))
}

fn spatial<'a>(cx: &Context<'a>) -> Result<&'a [u64], Refusal> {
    let shape = &cx.input(0)?.shape;
    shape.get(2..).ok_or_else(|| Refusal::new("needs an input of rank 3 or more"))
}

fn lower(cx: &Context<'_>, window: &Window) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let mut nest = Nest::vector(match cx.op() {
        "MaxPool" | "GlobalMaxPool" => lanes::MAX_POOL,
        "LpPool" | "GlobalLpPool" => lanes::MULTIPLY_ADD,
        _ => lanes::REDUCE,
    });
    let batch = nest.dim("batch", x.shape[0], Role::M);
    let channel = nest.dim("c", x.shape[1], Role::M);
    let output = window.output_dims(&mut nest);
    let dims = window.dims(&mut nest, output)?;
    nest.read(0, Access([vec![batch.clone(), channel.clone()], dims.input].concat()));
    nest.write = Access([vec![batch, channel], dims.output].concat());
    let shape = [&x.shape[..2], &window.output[..]].concat();
    // MaxPool's second output says where each maximum was.
    let indices = Fact::at_run_time(shape.clone(), ElementType::Int(64));
    let outputs = vec![Fact::at_run_time(shape, x.element), indices];
    Ok(Lowered::new(outputs.into_iter().take(cx.output_count()).collect(), Form::Nest(nest)))
}
