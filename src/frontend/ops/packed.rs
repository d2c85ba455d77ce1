//! Attention as ONNX Runtime's optimizers write it over queries, keys and values: heads side by side, apart already, or
//! packed into one input. `projected` has those with the weights that make them, `ragged` those without padding.

use super::attention::{Cache, Heads, Parts};
use super::body::{Body, Wire};
use super::context::{Context, Refusal, shown};
use super::{Lowered, lanes};
use crate::frontend::fact::{ElementType, Fact};

/// Queries, keys or values of a body, `[batch, heads, length, width]`, and what they are.
pub(super) type Part = (Wire, Heads);

/// Which inputs an operator of the kind of MultiHeadAttention has beside queries, keys and values.
struct Places {
    bias: usize,
    mask: usize,
    past: [usize; 2],
    /// How many old keys count, where old and new ones share a buffer.
    past_length: usize,
}

/// MultiHeadAttention: a bias for all three. Of a key padding mask nothing is counted.
pub(super) fn multi_head(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    of_heads(cx, &Places { bias: 3, mask: 5, past: [6, 7], past_length: 8 })
}

/// DecoderMaskedMultiHeadAttention: the same of one token.
pub(super) fn masked_multi_head(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    of_heads(cx, &Places { bias: 10, mask: 4, past: [5, 6], past_length: 7 })
}

fn of_heads(cx: &Context<'_>, places: &Places) -> Result<Lowered, Refusal> {
    let heads = cx.needed_size("num_heads")?;
    let mut body = Body::new(cx.input_count());
    let parts = match (&cx.input(0)?.shape[..], cx.optional(1).map(|keys| &keys.shape[..]), cx.optional(2)) {
        (&[batch, length, heads, 3, width], _, _) => {
            let all = Heads { batch, heads, length, width };
            let part = |at: u64| Some((one_of(&mut body, &Body::input(0), at, &all), all));
            [0, 1, 2].map(part)
        }
        (_, Some(&[batch, length, heads, 2, width]), _) => {
            let both = Heads { batch, heads, length, width };
            let [k, v] = [0, 1].map(|at| Some((one_of(&mut body, &Body::input(1), at, &both), both)));
            [apart(cx, &mut body, 0, heads, None), k, v]
        }
        (&[batch, length, all], None, _) => {
            beside(&mut body, &Body::input(0), [batch, length, all], [heads; 3], [all / 3; 3])
        }
        (_, _, _) => {
            let mut from = 0u64;
            let mut part = |input: usize| {
                let width = cx.optional(input).filter(|fact| fact.rank() == 3).map_or(0, |fact| fact.shape[2]);
                let bias = (from, from.saturating_add(width));
                from = bias.1;
                apart(cx, &mut body, input, heads, cx.optional(places.bias).map(|_| (places.bias, bias)))
            };
            [part(0), part(1), part(2)]
        }
    };
    let [Some(q), Some(k), Some(v)] = parts else { return Err(misfit(cx)) };
    let cache = match cx.optional(places.past[0]) {
        Some(past) => {
            let size = past.shape.get(2).copied().unwrap_or(0);
            let past_length = cx.optional(places.past_length).map(|fact| known(Some(fact)));
            let total = match past_length {
                Some(past) => past.and_then(|past| past.checked_add(k.1.length)).unwrap_or(size.max(k.1.length)),
                None => size.checked_add(k.1.length).ok_or_else(|| misfit(cx))?,
            };
            Some((places.past, Cache { size, total }, past_length == Some(None)))
        }
        None => None,
    };
    finished(cx, body, [q, k, v], cache, Some(places.mask))
}

/// GroupQueryAttention: one input may hold queries, keys and values.
pub(super) fn group_query(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    grouped(cx, 6, 7, Some(10))
}

/// SparseAttention: the same; which blocks of keys count is not looked at, but all do.
pub(super) fn sparse(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let lowered = grouped(cx, 7, 9, None)?;
    Ok(lowered.warned("attends to some blocks of its keys; it is costed as if to all of them"))
}

