//! Attention with the weights that make queries, keys and values, which lie side by side in one product.

use super::attention::{Cache, Heads, Parts};
use super::body::{Body, Wire};
use super::context::{Context, Refusal};
use super::packed::{Part, beside, known, misfit};
use super::{Lowered, lanes};
use crate::frontend::fact::Fact;

/// Attention and DecoderMaskedSelfAttention. Of a mask's index nothing is counted.
pub(super) fn attention(cx: &Context<'_>) -> Result<Lowered, Refusal> {
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

/// Attention of what was made and lacks its bias. `past` is the input with keys and values that are there already, `mask`
/// the one that is added to the scores.
fn attended(
    cx: &Context<'_>,
    mut body: Body,
    made: Wire,
    past: usize,
    mask: Option<usize>,
) -> Result<Lowered, Refusal> {
    let &[batch, length, _] = &cx.input(0)?.shape[..] else { return Err(misfit(cx)) };
    let made = biased(cx, &mut body, &made, 2);
    let [(q, q_heads), (k, k_heads), (v, v_heads)] =
        side_by_side(cx, &mut body, &made, [batch, length]).ok_or_else(|| misfit(cx))?;
    let mut warning = None;
    let (mut keys, mut values, mut present) = (k, v, None);
    let mut grown = length;
    let mut total = length;
    if cx.optional(past).is_some() || cx.output_count() > 1 {
        if k_heads.width != v_heads.width {
            return Err(misfit(cx));
        }
        let one = [1, batch, k_heads.heads, length, k_heads.width];
        let [k, v] = [&keys, &values].map(|part| body.reshape(part, &one));
        let new = body.concat(&[&k, &v], 0);
        let mut counted = new.clone();
        present = Some(new.clone());
        if let Some(old) = cx.optional(past) {
            let cache = cache(cx, old, length)?;
            if old.shape != [2, batch, k_heads.heads, cache.size, k_heads.width] {
                return Err(misfit(cx));
            }
            let [all, those] = cache.append(&mut body, &Body::input(past), &new, length);
            (present, counted, total, grown) = (Some(all), those, cache.total, cache.grown(length));
            let all = "shares a buffer between old and new keys; all that it has room for are taken to count, the most";
            warning = (shares_buffer(cx)? && known(cx.optional(6)).is_none()).then_some(all);
        }
        let shape = [batch, k_heads.heads, total, k_heads.width];
        [keys, values] = [0, 1].map(|at| {
            let part = body.slice_along(&counted, 0, at, at + 1);
            body.reshape(&part, &shape)
        });
    }
    let [k_all, v_all] = [k_heads, v_heads].map(|heads| Heads { length: total, ..heads });
    let parts = Parts { q, k: keys, v: values, mask };
    let attended = parts.attend(cx, &mut body, [&q_heads, &k_all, &v_all], true).ok_or_else(|| misfit(cx))?;
    body.output(&attended.y);
    present.iter().take(cx.output_count().saturating_sub(1)).for_each(|present| body.output(present));
    // The product of whole numbers is scaled to floats.
    let element = if past == 8 { cx.input(3)?.element } else { cx.input(0)?.element };
    let outputs = vec![
        Fact::at_run_time(vec![batch, length, v_all.heads.saturating_mul(v_all.width)], element),
        Fact::at_run_time(vec![2, batch, k_all.heads, grown, k_all.width], element),
    ];
    let lowered = Lowered::by_element(cx, outputs, lanes::MOVE).within(body);
    Ok(match warning {
        Some(warning) => lowered.warned(warning),
        None => lowered,
    })
}

/// LongformerAttention: blocks of as many tokens as a window has to either side, each with its own keys and those of the
/// blocks beside it. What attends to all tokens has weights of its own.
pub(super) fn longformer(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let (x, window) = (cx.input(0)?, cx.needed_size("window")?);
    let &[batch, length, width] = &x.shape[..] else { return Err(misfit(cx)) };
    let blocks = length.checked_div(window).filter(|blocks| blocks * window == length).ok_or_else(|| misfit(cx))?;
    let near = window.checked_mul(3).ok_or_else(|| misfit(cx))?;
    let batches = batch.checked_mul(blocks).ok_or_else(|| misfit(cx))?;
    let heads = cx.needed_size("num_heads")?;
    let each = width.checked_div(heads).filter(|each| each * heads == width).ok_or_else(|| misfit(cx))?;
    let mut body = Body::new(cx.input_count());
    let [local, global] = [(1, 2), (4, 5)].map(|(weight, bias)| {
        let made = body.node("MatMul", &[&Body::input(0), &Body::input(weight)], Vec::new());
        biased(cx, &mut body, &made, bias)
    });
    let [q, k, v] = [0, 1, 2].map(|part| body.slice(&local, part * width, part.saturating_add(1) * width));
    let in_blocks = |x: &Wire, body: &mut Body| body.reshape(x, &[batches, window, width]);
    let q = in_blocks(&q, &mut body);
    let [k, v] = [k, v].map(|part| {
        let padded = body.pad(&part, 3, 1, window, window);
        let shifted = [0, 1, 2].map(|by| {
            let part = body.slice_along(&padded, 1, by * window, length.saturating_add(by * window));
            in_blocks(&part, &mut body)
        });
        body.concat(&shifted.each_ref(), 1)
    });
    let of = |length| Heads { batch: batches, heads, length, width: each };
    let (queries, keys) = (of(window), of(near));
    let parts = Parts {
        q: queries.split(&mut body, &q, 3),
        k: keys.split(&mut body, &k, 3),
        v: keys.split(&mut body, &v, 3),
        mask: None,
    };
    let attended = parts.attend(cx, &mut body, [&queries, &keys, &keys], true).ok_or_else(|| misfit(cx))?;
    let y = body.reshape(&attended.y, &x.shape);
    let everywhere = body.slice(&global, width.saturating_mul(2), width.saturating_mul(3));
    let y = body.node("Add", &[&y, &everywhere], Vec::new());
    body.output(&y);
    let what =
        "lets some tokens, which the data decides, attend to all: their weights are counted, and not their scores";
    let outputs = vec![Fact::at_run_time(x.shape.clone(), x.element)];
    Ok(Lowered::by_element(cx, outputs, lanes::MOVE).within(body).warned(what))
}

/// The old keys and values, and how many count with the new ones: in a shared buffer those that an input says, or all.
fn cache(cx: &Context<'_>, old: &Fact, length: u64) -> Result<Cache, Refusal> {
    let size = old.shape.get(3).copied().unwrap_or(0);
    let past = if shares_buffer(cx)? { known(cx.optional(6)) } else { Some(size) };
    let total = match past {
        Some(past) => past.checked_add(length),
        None => Some(size.max(length)),
    };
    Ok(Cache { size, total: total.ok_or_else(|| misfit(cx))? })
}

fn shares_buffer(cx: &Context<'_>) -> Result<bool, Refusal> {
    cx.flag("past_present_share_buffer", false)
}

/// What was made and a bias, where there is one.
pub(super) fn biased(cx: &Context<'_>, body: &mut Body, made: &Wire, bias: usize) -> Wire {
    match cx.optional(bias) {
        Some(_) => body.node("Add", &[made, &Body::input(bias)], Vec::new()),
        None => made.clone(),
    }
}

/// Queries, keys and values in what the second input made, by the widths that the node says, or a third each.
pub(super) fn side_by_side(
    cx: &Context<'_>,
    body: &mut Body,
    made: &Wire,
    [batch, length]: [u64; 2],
) -> Option<[Part; 3]> {
    let heads = cx.needed_size("num_heads").ok()?;
    let all = *cx.optional(1)?.shape.last()?;
    let given = cx.int_list("qkv_hidden_sizes").ok()?.unwrap_or_default();
    let widths = match given.iter().map(|&width| u64::try_from(width).ok()).collect::<Option<Vec<_>>>()?[..] {
        [q, k, v] => [q, k, v],
        _ => [all / 3; 3],
    };
    match beside(body, made, [batch, length, all], [heads; 3], widths) {
        [Some(q), Some(k), Some(v)] => Some([q, k, v]),
        _ => None,
    }
}
