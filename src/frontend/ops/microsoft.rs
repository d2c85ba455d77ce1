//! Operators that ONNX Runtime's optimizers and quantizers write, in the domain com.microsoft.

use super::body::Body;
use super::context::{Context, Refusal, product, shown, signed};
use super::nest::{Nest, Read, Source};
use super::{Form, Lowered, View, lanes};
use crate::frontend::fact::{ElementType, Fact};
use crate::frontend::view::{self, combine, compose};
use crate::ir::Access;

/// SkipLayerNormalization and its simplified form: the sum of two inputs (and a bias), normalised over the last axis.
pub(super) fn skip_normalization(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let last = x.rank().checked_sub(1).ok_or_else(|| Refusal::new("needs an input with a last axis"))?;
    // What is added costs as much as a scale.
    let others = (1..cx.input_count()).filter(|&input| cx.optional(input).is_some()).count();
    let mut nest = Nest::vector(lanes::normalization(cx.op(), others as u64));
    let access = nest.axes(&x.shape, |i| i == last);
    nest.read(0, access.clone());
    for input in 1..cx.input_count() {
        let Some(fact) = cx.optional(input) else { continue };
        if super::pointwise::broadcast_shapes(&[&fact.shape, &x.shape]).as_ref() != Some(&x.shape) {
            let (other, x) = (shown(&fact.shape), shown(&x.shape));
            return Err(Refusal::new(format!("has input {other}, which does not broadcast to {x}")));
        }
        nest.read(input, compose(&view::broadcast(&fact.shape, &x.shape), &access)?);
    }
    nest.write = access;
    let statistics: Vec<u64> = x.shape[..last].iter().copied().chain([1]).collect();
    let statistics = Fact::at_run_time(statistics, ElementType::Float(32));
    let whole = Fact::at_run_time(x.shape.clone(), x.element);
    Ok(Lowered::new(vec![whole.clone(), statistics.clone(), statistics, whole], Form::Nest(nest)))
}

/// EmbedLayerNormalization: rows of up to three tables, added up and normalised.
pub(super) fn embed_normalization(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let (ids, table) = (cx.input(0)?, cx.input(2)?);
    let (&[batch, length], &[_, width]) = (&ids.shape[..], &table.shape[..]) else {
        let (ids, table) = (shown(&ids.shape), shown(&table.shape));
        return Err(Refusal::new(format!("has ids {ids} and table {table}, which do not fit")));
    };
    let mut nest = Nest::vector(lanes::normalization(cx.op(), 2) + 2);
    let shape = vec![batch, length, width];
    nest.write = nest.axes(&shape, |i| i == 2);
    let row = combine(0, [(&nest.write.0[0], signed(length)?), (&nest.write.0[1], 1)])?;
    let rows = vec![product(&[batch, length])?, width];
    let picked = Access(vec![row, nest.write.0[2].clone()]);
    for table in [2, 3, 4].into_iter().filter(|&table| cx.optional(table).is_some()) {
        let source = Source::Rows { table, shape: rows.clone() };
        nest.reads.push(Read { source, access: Some(picked.clone()) });
    }
    for parameter in [5, 6] {
        nest.read(parameter, Access(vec![nest.write.0[2].clone()]));
    }
    nest.reads.extend([0, 1].map(|input| Read { source: Source::Input(input), access: None }));
    // Of QEmbedLayerNormalization the tables are quantised.
    let element = if matches!(table.element, ElementType::Int(_)) { ElementType::Float(32) } else { table.element };
    let whole = Fact::at_run_time(shape, element);
    let mask = Fact::at_run_time(vec![batch], ElementType::Int(32));
    let warning = "which rows is known only at run time; costed as one load of as many rows as there are ids";
    Ok(Lowered::new(vec![whole.clone(), mask, whole], Form::Nest(nest)).warned(warning))
}

/// BiasSplitGelu: to the last axis a bias is added, and its first half multiplied by the GELU of its second.
pub(super) fn split_gelu(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let (x, bias) = (cx.input(0)?, cx.input(1)?);
    let halves = x.shape.split_last().filter(|(last, _)| last.is_multiple_of(2) && bias.shape == [**last]);
    let Some((&width, outer)) = halves else {
        let (x, bias) = (shown(&x.shape), shown(&bias.shape));
        return Err(Refusal::new(format!("has input {x} and bias {bias}, which do not fit")));
    };
    let shape = [outer, &[width / 2]].concat();
    let mut nest = Nest::vector(lanes::of(cx.op()));
    nest.write = nest.axes(&shape, |_| false);
    let first = nest.write.clone();
    let second = compose(&super::shifted(shape.len(), outer.len(), signed(width / 2)?), &first)?;
    for half in [first, second] {
        nest.read(1, Access(half.0[outer.len()..].to_vec()));
        nest.read(0, half);
    }
    Ok(Lowered::new(vec![Fact::at_run_time(shape, x.element)], Form::Nest(nest)))
}

