//! Pools: a window that reduces each channel by itself.

use super::context::{Context, Refusal};
use super::nest::Nest;
use super::window::Window;
use super::{Form, Lowered, lanes};
use crate::frontend::fact::{ElementType, Fact};
use crate::ir::{Access, Role};

/// MaxPool, AveragePool.
pub(super) fn pool(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let spatial = spatial(cx)?;
    let kernel = cx.int_list("kernel_shape")?.unwrap_or_default();
    let kernel = kernel.iter().map(|&size| u64::try_from(size)).collect::<Result<Vec<_>, _>>();
    match kernel {
        Ok(kernel) if kernel.len() == spatial.len() => lower(cx, &Window::new(cx, spatial, &kernel)?),
        Ok(_) | Err(_) => Err(Refusal::new("has an attribute 'kernel_shape' that does not fit its input")),
    }
}

/// GlobalAveragePool, GlobalMaxPool.
pub(super) fn global(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    lower(cx, &Window::whole(spatial(cx)?))
}

fn spatial<'a>(cx: &Context<'a>) -> Result<&'a [u64], Refusal> {
    let shape = &cx.input(0)?.shape;
    shape.get(2..).ok_or_else(|| Refusal::new("needs an input of rank 3 or more"))
}

fn lower(cx: &Context<'_>, window: &Window) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let is_max = cx.op().ends_with("MaxPool");
    let mut nest = Nest::vector(if is_max { lanes::MAX_POOL } else { lanes::REDUCE });
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
