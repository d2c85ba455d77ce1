//! Operators on images: padding, tiling, resizing, blocks of pixels as channels, sampling on a grid.

use super::context::{Context, Refusal, axis, product, shown, signed};
use super::nest::{Nest, Read, Source};
use super::{Form, Lowered, View, lanes};
use crate::frontend::fact::Fact;
use crate::frontend::view::combine;
use crate::ir::{Access, Role};

/// Pad: what is read outside of the input is padding; negative pads cut off. Since version 11 the pads are an input, as
/// they are of ORT's own Pad; since 18 the axes too.
pub(super) fn pad(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let pads = match (cx.int_list("pads")?, cx.int_list("paddings")?) {
        (Some(pads), _) | (None, Some(pads)) => pads,
        (None, None) => cx.ints(1)?,
    };
    let named = match cx.optional_ints(3)? {
        Some(named) => named.iter().map(|&at| axis(at, x.rank())).collect::<Result<_, _>>()?,
        None => (0..x.rank()).collect::<Vec<_>>(),
    };
    if pads.len() != 2 * named.len() {
        return Err(Refusal::new(format!("has {} pads for {} dimensions", pads.len(), named.len())));
    }
    let (mut shape, mut first) = (x.shape.clone(), vec![0; x.rank()]);
    for (i, &at) in named.iter().enumerate() {
        let (before, after) = (pads[i], pads[i + named.len()]);
        let size = signed(shape[at])?.checked_add(before).and_then(|size| size.checked_add(after));
        let size = size.and_then(|size| u64::try_from(size).ok());
        shape[at] = size.ok_or_else(|| Refusal::new(format!("has pads {pads:?} around {}", shown(&x.shape))))?;
        first[at] = before;
    }
    let is_constant = matches!(cx.text("mode")?, None | Some("constant" | ""));
    framed(x, shape, &first, is_constant)
}

/// CenterCropPad: padded or cut off at both ends alike.
pub(super) fn center_crop_pad(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let sizes = cx.sizes(1)?;
    let named = match cx.int_list("axes")? {
        Some(named) => named.iter().map(|&at| axis(at, x.rank())).collect::<Result<_, _>>()?,
        None => (0..x.rank()).collect::<Vec<_>>(),
    };
    if sizes.len() != named.len() {
        return Err(Refusal::new(format!("has {} sizes for {} dimensions", sizes.len(), named.len())));
    }
    let (mut shape, mut first) = (x.shape.clone(), vec![0; x.rank()]);
    for (&at, size) in named.iter().zip(sizes) {
        first[at] = (signed(size)? - signed(shape[at])?) / 2;
        shape[at] = size;
    }
    framed(x, shape, &first, true)
}

/// Tile: the input many times side by side.
pub(super) fn tile(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let repeats = match (cx.opset < 6, cx.optional(2)) {
        (true, Some(_)) => {
            let mut repeats = vec![1; x.rank()];
            repeats[axis(cx.ints(2)?.first().copied().unwrap_or(0), x.rank())?] = product(&cx.sizes(1)?)?;
            repeats
        }
        (_, _) => cx.sizes(1)?,
    };
    if repeats.len() != x.rank() {
        return Err(Refusal::new(format!("repeats {} along {} dimensions", shown(&x.shape), repeats.len())));
    }
    let mut nest = Nest::vector(lanes::MOVE);
    let (mut shape, mut read, mut write) = (Vec::new(), Vec::new(), Vec::new());
    for (i, (&size, &count)) in x.shape.iter().zip(&repeats).enumerate() {
        let (copy, inner) = (nest.dim(&format!("r{i}"), count, Role::M), nest.dim(&format!("d{i}"), size, Role::M));
        write.push(combine(0, [(&copy, signed(size)?), (&inner, 1)])?);
        read.push(inner);
        shape.push(size.checked_mul(count).ok_or_else(|| Refusal::new("has sizes that are out of range"))?);
    }
    nest.read(0, Access(read));
    nest.write = Access(write);
    Ok(Lowered::new(vec![Fact::at_run_time(shape, x.element)], Form::Nest(nest)))
}

/// DepthToSpace: blocks of channels become blocks of pixels.
pub(super) fn depth_to_space(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let (x, block) = (cx.input(0)?, cx.needed_size("blocksize")?);
    let &[batch, channels, height, width] = &x.shape[..] else { return Err(Refusal::new("needs an image")) };
    let area = block.checked_mul(block).filter(|&area| area > 0 && channels % area == 0);
    let depth =
        channels / area.ok_or_else(|| Refusal::new(format!("has {channels} channels in blocks of {block}²")))?;
    let blocks = Blocks::new([batch, depth, height, width], block)?;
    let is_crd = cx.text("mode")? == Some("CRD");
    let fact = Fact::at_run_time(vec![batch, depth, blocks.rows, blocks.columns], x.element);
    Ok(blocks.lower(fact, is_crd, true))
}

/// SpaceToDepth: blocks of pixels become blocks of channels.
pub(super) fn space_to_depth(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let (x, block) = (cx.input(0)?, cx.needed_size("blocksize")?);
    let &[batch, depth, height, width] = &x.shape[..] else { return Err(Refusal::new("needs an image")) };
    let (Some(0), Some(0)) = (height.checked_rem(block), width.checked_rem(block)) else {
        return Err(Refusal::new(format!("has an image {} in blocks of {block}²", shown(&x.shape))));
    };
    let blocks = Blocks::new([batch, depth, height / block, width / block], block)?;
    let channels = block.checked_mul(block).and_then(|area| area.checked_mul(depth));
    let channels = channels.ok_or_else(|| Refusal::new("has sizes that are out of range"))?;
    let fact = Fact::at_run_time(vec![batch, channels, height / block, width / block], x.element);
    Ok(blocks.lower(fact, false, false))
}

