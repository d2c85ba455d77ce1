//! Resize and Upsample: sizes given, or scales of them.

use super::context::{Context, Refusal, axis, shown, signed};
use super::nest::{Nest, Read, Source};
use super::{Form, Lowered, lanes};
use crate::frontend::fact::Fact;
use crate::frontend::view::combine;
use crate::ir::{Access, Role};

/// Upsample: scales, as an input since version 9.
pub(super) fn upsample(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let scales = match (cx.opset < 9, cx.has("scales")) {
        (true, true) => cx.float_list("scales")?.unwrap_or_default().to_vec(),
        (true, false) => {
            let scale = |name| Ok::<_, Refusal>(cx.float(name)?.unwrap_or(1.0));
            vec![1.0, 1.0, scale("height_scale")?, scale("width_scale")?]
        }
        (false, _) => scales(cx, 1)?,
    };
    resized(cx, scaled(x, &(0..x.rank()).collect::<Vec<_>>(), &scales, None)?)
}

/// Upsample in ORT's blocked layout: whole numbers as scales.
pub(super) fn blocked(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let (x, scales) = (cx.input(0)?, cx.int_list("scales")?.unwrap_or_default());
    let scaled = |(&size, &scale): (&u64, &i64)| u64::try_from(scale).ok()?.checked_mul(size);
    let shape: Option<Vec<u64>> = x.shape.iter().zip(scales).map(scaled).collect();
    match shape {
        Some(shape) if scales.len() == x.rank() => resized(cx, shape),
        Some(_) | None => Err(Refusal::new(format!("scales {} by {scales:?}", shown(&x.shape)))),
    }
}

/// Resize: scales or sizes of all axes or, since version 18, of those named.
pub(super) fn resize(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let named = match cx.int_list("axes")? {
        Some(named) => named.iter().map(|&at| axis(at, x.rank())).collect::<Result<Vec<_>, _>>()?,
        None => (0..x.rank()).collect(),
    };
    let has_sizes = cx.optional(3).is_some_and(|sizes| sizes.elements() != Some(0));
    let shape = match (cx.opset < 11, has_sizes) {
        (true, _) => scaled(x, &named, &scales(cx, 1)?, None)?,
        (false, true) => sized(cx, x, &named)?,
        (false, false) => {
            let crops = cx.text("coordinate_transformation_mode")? == Some("tf_crop_and_resize");
            let region = cx.optional(1).and_then(Fact::as_floats).filter(|_| crops);
            scaled(x, &named, &scales(cx, 2)?, region)?
        }
    };
    resized(cx, shape)
}

/// The scales of an input that is known before the model runs.
fn scales(cx: &Context<'_>, index: usize) -> Result<Vec<f32>, Refusal> {
    let known = cx.input(index)?.as_floats();
    let known = known.ok_or_else(|| Refusal::dynamic(format!("needs input {index} before the model runs")))?;
    Ok(known.iter().map(|&scale| scale as f32).collect())
}

/// A size times a scale, rounded down, as ONNX's own shape inference rounds. Of a region only its part.
#[expect(clippy::float_arithmetic, reason = "the operator's own arithmetic, which IEEE 754 says to the last bit")]
fn scaled(x: &Fact, named: &[usize], scales: &[f32], region: Option<&[f64]>) -> Result<Vec<u64>, Refusal> {
    if scales.len() != named.len() {
        return Err(Refusal::new(format!("has {} scales for {} dimensions", scales.len(), named.len())));
    }
    let mut shape = x.shape.clone();
    for (i, (&at, &scale)) in named.iter().zip(scales).enumerate() {
        let part = match region {
            Some(region) => {
                let end =
                    |i: usize| region.get(i).copied().ok_or_else(|| Refusal::new("has a region that is too short"));
                (end(i + named.len())? - end(i)?) as f32
            }
            None => 1.0,
        };
        shape[at] = whole(x.shape[at] as f32 * part * scale)?;
    }
    Ok(shape)
}

/// The sizes given, of which `keep_aspect_ratio_policy` takes the least or the greatest scale for all.
#[expect(clippy::float_arithmetic, reason = "the operator's own arithmetic, which IEEE 754 says to the last bit")]
fn sized(cx: &Context<'_>, x: &Fact, named: &[usize]) -> Result<Vec<u64>, Refusal> {
    let sizes = cx.sizes(3)?;
    if sizes.len() != named.len() {
        return Err(Refusal::new(format!("has {} sizes for {} dimensions", sizes.len(), named.len())));
    }
    let scales = named.iter().zip(&sizes).map(|(&at, &size)| size as f32 / x.shape[at] as f32);
    let common = match cx.text("keep_aspect_ratio_policy")? {
        Some("not_larger") => scales.reduce(f32::min),
        Some("not_smaller") => scales.reduce(f32::max),
        Some(_) | None => None,
    };
    let mut shape = x.shape.clone();
    for (&at, &size) in named.iter().zip(&sizes) {
        shape[at] = match common {
            Some(scale) => whole(x.shape[at] as f32 * scale + 0.5)?,
            None => size,
        };
    }
    Ok(shape)
}

/// A size, rounded down, where it is one.
fn whole(size: f32) -> Result<u64, Refusal> {
    match size {
        0.0..1e15 => Ok(size as u64),
        _ => Err(Refusal::new("has scales that are out of range")),
    }
}

/// Each element of the output from the input's nearest, or from a window of them. Where all sizes are multiples, the
/// input's element is an affine index; elsewhere a tile may need any of them.
fn resized(cx: &Context<'_>, shape: Vec<u64>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let reach = match cx.text("mode")? {
        Some("linear" | "bilinear") => 2,
        Some("cubic") => 4,
        Some(_) | None => 1u64,
    };
    let lanes = if reach == 1 { lanes::MOVE } else { lanes::MULTIPLY_ADD };
    let changed = |(a, b): &(&u64, &u64)| a != b;
    let mut nest = Nest::vector(lanes);
    if shape.iter().zip(&x.shape).all(|(to, &from)| to.checked_rem(from) == Some(0)) {
        let (mut read, mut write) = (Vec::new(), Vec::new());
        for (i, (&to, &from)) in shape.iter().zip(&x.shape).enumerate() {
            let (index, copy) =
                (nest.dim(&format!("d{i}"), from, Role::M), nest.dim(&format!("r{i}"), to / from, Role::M));
            write.push(combine(0, [(&index, signed(to / from)?), (&copy, 1)])?);
            let near = nest.dim(&format!("k{i}"), if to == from { 1 } else { reach }, Role::K);
            let first = if to == from { 0 } else { signed(reach / 2)? };
            read.push(combine(-first, [(&index, 1), (&near, 1)])?);
        }
        nest.read(0, Access(read));
        nest.write = Access(write);
    } else {
        let window = shape.iter().zip(&x.shape).filter(changed).count();
        let window = reach.saturating_pow(u32::try_from(window).unwrap_or(u32::MAX)).min(1 << 10);
        nest.lanes = lanes * window;
        nest.write = nest.axes(&shape, |_| false);
        nest.reads.push(Read { source: Source::Input(0), access: None });
    }
    Ok(Lowered::new(vec![Fact::at_run_time(shape, x.element)], Form::Nest(nest)))
}