/// QLinearConcat: a scale and a zero point behind each input, and before them all the output's. Dequantised, put together
/// and quantised again, so that it is what pairs around a Concat are.
pub(super) fn quantized_concat(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let first = cx.input(2)?;
    let at = super::context::axis(cx.int("axis")?.unwrap_or(0), first.rank())?;
    let mut shape = first.shape.clone();
    shape[at] = 0;
    let mut body = Body::new(cx.input_count());
    let mut parts = Vec::new();
    for input in (2..cx.input_count()).step_by(3) {
        let part = cx.input(input)?.shape.get(at).copied().unwrap_or(0);
        shape[at] = shape[at].checked_add(part).ok_or_else(|| Refusal::new("has sizes that are out of range"))?;
        let operands = [input, input + 1, input + 2].map(Body::input);
        parts.push(body.node("DequantizeLinear", &operands.each_ref(), Vec::new()));
    }
    let whole = body.concat(&parts.iter().collect::<Vec<_>>(), signed(at as u64)?);
    let narrow = body.node("QuantizeLinear", &[&whole, &Body::input(0), &Body::input(1)], Vec::new());
    body.output(&narrow);
    let outputs = vec![Fact::at_run_time(shape, first.element)];
    Ok(Lowered::by_element(cx, outputs, lanes::QUANTIZE).within(body))
}

/// ReorderInput and ReorderOutput, to blocks of channels and back. Blocks are a layout in memory, of which an index knows
/// nothing: what is left are channels that come last outside of the blocks, and those that only fill up a block.
pub(super) fn reorder(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    if x.rank() < 2 {
        return Err(Refusal::new(format!("has input {}, which has no channels", shown(&x.shape))));
    }
    let mut order: Vec<usize> = (0..x.rank()).collect();
    match (cx.flag("channels_last", false)?, cx.op()) {
        (false, _) => {}
        (true, "ReorderInput") => order[1..].rotate_right(1),
        (true, _) => order[1..].rotate_left(1),
    }
    let whole: Vec<u64> = order.iter().map(|&axis| x.shape[axis]).collect();
    let kept = |&axis: &usize| match axis {
        1 if cx.has("channels") => cx.size("channels", 0),
        _ => Ok(x.shape[axis]),
    };
    let shape = order.iter().map(kept).collect::<Result<Vec<_>, _>>()?;
    if shape.iter().zip(&whole).any(|(kept, all)| kept > all) {
        return Err(Refusal::new(format!("takes {} out of {}", shown(&shape), shown(&whole))));
    }
    let write = (shape == whole).then(|| view::transpose_back(&order));
    let view = View { read: Some(view::transpose(&order)), write };
    Ok(Lowered::new(vec![Fact::at_run_time(shape, x.element)], Form::Views(vec![view])))
}

/// A scale and a zero point behind each of two operands: QLinearAdd, QLinearMul.
pub(super) fn quantized_arithmetic(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    super::pointwise::of(cx, &[0, 3])
}

/// A matrix product with a bias, each operand with a scale and a zero point.
pub(super) fn quantized_gemm(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let element = cx.optional(8).map_or(ElementType::Float(32), |zero| zero.element);
    super::matmul::general(cx, [0, 3, 6], element)
}

/// QLinearWhere: a condition, and two choices with a scale and a zero point each.
pub(super) fn quantized_choose(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let mut lowered = super::pointwise::of(cx, &[0, 1, 4])?;
    let element = cx.input(1)?.element;
    lowered.outputs.iter_mut().for_each(|fact| fact.element = element);
    Ok(lowered)
}

/// MatMulIntegerToFloat: whole numbers in, floats out.
pub(super) fn matmul_to_float(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    biased(cx, 6, ElementType::Float(32))
}

/// DynamicQuantizeMatMul: floats are quantised on the way in.
pub(super) fn dynamic_matmul(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    biased(cx, 4, ElementType::Float(32))
}

/// GemmFastGelu: the GELU is free behind the product.
pub(super) fn matmul_gelu(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    biased(cx, 2, cx.input(0)?.element)
}

/// GemmFloat8: whatever the operands, the result is of the type that is asked for.
pub(super) fn gemm_float8(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    super::matmul::general(cx, [0, 1, 2], cx.element_or("dtype", ElementType::Float(32))?)
}

/// RelativePositionBias: a bias for each head, query and key, out of a table of distances.
pub(super) fn position_bias(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let table = cx.input(0)?;
    let &[_, heads] = &table.shape[..] else {
        return Err(Refusal::new(format!("has a table {}; only two dimensions are known", shown(&table.shape))));
    };
    let (queries, keys) = (cx.sizes(1)?, cx.sizes(2)?);
    let (&[queries], &[keys]) = (&queries[..], &keys[..]) else {
        return Err(Refusal::new("has lengths that are not one number each"));
    };
    let fact = Fact::at_run_time(vec![1, heads, queries, keys], table.element);
    Ok(Lowered::by_element(cx, vec![fact], lanes::MOVE))
}

/// The product of the first two inputs, and where it is there what is added to each row.
fn biased(cx: &Context<'_>, bias: usize, element: ElementType) -> Result<Lowered, Refusal> {
    let mut lowered = super::matmul::multiply(cx, [0, 1], element)?;
    if let (Form::Nest(nest), Some(_)) = (&mut lowered.form, cx.optional(bias)) {
        let column = nest.write.0.last().cloned();
        nest.read(bias, Access(column.into_iter().collect()));
    }
    Ok(lowered)
}

/// FusedMatMul: either operand's last two dimensions turned round.
pub(super) fn fused_matmul(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    if cx.flag("transBatchA", false)? || cx.flag("transBatchB", false)? {
        return Err(Refusal::mended("turns its batch dimensions round", "export the model without that fusion"));
    }
    super::matmul::turned(cx, [cx.flag("transA", false)?, cx.flag("transB", false)?])
}
