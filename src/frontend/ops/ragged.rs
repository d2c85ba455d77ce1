//! Attention over tokens without padding, whose sequences have lengths that only the data says: all are taken to be as
//! long as the longest may be.

use super::attention::{Heads, Parts};
use super::body::{Body, Wire};
use super::context::{Context, Refusal, product, shown};
use super::packed::{Part, heads_that_share, misfit, one_of};
use super::projected::{biased, side_by_side};
use super::{Lowered, lanes};
use crate::frontend::fact::{ElementType, Fact};

/// Tokens `[tokens, width]`, and where each is of `[batch, length]`.
struct Ragged {
    tokens: u64,
    batch: u64,
    length: u64,
    offsets: usize,
}

impl Ragged {
    fn new(cx: &Context<'_>, offsets: usize) -> Result<Self, Refusal> {
        let tokens = cx.input(0)?.shape.first().copied();
        match (tokens, &cx.input(offsets)?.shape[..]) {
            (Some(tokens), &[batch, length]) if batch.checked_mul(length).is_some_and(|all| all >= tokens) => {
                Ok(Self { tokens, batch, length, offsets })
            }
            _ => Err(misfit(cx)),
        }
    }

    /// Each sequence by itself, padded.
    fn apart(&self, body: &mut Body, x: &Wire) -> Wire {
        body.node("Gather", &[x, &Body::input(self.offsets)], Vec::new())
    }

    /// The attention of sequences, as tokens again.
    fn attended(
        &self,
        cx: &Context<'_>,
        mut body: Body,
        [(q, q_heads), (k, k_heads), (v, v_heads)]: [Part; 3],
        mask: usize,
    ) -> Result<Lowered, Refusal> {
        let width = v_heads.heads.saturating_mul(v_heads.width);
        let heads = [&q_heads, &k_heads, &v_heads];
        let parts = Parts { q, k, v, mask: Some(mask) };
        let attended = parts.attend(cx, &mut body, heads, true).ok_or_else(|| misfit(cx))?;
        let all = product(&[self.batch, self.length])?;
        let rows = body.reshape(&attended.y, &[all, width]);
        let y = if all == self.tokens { rows } else { body.slice_along(&rows, 0, 0, self.tokens) };
        body.output(&y);
        let fact = Fact::at_run_time(vec![self.tokens, width], cx.input(0)?.element);
        let lowered = Lowered::by_element(cx, vec![fact], lanes::MOVE).within(body);
        let Self { length, .. } = self;
        Ok(lowered.warned(format!("has sequences of which all are taken to have {length} tokens, the most")))
    }
}

/// PackedAttention: with the weights that make queries, keys and values.
pub(super) fn projected(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let ragged = Ragged::new(cx, 3)?;
    let mut body = Body::new(cx.input_count());
    let made = body.node("MatMul", &[&Body::input(0), &Body::input(1)], Vec::new());
    let made = biased(cx, &mut body, &made, 2);
    let made = ragged.apart(&mut body, &made);
    let parts = side_by_side(cx, &mut body, &made, [ragged.batch, ragged.length]).ok_or_else(|| misfit(cx))?;
    ragged.attended(cx, body, parts, 5)
}

/// PackedMultiHeadAttention: queries, keys and values in an input each, or in one.
pub(super) fn multi_head(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let ragged = Ragged::new(cx, 4)?;
    let heads = cx.needed_size("num_heads")?;
    let mut body = Body::new(cx.input_count());
    let Ragged { batch, length, .. } = ragged;
    if let &[_, heads, 3, width] = &cx.input(0)?.shape[..] {
        let whole = ragged.apart(&mut body, &Body::input(0));
        let of = Heads { batch, heads, length, width };
        let parts = [0, 1, 2].map(|at| (one_of(&mut body, &whole, at, &of), of));
        return ragged.attended(cx, body, parts, 6);
    }
    let mut from = 0u64;
    let parts = [0, 1, 2].map(|input| {
        let &[_, all] = &cx.optional(input)?.shape[..] else { return None };
        let width = all.checked_div(heads).filter(|width| width * heads == all)?;
        let of = Heads { batch, heads, length, width };
        let mut x = Body::input(input);
        if cx.optional(3).is_some() {
            let bias = body.slice(&Body::input(3), from, from.saturating_add(all));
            x = body.node("Add", &[&x, &bias], Vec::new());
        }
        from = from.saturating_add(all);
        let x = ragged.apart(&mut body, &x);
        Some((of.split(&mut body, &x, 3), of))
    });
    let [Some(q), Some(k), Some(v)] = parts else { return Err(misfit(cx)) };
    ragged.attended(cx, body, [q, k, v], 6)
}

