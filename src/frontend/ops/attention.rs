//! Attention as one operator, linear attention, and rotary embeddings.

use super::context::{Context, Refusal, shown};
use super::{Lowered, lanes};
use crate::frontend::fact::Fact;

/// Heads of queries, keys or values: `[batch, heads, length, width]`, or `[batch, length, heads·width]`.
struct Heads {
    batch: u64,
    heads: u64,
    length: u64,
    width: u64,
}

impl Heads {
    fn of(cx: &Context<'_>, input: usize, count: &str) -> Result<Self, Refusal> {
        let shape = &cx.input(input)?.shape;
        match shape[..] {
            [batch, heads, length, width] => Ok(Self { batch, heads, length, width }),
            [batch, length, all] => {
                let heads = cx.needed_size(count)?;
                let width = all.checked_div(heads).filter(|width| width * heads == all);
                let width = width.ok_or_else(|| Refusal::new(format!("has {heads} heads in {}", shown(shape))))?;
                Ok(Self { batch, heads, length, width })
            }
            _ => Err(Refusal::new(format!("has input {}, which has no heads", shown(shape)))),
        }
    }
}

/// Attention: queries, keys and values; keys and values that are there already come before the new ones.
pub(super) fn attention(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let (q, k, v) =
        (Heads::of(cx, 0, "q_num_heads")?, Heads::of(cx, 1, "kv_num_heads")?, Heads::of(cx, 2, "kv_num_heads")?);
    let past = cx.optional(4).and_then(|past| past.shape.get(2).copied()).unwrap_or(0);
    let all = k.length.checked_add(past).ok_or_else(|| Refusal::new("has sizes that are out of range"))?;
    let fact = |shape: Vec<u64>| Fact::at_run_time(shape, x.element);
    let y = match x.rank() {
        3 => fact(vec![q.batch, q.length, q.heads.saturating_mul(v.width)]),
        _ => fact(vec![q.batch, q.heads, q.length, v.width]),
    };
    let outputs = vec![
        y,
        fact(vec![k.batch, k.heads, all, k.width]),
        fact(vec![v.batch, v.heads, all, v.width]),
        fact(vec![q.batch, q.heads, q.length, all]),
    ];
    // For each element of the output as many products as there are keys, twice.
    let lanes = all.saturating_mul(2 * lanes::MULTIPLY_ADD).min(1 << 19);
    Ok(Lowered::by_element(cx, outputs, lanes).roughly())
}

/// LinearAttention: a state in the place of keys and values.
pub(super) fn linear(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let (q, v) = (Heads::of(cx, 0, "q_num_heads")?, Heads::of(cx, 2, "kv_num_heads")?);
    let fact = |shape: Vec<u64>| Fact::at_run_time(shape, x.element);
    let state = match cx.optional(3) {
        Some(past) => Fact::at_run_time(past.shape.clone(), past.element),
        None => fact(vec![q.batch, v.heads, q.width, v.width]),
    };
    let outputs = vec![fact(vec![q.batch, q.length, q.heads.saturating_mul(v.width)]), state];
    Ok(Lowered::by_element(cx, outputs, q.width.saturating_mul(2 * lanes::MULTIPLY_ADD).min(1 << 19)).roughly())
}

/// RotaryEmbedding: pairs of elements, turned by an angle.
pub(super) fn rotary(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    Ok(Lowered::by_element(cx, vec![Fact::at_run_time(x.shape.clone(), x.element)], lanes::ROTARY))
}