/// Heads of queries that share keys and values, whose total length is an input, as are tables that turn them.
fn grouped(cx: &Context<'_>, total_at: usize, tables: usize, mask: Option<usize>) -> Result<Lowered, Refusal> {
    let mut body = Body::new(cx.input_count());
    let [mut q, mut k, v] = heads_that_share(cx, &mut body)?;
    if cx.flag("do_rotary", false)? && cx.optional(tables).is_some() {
        let turned = |x: &Wire, body: &mut Body| {
            body.node("RotaryEmbedding", &[x, &Body::input(tables), &Body::input(tables + 1)], Vec::new())
        };
        q.0 = turned(&q.0, &mut body);
        k.0 = turned(&k.0, &mut body);
    }
    let cache = match cx.optional(3) {
        Some(past) => {
            let size = past.shape.get(2).copied().unwrap_or(0);
            let given = known(cx.optional(total_at)).filter(|&total| total >= k.1.length);
            let is_shared = cx.op() == "SparseAttention";
            let most = if is_shared { Some(size) } else { size.checked_add(k.1.length) };
            let total = given.or(most).ok_or_else(|| misfit(cx))?;
            Some(([3, 4], Cache { size, total: total.max(k.1.length) }, given.is_none() && is_shared))
        }
        None => None,
    };
    finished(cx, body, [q, k, v], cache, mask)
}

/// Queries, keys and values in an input each, or in the first side by side.
pub(super) fn heads_that_share(cx: &Context<'_>, body: &mut Body) -> Result<[Part; 3], Refusal> {
    let (heads, kv_heads) = (cx.needed_size("num_heads")?, cx.needed_size("kv_num_heads")?);
    let x = cx.input(0)?;
    let parts = match (cx.optional(1), cx.optional(2)) {
        (Some(_), Some(_)) => [(0, heads), (1, kv_heads), (2, kv_heads)].map(|(at, n)| apart(cx, body, at, n, None)),
        (_, _) => {
            let &[batch, length, all] = &x.shape[..] else { return Err(misfit(cx)) };
            let width = all.checked_div(heads.saturating_add(kv_heads.saturating_mul(2))).unwrap_or(0);
            let counts = [heads, kv_heads, kv_heads];
            let widths = counts.map(|heads| heads.saturating_mul(width));
            beside(body, &Body::input(0), [batch, length, all], counts, widths)
        }
    };
    match parts {
        [Some(q), Some(k), Some(v)] => Ok([q, k, v]),
        _ => Err(misfit(cx)),
    }
}

/// An input with heads, to which part of a bias is added.
fn apart(
    cx: &Context<'_>,
    body: &mut Body,
    input: usize,
    heads: u64,
    bias: Option<(usize, (u64, u64))>,
) -> Option<Part> {
    let fact = cx.optional(input)?;
    let of = Heads::packed(fact, heads)?;
    let mut x = Body::input(input);
    if let Some((bias, (from, to))) = bias.filter(|_| fact.rank() == 3) {
        let bias = body.slice(&Body::input(bias), from, to);
        x = body.node("Add", &[&x, &bias], Vec::new());
    }
    Some((of.split(body, &x, fact.rank()), of))
}

/// Parts of so many heads and such widths, side by side in what is `[batch, length, all]`.
pub(super) fn beside(
    body: &mut Body,
    x: &Wire,
    [batch, length, all]: [u64; 3],
    heads: [u64; 3],
    widths: [u64; 3],
) -> [Option<Part>; 3] {
    let mut from = 0u64;
    let parts = [0, 1, 2].map(|i| {
        let (heads, to) = (heads[i], from.checked_add(widths[i]).filter(|&to| to <= all)?);
        let width = widths[i].checked_div(heads).filter(|width| width * heads == widths[i])?;
        let of = Heads { batch, heads, length, width };
        let part = body.slice(x, from, to);
        from = to;
        Some((of.split(body, &part, 3), of))
    });
    if from == all { parts } else { [None, None, None] }
}

/// One of those that a value `[batch, length, heads, n, width]` has behind each other for each head.
pub(super) fn one_of(body: &mut Body, x: &Wire, at: u64, heads: &Heads) -> Wire {
    let part = body.slice_along(x, 3, at, at + 1);
    let apart = body.reshape(&part, &[heads.batch, heads.length, heads.heads, heads.width]);
    body.transpose(&apart, &[0, 2, 1, 3])
}

