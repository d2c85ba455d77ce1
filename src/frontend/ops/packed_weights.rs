//! Weights of a few bits that the file stores packed into bytes, often with a scale for each block of them.

use super::body::{Body, Wire, int};
use super::context::{Context, Refusal, product, shown, signed};
use super::nest::{Nest, Read, Source};
use super::{Form, Lowered, lanes};
use crate::frontend::fact::{ElementType, Fact};
use crate::frontend::view::combine;
use crate::ir::{Access, Affine, Role};

/// MatMulNBits: a weight of a few bits in blocks along `k`, each with a scale. Its bytes hold whole elements, so that a
/// box of iterations touches a box of them.
pub(super) fn matmul_bits(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let (a, b) = (cx.input(0)?, cx.input(1)?);
    let (k, n) = (cx.needed_size("K")?, cx.needed_size("N")?);
    let (bits, block) = (cx.size("bits", 4)?, cx.needed_size("block_size")?);
    let misfit = || misfit(cx, &format!("{n} columns of {k} elements of {bits} bits"));
    let in_byte = 8u64.checked_div(bits).filter(|in_byte| in_byte * bits == 8).ok_or_else(misfit)?;
    let bytes = block.checked_div(in_byte).filter(|bytes| bytes * in_byte == block && block > 0).ok_or_else(misfit)?;
    let blocks = k.div_ceil(block);
    let Some((&last, outer)) = a.shape.split_last() else { return Err(misfit()) };
    if last != k || b.shape.first() != Some(&n) || b.elements() != product(&[n, blocks, bytes]).ok() {
        return Err(misfit());
    }
    let mut nest = Nest::product();
    let mut rows = Vec::new();
    for (i, &size) in outer.iter().enumerate() {
        rows.push(nest.dim(&if i + 1 == outer.len() { "m".to_owned() } else { format!("batch{i}") }, size, Role::M));
    }
    let column = nest.kept("n", n, Role::N);
    // Zero points are packed like elements, several blocks to a byte.
    let is_packed = cx.optional(3).is_some_and(|zeros| zeros.element == ElementType::Int(8));
    let shared = if is_packed && blocks.is_multiple_of(in_byte) { in_byte } else { 1 };
    let of_zeros = nest.dim(if shared == 1 { "block" } else { "blocks" }, blocks / shared, Role::K);
    let group = match shared {
        1 => of_zeros.clone(),
        _ => combine(0, [(&of_zeros, signed(shared)?), (&nest.dim("block", shared, Role::K), 1)])?,
    };
    let byte = nest.dim("byte", bytes, Role::K);
    let part = nest.dim("part", in_byte, Role::K);
    let inner = combine(0, [(&group, signed(block)?), (&byte, signed(in_byte)?), (&part, 1)])?;
    nest.read(0, Access([rows.clone(), vec![inner]].concat()));
    let packed = Access(vec![column.clone(), group.clone(), byte]);
    nest.reads.push(Read { source: Source::Input(1), access: (b.rank() == 3).then_some(packed) });
    let in_column = |parameter: &Fact, count: u64, index: Affine| match parameter.rank() {
        1 => {
            combine(0, [(&column, signed(count)?), (&index, 1)]).map(|index| Access(vec![index])).map_err(Refusal::from)
        }
        _ => Ok(Access(vec![column.clone(), index])),
    };
    nest.read(2, in_column(cx.input(2)?, blocks, group)?);
    if let Some(zeros) = cx.optional(3) {
        let access = in_column(zeros, blocks / shared, of_zeros)?;
        let is_whole = is_packed && shared != in_byte;
        nest.reads.push(Read { source: Source::Input(3), access: (!is_whole).then_some(access) });
    }
    nest.reads.push(Read { source: Source::Input(4), access: None });
    nest.read(5, Access(vec![column.clone()]));
    nest.write = Access([rows, vec![column]].concat());
    let shape = [outer, &[n]].concat();
    Ok(Lowered::new(vec![Fact::at_run_time(shape, a.element)], Form::Nest(nest)))
}

/// MatMulBnb4: a weight of 4 bits, flat, with a scale for each block of elements behind each other.
pub(super) fn matmul_bnb4(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let (k, n) = (cx.needed_size("K")?, cx.needed_size("N")?);
    let misfit = || misfit(cx, &format!("{n} columns of {k} elements of 4 bits"));
    if cx.input(1)?.elements() != Some(product(&[n, k])?.div_ceil(2)) {
        return Err(misfit());
    }
    let mut body = Body::new(cx.input_count());
    let weight = body.unpacked("B", &[n, k], 22);
    let block = cx.needed_size("block_size")?;
    // Blocks that do not end where a row does have no index: their scales are left out.
    let blocks = k.checked_div(block).filter(|blocks| blocks * block == k && *blocks > 1);
    let scales = match blocks {
        Some(blocks) => body.reshape(&Body::input(2), &[n, blocks]),
        None => body.number(),
    };
    let weight = body.dequantized(&weight, &scales, 1, block);
    let is_turned = cx.flag("transB", true)?;
    let (from, to) = if is_turned { (k, n) } else { (n, k) };
    multiplied(cx, body, &weight, is_turned, (from, to), None).ok_or_else(misfit)
}