/// Each pixel's place as a channel of a coarse image and as a pixel of a fine one.
struct Blocks {
    nest: Nest,
    coarse: [Access; 2],
    fine: Access,
    rows: u64,
    columns: u64,
}

impl Blocks {
    fn new([batch, depth, height, width]: [u64; 4], block: u64) -> Result<Self, Refusal> {
        let mut nest = Nest::vector(lanes::MOVE);
        let mut dim = |name: &str, size| nest.dim(name, size, Role::M);
        let (n, c, h, w) = (dim("batch", batch), dim("c", depth), dim("h", height), dim("w", width));
        let (row, column) = (dim("bh", block), dim("bw", block));
        let side = signed(block)?;
        let square = side.checked_mul(side).ok_or_else(|| Refusal::new("has blocks that are out of range"))?;
        let by_depth = signed(depth)?;
        let below = by_depth.checked_mul(side).ok_or_else(|| Refusal::new("has sizes that are out of range"))?;
        // Which of the three lies outermost among the channels.
        let depth_last = combine(0, [(&row, below), (&column, by_depth), (&c, 1)])?;
        let depth_first = combine(0, [(&c, square), (&row, side), (&column, 1)])?;
        let coarse = [depth_last, depth_first].map(|channel| Access(vec![n.clone(), channel, h.clone(), w.clone()]));
        let fine = Access(vec![n, c, combine(0, [(&h, side), (&row, 1)])?, combine(0, [(&w, side), (&column, 1)])?]);
        let size = |size: u64| size.checked_mul(block).ok_or_else(|| Refusal::new("has sizes that are out of range"));
        Ok(Self { nest, coarse, fine, rows: size(height)?, columns: size(width)? })
    }

    fn lower(self, fact: Fact, is_depth_first: bool, to_fine: bool) -> Lowered {
        let Self { mut nest, coarse: [depth_last, depth_first], fine, rows: _, columns: _ } = self;
        let coarse = if is_depth_first { depth_first } else { depth_last };
        let (read, write) = if to_fine { (coarse, fine) } else { (fine, coarse) };
        nest.read(0, read);
        nest.write = write;
        Lowered::new(vec![fact], Form::Nest(nest))
    }
}

/// GridSample: an output pixel for each point of the grid, blended from its neighbours.
pub(super) fn grid_sample(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let (x, grid) = (cx.input(0)?, cx.input(1)?);
    if x.rank() < 3 || grid.rank() != x.rank() {
        let (x, grid) = (shown(&x.shape), shown(&grid.shape));
        return Err(Refusal::new(format!("has input {x} and grid {grid}, which do not fit")));
    }
    let shape = [&x.shape[..2], &grid.shape[1..grid.rank() - 1]].concat();
    let neighbours = match cx.text("mode")? {
        Some("nearest") => 1,
        Some("cubic" | "bicubic") => 4,
        Some(_) | None => 2u64,
    };
    let blended = neighbours.saturating_pow(u32::try_from(x.rank() - 2).unwrap_or(u32::MAX)).min(1 << 10);
    let outputs = vec![Fact::at_run_time(shape, x.element)];
    Ok(Lowered::by_element(cx, outputs, lanes::MULTIPLY_ADD * blended))
}

/// AffineGrid: the coordinates of each pixel, turned and moved.
pub(super) fn affine_grid(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let theta = cx.input(0)?;
    let sizes = cx.sizes(1)?;
    let Some((&batch, spatial)) = sizes.split_first().filter(|(_, rest)| rest.len() >= 3) else {
        return Err(Refusal::new("needs the four or five sizes of an image"));
    };
    let spatial = &spatial[1..];
    let shape = [&[batch], spatial, &[spatial.len() as u64]].concat();
    let lanes = lanes::MULTIPLY_ADD * spatial.len() as u64;
    Ok(Lowered::by_element(cx, vec![Fact::at_run_time(shape, theta.element)], lanes))
}

/// ImageDecoder: only the file knows how large its picture is.
pub(super) fn decode(_: &Context<'_>) -> Result<Lowered, Refusal> {
    Err(Refusal::mended(
        "decodes an image file, whose size only the file says",
        "decode images before the model, and take the node out",
    ))
}

/// The input in a frame: an index of the output is `first` more than the input's. No work where nothing is padded.
fn framed(x: &Fact, shape: Vec<u64>, first: &[i64], is_constant: bool) -> Result<Lowered, Refusal> {
    if shape == x.shape && first.iter().all(|&first| first == 0) {
        let same = Form::Views(vec![View::same(x.rank())]);
        return Ok(Lowered::new(vec![x.clone()], same));
    }
    let mut nest = Nest::vector(lanes::MOVE);
    nest.write = nest.axes(&shape, |_| false);
    let shifted = nest.write.0.iter().zip(first).map(|(index, &first)| combine(first.saturating_neg(), [(index, 1)]));
    let shifted = Access(shifted.collect::<Result<_, _>>()?);
    // Reflected and repeated edges come from within.
    nest.reads.push(Read { source: Source::Input(0), access: is_constant.then_some(shifted) });
    Ok(Lowered::new(vec![Fact::at_run_time(shape, x.element)], Form::Nest(nest)))
}