/// Puts new keys and values behind the old ones, and attends to those that count.
fn finished(
    cx: &Context<'_>,
    mut body: Body,
    [(q, q_heads), (mut k, mut k_heads), (mut v, mut v_heads)]: [Part; 3],
    cache: Option<([usize; 2], Cache, bool)>,
    mask: Option<usize>,
) -> Result<Lowered, Refusal> {
    let mut present = [k.clone(), v.clone()];
    let (mut grown, mut warning) = (k_heads.length, None);
    if let Some((inputs, cache, is_bound)) = cache {
        let fits = |(&input, heads): (&usize, &Heads)| {
            let shape = cx.optional(input).map(|past| &past.shape[..]);
            shape == Some(&[heads.batch, heads.heads, cache.size, heads.width])
        };
        if !inputs.iter().zip([&k_heads, &v_heads]).all(fits) {
            return Err(misfit(cx));
        }
        grown = cache.grown(k_heads.length);
        let old = inputs.map(Body::input);
        [present[0], k] = cache.append(&mut body, &old[0], &k, k_heads.length);
        [present[1], v] = cache.append(&mut body, &old[1], &v, v_heads.length);
        let size = cache.size;
        let all = || format!("shares a buffer of {size} between old and new keys; all are taken to count, the most");
        warning = is_bound.then(all);
        (k_heads.length, v_heads.length) = (cache.total, cache.total);
    }
    let window = cx.int("local_window_size")?.and_then(|window| u64::try_from(window).ok()).filter(|&size| size > 0);
    match window.filter(|&window| window < k_heads.length) {
        Some(window) if q_heads.length == 1 => {
            [k, v] = [k, v].map(|all| body.slice_along(&all, -2, k_heads.length - window, k_heads.length));
            (k_heads.length, v_heads.length) = (window, window);
        }
        Some(window) => {
            warning = Some(format!("looks {window} tokens back; it is costed as if each looked at all of them"));
        }
        None => {}
    }
    let facts = outputs(cx, [&q_heads, &k_heads, &v_heads], grown);
    let parts = Parts { q, k, v, mask };
    let attended = parts.attend(cx, &mut body, [&q_heads, &k_heads, &v_heads], true).ok_or_else(|| misfit(cx))?;
    let is_behind = cx.op() != "GroupQueryAttention" || cx.int("qk_output")? == Some(2);
    attended.give(cx, &mut body, &present, &attended.scores[usize::from(is_behind)]);
    let lowered = Lowered::by_element(cx, facts, lanes::MOVE).within(body);
    Ok(match warning {
        Some(warning) => lowered.warned(warning),
        None => lowered,
    })
}

/// The result, keys and values as they are then, and the scores.
fn outputs(cx: &Context<'_>, [q, k, v]: [&Heads; 3], grown: u64) -> Vec<Fact> {
    let element = cx.optional(0).map_or(ElementType::Float(32), |x| x.element);
    let fact = |shape: Vec<u64>| Fact::at_run_time(shape, element);
    vec![
        fact(vec![q.batch, q.length, q.heads.saturating_mul(v.width)]),
        fact(vec![k.batch, k.heads, grown, k.width]),
        fact(vec![v.batch, v.heads, grown, v.width]),
        fact(vec![q.batch, q.heads, q.length, k.length]),
    ]
}

/// The one number of an input that is known.
pub(super) fn known(fact: Option<&Fact>) -> Option<u64> {
    match fact?.as_ints()? {
        &[number] => u64::try_from(number).ok(),
        _ => None,
    }
}

/// Inputs that are not made of heads, or do not fit each other.
pub(super) fn misfit(cx: &Context<'_>) -> Refusal {
    let shapes = (0..cx.input_count().min(3)).filter_map(|input| Some(shown(&cx.optional(input)?.shape)));
    Refusal::new(format!(
        "has inputs {} and others that are not made of fitting heads",
        shapes.collect::<Vec<_>>().join(", ")
    ))
}