/// MatMulBlockQuantizedFp8Weight: a scale for each block of a row.
pub(super) fn matmul_float8(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let &[n, k] = &cx.input(1)?.shape[..] else { return Err(misfit(cx, "a matrix")) };
    let mut body = Body::new(cx.input_count());
    let weight = body.dequantized(&Body::input(1), &Body::input(2), 1, cx.size("block_size", 128)?);
    multiplied(cx, body, &weight, true, (k, n), Some(4))
        .ok_or_else(|| misfit(cx, &format!("{n} columns of {k} elements")))
}

/// MatMulBlockQuantizedFp4Weight: the same, two elements to a byte.
pub(super) fn matmul_float4(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let &[n, bytes] = &cx.input(1)?.shape[..] else { return Err(misfit(cx, "a matrix")) };
    let k = product(&[bytes, 2])?;
    let mut body = Body::new(cx.input_count());
    let weight = body.unpacked("B", &[n, k], 23);
    let weight = body.dequantized(&weight, &Body::input(2), 1, cx.size("block_size", 16)?);
    multiplied(cx, body, &weight, true, (k, n), Some(5))
        .ok_or_else(|| misfit(cx, &format!("{n} columns of {k} elements")))
}

/// The first input by a weight, and a bias where there is one.
fn multiplied(
    cx: &Context<'_>,
    mut body: Body,
    weight: &Wire,
    is_turned: bool,
    (from, to): (u64, u64),
    bias: Option<usize>,
) -> Option<Lowered> {
    let x = cx.optional(0)?;
    let (_, outer) = x.shape.split_last().filter(|&(&last, _)| last == from)?;
    let weight = if is_turned { body.transpose(weight, &[1, 0]) } else { weight.clone() };
    let mut y = body.node("MatMul", &[&Body::input(0), &weight], Vec::new());
    if let Some(bias) = bias.filter(|&bias| cx.optional(bias).is_some()) {
        y = body.node("Add", &[&y, &Body::input(bias)], Vec::new());
    }
    body.output(&y);
    let fact = Fact::at_run_time([outer, &[to]].concat(), x.element);
    Some(Lowered::by_element(cx, vec![fact], lanes::MOVE).within(body))
}

/// MatMulNBitsMlp: normalised, multiplied by two weights, of which one is the other's gate.
pub(super) fn mlp(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let width = cx.needed_size("N")?;
    let mut body = Body::new(cx.input_count());
    let (x, sum) = normalized(cx, &mut body);
    let [gate, up] = [3, 6].map(|weight| projection(cx, &mut body, &x, weight, width));
    let (gate, up) = (gate?, up?);
    let y = body.node("SwiGLU", &[&gate, &up], Vec::new());
    whole(cx, body, &[(y, width)], sum)
}

/// MatMulNBitsQkv: normalised, multiplied by the weights that make queries, keys and values.
pub(super) fn qkv(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let (queries, keys) = (cx.needed_size("Nq")?, cx.needed_size("Nkv")?);
    let mut body = Body::new(cx.input_count());
    let (x, sum) = normalized(cx, &mut body);
    let mut made = Vec::new();
    for (weight, width) in [(3, queries), (6, keys), (9, keys)] {
        made.push((projection(cx, &mut body, &x, weight, width)?, width));
    }
    whole(cx, body, &made, sum)
}

/// The first input with what skips added, normalised by the third; and the sum.
fn normalized(cx: &Context<'_>, body: &mut Body) -> (Wire, Wire) {
    let sum = match cx.optional(1) {
        Some(_) => body.node("Add", &[&Body::input(0), &Body::input(1)], Vec::new()),
        None => Body::input(0),
    };
    match cx.optional(2) {
        Some(_) => (body.node("SimplifiedLayerNormalization", &[&sum, &Body::input(2)], Vec::new()), sum),
        None => (sum.clone(), sum),
    }
}