/// PagedAttention: new keys and values are put into a cache of blocks, out of which each sequence reads its own.
pub(super) fn paged(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let (cache, table) = (cx.input(3)?, cx.input(7)?);
    let (&[blocks, size, kv_heads, width], &[batch, most]) = (&cache.shape[..], &table.shape[..]) else {
        let (cache, table) = (shown(&cache.shape), shown(&table.shape));
        return Err(Refusal::new(format!("has a cache {cache} and a table of blocks {table}, which do not fit")));
    };
    let &[tokens, _] = &cx.input(0)?.shape[..] else { return Err(misfit(cx)) };
    let length = tokens.checked_div(batch).filter(|length| length * batch == tokens).ok_or_else(|| misfit(cx))?;
    let mut body = Body::new(cx.input_count());
    // As rows of one sequence, to be found among heads; then each sequence by itself.
    let whole = |fact: &Fact| Fact { shape: [&[1], &fact.shape[..]].concat(), ..fact.clone() };
    let rows: Vec<_> = (0..cx.input_count()).map(|at| cx.optional(at).map(whole)).collect();
    let rows = cx.with(rows.iter().map(Option::as_ref).collect());
    let mut one = Body::new(0);
    let [(_, q_heads), (_, k_heads), (_, v_heads)] = heads_that_share(&rows, &mut one)?;
    if [k_heads, v_heads].iter().any(|heads| (heads.heads, heads.width) != (kv_heads, width)) {
        return Err(misfit(cx));
    }
    let keys = product(&[most, size])?;
    let row = product(&[kv_heads, width])?;
    let parts = apart(cx, &mut body, [&q_heads, &k_heads, &v_heads]);
    let mut caches = Vec::new();
    let [k, v] = [(3, 1), (4, 2)].map(|(input, part)| {
        let flat = body.reshape(&Body::input(input), &[blocks.saturating_mul(size), row]);
        let flat = body.node("ScatterND", &[&flat, &Body::input(5), &parts[part]], Vec::new());
        let kept = body.reshape(&flat, &[blocks, size, kv_heads, width]);
        caches.push(kept.clone());
        let mine = body.node("Gather", &[&kept, &Body::input(7)], Vec::new());
        let mine = body.reshape(&mine, &[batch, keys, kv_heads, width]);
        body.transpose(&mine, &[0, 2, 1, 3])
    });
    let q_heads = Heads { batch, length, ..q_heads };
    let kv = Heads { batch, heads: kv_heads, length: keys, width };
    let q = q_heads.split(&mut body, &parts[0], 3);
    let joined = Parts { q, k, v, mask: None };
    let attended = joined.attend(cx, &mut body, [&q_heads, &kv, &kv], true).ok_or_else(|| misfit(cx))?;
    let y_width = q_heads.heads.saturating_mul(width);
    let y = body.reshape(&attended.y, &[tokens, y_width]);
    [&y].into_iter().chain(&caches).take(cx.output_count()).for_each(|wire| body.output(wire));
    let kept = Fact::at_run_time(cache.shape.clone(), cache.element);
    let outputs = vec![Fact::at_run_time(vec![tokens, y_width], cx.input(0)?.element), kept.clone(), kept];
    let what = format!("has sequences of which all are taken to have {keys} keys, as many as their blocks hold");
    Ok(Lowered::by_element(cx, outputs, lanes::MOVE).within(body).warned(what))
}

/// Queries, keys and values of tokens, which are inputs, or side by side in the first.
fn apart(cx: &Context<'_>, body: &mut Body, heads: [&Heads; 3]) -> [Wire; 3] {
    if cx.optional(1).is_some() {
        return [0, 1, 2].map(Body::input);
    }
    let mut from = 0u64;
    heads.map(|heads| {
        let to = from.saturating_add(heads.heads.saturating_mul(heads.width));
        let part = body.slice(&Body::input(0), from, to);
        from = to;
        part
    })
}

/// RemovePadding: at most all tokens are left; then where each was, where sequences begin, and the longest.
pub(super) fn remove_padding(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let &[batch, length, width] = &x.shape[..] else {
        return Err(Refusal::new(format!("has input {}; only three dimensions are known", shown(&x.shape))));
    };
    let tokens = cx.bounded(product(&[batch, length])?);
    let index = |shape: Vec<u64>| Fact::at_run_time(shape, ElementType::Int(32));
    let outputs = vec![
        Fact::at_run_time(vec![tokens, width], x.element),
        index(vec![batch, length]),
        index(vec![batch.saturating_add(1)]),
        index(vec![1]),
    ];
    Ok(Lowered::by_element(cx, outputs, lanes::MOVE).at_most("no token is padding"))
}

/// RestorePadding: each token back to where it was.
pub(super) fn restore_padding(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let (x, offsets) = (cx.input(0)?, cx.input(1)?);
    let (&[_, width], &[batch, length]) = (&x.shape[..], &offsets.shape[..]) else {
        let (x, offsets) = (shown(&x.shape), shown(&offsets.shape));
        return Err(Refusal::new(format!("has tokens {x} and offsets {offsets}, which do not fit")));
    };
    Ok(Lowered::by_element(cx, vec![Fact::at_run_time(vec![batch, length, width], x.element)], lanes::MOVE))
}
