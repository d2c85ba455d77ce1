//! Attention as ONNX Runtime's optimizers write it: heads packed side by side, or queries, keys and values packed into one
//! input, or the weights that make them.

use super::attention::{Heads, Parts};
use super::body::{Body, Wire};
use super::context::{Context, Refusal, shown};
use super::{Lowered, lanes};
use crate::frontend::fact::Fact;

/// MultiHeadAttention: keys and values may come as heads already; a bias for all three. Of a key padding mask nothing is
/// counted.
pub(super) fn multi_head(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let lowered = roughly(cx)?;
    let heads = cx.needed_size("num_heads")?;
    let of = |input| Heads::packed(cx.optional(input)?, heads);
    let (Some(q), Some(k), Some(v)) = (of(0), of(1), of(2)) else { return Ok(lowered) };
    let mut body = Body::new(cx.input_count());
    let mut inputs = [0, 1, 2].map(Body::input);
    if cx.optional(3).is_some() {
        let mut from = 0u64;
        for (input, heads) in inputs.iter_mut().zip([&q, &k, &v]) {
            let to = from.saturating_add(heads.heads.saturating_mul(heads.width));
            let bias = body.slice(&Body::input(3), from, to);
            *input = body.node("Add", &[input, &bias], Vec::new());
            from = to;
        }
    }
    let rank = |input: usize| cx.optional(input).map_or(3, Fact::rank);
    let parts = Parts {
        q: q.split(&mut body, &inputs[0], rank(0)),
        k: k.split(&mut body, &inputs[1], rank(1)),
        v: v.split(&mut body, &inputs[2], rank(2)),
        past: cx.optional(6).zip(cx.optional(7)).map(|_| [6, 7]),
        mask: Some(5),
    };
    Ok(finished(cx, lowered, body, parts, [&q, &k, &v]))
}

/// GroupQueryAttention: one input may hold queries, keys and values. Of the rotation of queries and keys nothing is
/// counted.
pub(super) fn group_query(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let lowered = roughly(cx)?;
    let (heads, kv_heads) = (cx.needed_size("num_heads")?, cx.needed_size("kv_num_heads")?);
    let mut body = Body::new(cx.input_count());
    let x = cx.input(0)?;
    let (inputs, heads) = match (cx.optional(1), cx.optional(2)) {
        (Some(k), Some(v)) => {
            let heads = [Heads::packed(x, heads), Heads::packed(k, kv_heads), Heads::packed(v, kv_heads)];
            ([0, 1, 2].map(Body::input), heads)
        }
        (_, _) => {
            let all = heads.saturating_add(kv_heads.saturating_mul(2));
            let Some(whole) = Heads::packed(x, all) else { return Ok(lowered) };
            let bounds = [0, heads, heads.saturating_add(kv_heads), all].map(|at| at.saturating_mul(whole.width));
            let part = |i: usize, body: &mut Body| body.slice(&Body::input(0), bounds[i], bounds[i + 1]);
            let inputs = [part(0, &mut body), part(1, &mut body), part(2, &mut body)];
            (inputs, [heads, kv_heads, kv_heads].map(|heads| Some(Heads { heads, ..whole })))
        }
    };
    let [Some(q), Some(k), Some(v)] = heads else { return Ok(lowered) };
    let split = |heads: &Heads, input: &Wire, body: &mut Body| heads.split(body, input, 3);
    let parts = Parts {
        q: split(&q, &inputs[0], &mut body),
        k: split(&k, &inputs[1], &mut body),
        v: split(&v, &inputs[2], &mut body),
        past: cx.optional(3).zip(cx.optional(4)).map(|_| [3, 4]),
        mask: None,
    };
    Ok(finished(cx, lowered, body, parts, [&q, &k, &v]))
}

/// Attention: the weights that make queries, keys and values of the input, side by side. Of a mask's index nothing is
/// counted.
pub(super) fn projected(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let mut body = Body::new(cx.input_count());
    let made = body.node("MatMul", &[&Body::input(0), &Body::input(1)], Vec::new());
    attended(cx, body, made, 4, Some(5))
}

/// QAttention: the same of whole numbers, whose product is scaled.
pub(super) fn quantized(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let mut body = Body::new(cx.input_count());
    let sums = body.node("MatMulInteger", &[&Body::input(0), &Body::input(1)], Vec::new());
    let floats = body.float(&sums);
    // Of the weight: one scale for all, or for each column.
    let made = body.node("Mul", &[&floats, &Body::input(4)], Vec::new());
    attended(cx, body, made, 8, None)
}