/// A product by a weight of a few bits; its scales and its bias are the inputs behind it.
fn projection(cx: &Context<'_>, body: &mut Body, x: &Wire, weight: usize, width: u64) -> Result<Wire, Refusal> {
    let attributes = vec![
        int("K", signed(cx.needed_size("K")?)?),
        int("N", signed(width)?),
        int("bits", signed(cx.size("bits", 4)?)?),
        int("block_size", signed(cx.needed_size("block_size")?)?),
    ];
    let bias = cx.optional(weight + 2).map_or_else(Body::absent, |_| Body::input(weight + 2));
    let inputs = [x, &Body::input(weight), &Body::input(weight + 1), &Body::absent(), &Body::absent(), &bias];
    let [y] = body.nodes("com.microsoft", "MatMulNBits", &inputs, attributes);
    Ok(y)
}

/// Hands out what was made of each row of the first input, and behind it the sum of what came in.
fn whole(cx: &Context<'_>, mut body: Body, made: &[(Wire, u64)], sum: Wire) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let (_, outer) = x.shape.split_last().ok_or_else(|| misfit(cx, "a matrix"))?;
    let mut outputs: Vec<_> =
        made.iter().map(|&(_, width)| Fact::at_run_time([outer, &[width]].concat(), x.element)).collect();
    outputs.push(Fact::at_run_time(x.shape.clone(), x.element));
    made.iter().map(|(wire, _)| wire).chain([&sum]).take(cx.output_count()).for_each(|wire| body.output(wire));
    Ok(Lowered::by_element(cx, outputs, lanes::MOVE).within(body))
}

fn misfit(cx: &Context<'_>, what: &str) -> Refusal {
    let shapes = [0, 1].into_iter().filter_map(|input| Some(shown(&cx.optional(input)?.shape)));
    Refusal::new(format!("has inputs {}, which do not fit {what}", shapes.collect::<Vec<_>>().join(" and ")))
}

/// GatherBlockQuantized: rows of a table of a few bits, each block of a row with a scale; a byte may hold several elements.
pub(super) fn gather(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let (data, indices, scales) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    if cx.int("gather_axis")?.unwrap_or(0) != 0 {
        return Err(Refusal::dynamic("gathers along another axis than the first"));
    }
    let misfit = || misfit(cx, &format!("scales {}", shown(&scales.shape)));
    let bits = data.element.bits(None).ok_or_else(misfit)?;
    let in_byte =
        if bits == 8 && matches!(data.element, ElementType::Int(_)) { 8 / cx.size("bits", 4)?.clamp(1, 8) } else { 1 };
    let (Some((_, row)), Some((_, row_scales))) = (data.shape.split_first(), scales.shape.split_first()) else {
        return Err(misfit());
    };
    let (Some((&bytes, outer)), Some(&blocks)) = (row.split_last(), row_scales.last()) else { return Err(misfit()) };
    let block = bytes.checked_div(blocks).filter(|block| block * blocks == bytes);
    let count = indices.elements().ok_or_else(misfit)?;

    let mut nest = Nest::vector(lanes::of(cx.op()));
    let chosen = nest.axes(&indices.shape, |_| false);
    let mut at = count;
    let mut places = Vec::new();
    for (index, &size) in chosen.0.iter().zip(&indices.shape) {
        at = at.checked_div(size).unwrap_or(0);
        places.push((index, signed(at)?));
    }
    let place = combine(0, places)?;
    let middle: Vec<_> = outer.iter().enumerate().map(|(i, &size)| nest.dim(&format!("d{i}"), size, Role::M)).collect();
    let (group, within) = (block.map_or(1, |_| blocks), block.unwrap_or(bytes));
    let group = nest.dim("block", group, Role::M);
    let byte = nest.dim("byte", within, Role::M);
    let part = nest.dim("part", in_byte, Role::M);
    let stored = combine(0, [(&group, signed(within)?), (&byte, 1)])?;
    let whole = combine(0, [(&stored, signed(in_byte)?), (&part, 1)])?;
    let behind = |last| Access([vec![place.clone()], middle.clone(), vec![last]].concat());
    nest.reads.push(picked(0, count, row, Some(behind(stored))));
    nest.read(1, chosen.clone());
    nest.reads.push(picked(2, count, row_scales, block.map(|_| behind(group))));
    if let Some(zeros) = cx.optional(3).and_then(|zeros| zeros.shape.get(1..)) {
        nest.reads.push(picked(3, count, zeros, None));
    }
    nest.write = Access([chosen.0, middle, vec![whole]].concat());
    let shape = [&indices.shape[..], outer, &[product(&[bytes, in_byte])?]].concat();
    let what = format!("which rows is known only at run time; costed as one load of its {count} rows");
    Ok(Lowered::new(vec![Fact::at_run_time(shape, scales.element)], Form::Nest(nest)).warned(what))
}

/// So many rows of a table.
fn picked(table: usize, count: u64, row: &[u64], access: Option<Access>) -> Read {
    Read { source: Source::Rows { table, shape: [&[count], row].concat() }, access }
}