/// Attention of queries, keys and values that were made side by side, and lack their bias. `past` is the input with keys
/// and values that are there already, `mask` the one that is added to the scores.
fn attended(
    cx: &Context<'_>,
    mut body: Body,
    made: Wire,
    past: usize,
    mask: Option<usize>,
) -> Result<Lowered, Refusal> {
    let lowered = roughly(cx)?;
    let heads = cx.needed_size("num_heads")?;
    let all = cx.input(1)?.shape.last().copied().unwrap_or(0);
    let given = cx.int_list("qkv_hidden_sizes")?.unwrap_or_default();
    let widths = match given.iter().map(|&width| u64::try_from(width).ok()).collect::<Option<Vec<_>>>().as_deref() {
        Some(&[q, k, v]) => [q, k, v],
        Some(_) | None => [all / 3; 3],
    };
    let &[batch, length, _] = &cx.input(0)?.shape[..] else { return Ok(lowered) };
    let has_past = cx.optional(past).is_some() || cx.output_count() > 1;
    if has_past || widths.iter().try_fold(0u64, |sum, &width| sum.checked_add(width)) != Some(all) || heads == 0 {
        return Ok(lowered);
    }
    let made = match cx.optional(2) {
        Some(_) => body.node("Add", &[&made, &Body::input(2)], Vec::new()),
        None => made,
    };
    let mut from = 0;
    let parts = widths.map(|width| {
        let heads = Heads { batch, heads, length, width: width / heads };
        let part = body.slice(&made, from, from + width);
        from += width;
        (heads.split(&mut body, &part, 3), heads)
    });
    let [(q, q_heads), (k, k_heads), (v, v_heads)] = parts;
    let parts = Parts { q, k, v, past: None, mask };
    Ok(finished(cx, lowered, body, parts, [&q_heads, &k_heads, &v_heads]))
}

fn finished(cx: &Context<'_>, lowered: Lowered, mut body: Body, parts: Parts, heads: [&Heads; 3]) -> Lowered {
    match parts.attend(cx, &mut body, &heads, true) {
        Some(()) if cx.output_count() <= 3 => lowered.within(body),
        Some(()) | None => lowered,
    }
}

/// The shapes of all of them, costed for each element of the output.
fn roughly(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let &[batch, length, width] = &x.shape[..] else {
        return Err(Refusal::new(format!("has input {}; only three dimensions are known", shown(&x.shape))));
    };
    let heads = cx.needed_size("num_heads")?.max(1);
    let fact = |shape: Vec<u64>| Fact::at_run_time(shape, x.element);
    let packs_weights = matches!(cx.op(), "Attention" | "QAttention");
    let (past_at, kv_heads) = match cx.op() {
        "Attention" => (4, heads),
        "QAttention" => (8, heads),
        "GroupQueryAttention" => (3, cx.needed_size("kv_num_heads")?),
        _ => (6, heads),
    };
    let element = if cx.op() == "QAttention" { cx.input(3)?.element } else { x.element };
    // Where there are no keys, the queries hold keys and values too.
    let (q_width, new) = match (packs_weights, cx.optional(1).filter(|_| !packs_weights)) {
        (true, _) => (cx.input(1)?.shape.last().map_or(0, |all| all / 3), length),
        (false, None) => {
            let all = heads.saturating_add(kv_heads.saturating_mul(2)).max(1);
            (width / all * heads, length)
        }
        (false, Some(keys)) => (width, keys.shape.get(keys.rank().saturating_sub(2)).copied().unwrap_or(length)),
    };
    let past = cx.optional(past_at).and_then(|past| past.shape.get(past.rank().checked_sub(2)?).copied()).unwrap_or(0);
    let all = new.checked_add(past).ok_or_else(|| Refusal::new("has sizes that are out of range"))?;
    let head = q_width / heads;
    let present = match packs_weights {
        true => vec![2, batch, heads, all, head],
        false => vec![batch, kv_heads, all, head],
    };
    let v_width = cx
        .optional(2)
        .filter(|v| !packs_weights && v.rank() == 3)
        .map_or(q_width, |v| v.shape[2] / kv_heads.max(1) * heads);
    let y = Fact::at_run_time(vec![batch, length, v_width], element);
    let outputs = vec![y, fact(present.clone()), fact(present)];
    let projections = if packs_weights { width } else { 0 };
    let lanes = all.saturating_mul(2).saturating_add(projections.saturating_mul(3)).saturating_mul(lanes::MULTIPLY_ADD);
    Ok(Lowered::by_element(cx, outputs, lanes.min(1 << 19)).roughly())
}
