//! Attention as one operator, linear attention, and rotary embeddings.

use super::body::{Body, Wire};
use super::context::{Context, Refusal, product, shown, signed};
use super::nest::{Nest, Read, Source};
use super::{Form, Lowered, lanes, pointwise};
use crate::frontend::fact::{ElementType, Fact};
use crate::frontend::view::combine;
use crate::ir::{Access, Affine, DimId};

/// Heads of queries, keys or values: `[batch, heads, length, width]`, or `[batch, length, heads·width]`.
#[derive(Clone, Copy)]
pub(super) struct Heads {
    pub(super) batch: u64,
    pub(super) heads: u64,
    pub(super) length: u64,
    pub(super) width: u64,
}

impl Heads {
    /// Heads side by side in the last dimension, or apart already.
    pub(super) fn packed(fact: &Fact, heads: u64) -> Option<Self> {
        match fact.shape[..] {
            [batch, heads, length, width] => Some(Self { batch, heads, length, width }),
            [batch, length, all] => {
                let width = all.checked_div(heads).filter(|width| width * heads == all)?;
                Some(Self { batch, heads, length, width })
            }
            _ => None,
        }
    }

    /// A value of a body, as heads.
    pub(super) fn split(&self, body: &mut Body, x: &Wire, rank: usize) -> Wire {
        if rank == 4 {
            return x.clone();
        }
        let apart = body.reshape(x, &[self.batch, self.length, self.heads, self.width]);
        body.transpose(&apart, &[0, 2, 1, 3])
    }

    fn of(cx: &Context<'_>, input: usize, count: &str) -> Result<Self, Refusal> {
        let fact = cx.input(input)?;
        let heads = if fact.rank() == 3 { cx.needed_size(count)? } else { 0 };
        let misfit = || Refusal::new(format!("has input {}, which is not made of heads", shown(&fact.shape)));
        Self::packed(fact, heads).ok_or_else(misfit)
    }
}

/// Attention: queries, keys and values; keys and values that are there already come before the new ones.
pub(super) fn attention(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let heads = |input, count| Heads::of(cx, input, count);
    let (q, k, v) = (heads(0, "q_num_heads")?, heads(1, "kv_num_heads")?, heads(2, "kv_num_heads")?);
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
    let lowered = Lowered::by_element(cx, outputs, lanes).roughly();
    let mut body = Body::new(cx.input_count());
    let split = |input: usize, heads: &Heads, body: &mut Body| {
        heads.split(body, &Body::input(input), cx.optional(input).map_or(4, Fact::rank))
    };
    let mut parts =
        Parts { q: split(0, &q, &mut body), k: split(1, &k, &mut body), v: split(2, &v, &mut body), mask: Some(3) };
    if cx.optional(4).is_some() && cx.optional(5).is_some() {
        let cache = Cache { size: past, total: all };
        [parts.k, _] = cache.append(&mut body, &Body::input(4), &parts.k, k.length);
        [parts.v, _] = cache.append(&mut body, &Body::input(5), &parts.v, v.length);
    }
    let present = [parts.k.clone(), parts.v.clone()];
    let (k, v) = (Heads { length: all, ..k }, Heads { length: all, ..v });
    let Some(attended) = parts.attend(cx, &mut body, [&q, &k, &v], x.rank() == 3) else { return Ok(lowered) };
    let scores = &attended.scores[usize::from(cx.int("qk_matmul_output_mode")? == Some(3))];
    attended.give(cx, &mut body, &present, scores);
    Ok(match cx.has("score_mod") || cx.has("prob_mod") {
        true => lowered.within(body).warned("has graphs for its scores, of which nothing is counted"),
        false => lowered.within(body),
    })
}

/// Keys or values that are there already, and how many count with the new ones.
#[derive(Clone, Copy)]
pub(super) struct Cache {
    /// How many the tensor has: where old and new share a buffer, more than count.
    pub(super) size: u64,
    pub(super) total: u64,
}

impl Cache {
    /// How many there are once the new ones have come.
    pub(super) fn grown(&self, new: u64) -> u64 {
        if self.total.saturating_sub(new) == self.size { self.total } else { self.total.max(self.size) }
    }

    /// All of them, the new ones behind the old ones that count; and those that count.
    pub(super) fn append(&self, body: &mut Body, past: &Wire, new: &Wire, length: u64) -> [Wire; 2] {
        let kept = self.total.saturating_sub(length).min(self.size);
        if kept == self.size {
            let all = body.concat(&[past, new], -2);
            return [all.clone(), all];
        }
        let old = body.slice_along(past, -2, 0, kept);
        let rest = body.slice_along(past, -2, self.total.min(self.size), self.size);
        let all = body.concat(&[&old, new, &rest], -2);
        let counted = body.slice_along(&all, -2, 0, self.total);
        [all, counted]
    }
}

/// Queries, keys and values of a body, each `[batch, heads, length, width]`.
pub(super) struct Parts {
    pub(super) q: Wire,
    pub(super) k: Wire,
    pub(super) v: Wire,
    /// The input that is added to the scores, or says which count; of one that does not fit them nothing is counted.
    pub(super) mask: Option<usize>,
}

/// What attention makes.
pub(super) struct Attended {
    pub(super) y: Wire,
    /// Before the softmax, and behind it, where someone asks for them.
    pub(super) scores: [Wire; 2],
}

impl Attended {
    /// Hands out the result, keys and values, and the scores, as many of them as the node has outputs.
    pub(super) fn give(&self, cx: &Context<'_>, body: &mut Body, present: &[Wire; 2], scores: &Wire) {
        let [keys, values] = present;
        [&self.y, keys, values, scores].into_iter().take(cx.output_count()).for_each(|wire| body.output(wire));
    }
}

impl Parts {
    /// The scores' product, softmax, and the product with the values. Queries that share keys and values are more rows of
    /// one product. Softcap and the causal mask are part of what is done with each score, and are not counted.
    pub(super) fn attend(self, cx: &Context<'_>, body: &mut Body, heads: [&Heads; 3], joins: bool) -> Option<Attended> {
        let [q, k, v] = heads;
        let shared = q.heads.checked_div(k.heads).filter(|shared| shared * k.heads == q.heads && v.heads == k.heads)?;
        let (apart, is_shared) = ([q.batch, q.heads, q.length, k.length], shared != 1);
        let mut turned = body.transpose(&self.k, &[0, 1, 3, 2]);
        let (mut queries, mut values) = (self.q, self.v);
        if is_shared {
            queries = body.reshape(&queries, &[q.batch, k.heads, shared, q.length, q.width]);
            turned = body.reshape(&turned, &[k.batch, k.heads, 1, k.width, k.length]);
            values = body.reshape(&values, &[v.batch, v.heads, 1, v.length, v.width]);
        }
        let mask = self.mask.and_then(|input| Some((input, cx.optional(input)?)));
        let fits = |mask: &Fact| pointwise::broadcast_shapes(&[&mask.shape, &apart]).as_deref() == Some(&apart);
        // It is there before the product, which it joins.
        let mask = mask.filter(|(_, mask)| fits(mask)).map(|(input, mask)| match is_shared {
            true => (body.reshape(&Body::input(input), &by_shared_heads(&mask.shape, shared)), mask.element),
            false => (Body::input(input), mask.element),
        });
        let products = body.node("MatMul", &[&queries, &turned], Vec::new());
        let scale = body.number();
        let mut scores = body.node("Mul", &[&products, &scale], Vec::new());
        if let Some((mask, element)) = mask {
            scores = match element {
                ElementType::Bool => body.node("Where", &[&mask, &scores, &scale], Vec::new()),
                _ => body.node("Add", &[&scores, &mask], Vec::new()),
            };
        }
        let weights = body.softmax(&scores);
        let mut y = body.node("MatMul", &[&weights, &values], Vec::new());
        let mut given = [scores, weights];
        if is_shared {
            y = body.reshape(&y, &[q.batch, q.heads, q.length, v.width]);
            given = given.map(|scores| body.reshape(&scores, &apart));
        }
        if joins {
            let turned = body.transpose(&y, &[0, 2, 1, 3]);
            y = body.reshape(&turned, &[q.batch, q.length, q.heads.checked_mul(v.width)?]);
        }
        Some(Attended { y, scores: given })
    }
}

/// The shape of a mask whose heads, if it has any, are apart by which keys they share.
fn by_shared_heads(shape: &[u64], shared: u64) -> Vec<u64> {
    match shape {
        [outer @ .., heads, rows, columns] if *heads != 1 => {
            [outer, &[heads / shared, shared, *rows, *columns]].concat()
        }
        [outer @ .., heads, rows, columns] => [outer, &[*heads, 1, *rows, *columns]].concat(),
        _ => shape.to_vec(),
    }
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
    let heads = q.heads.max(v.heads);
    let outputs = vec![fact(vec![q.batch, q.length, heads.saturating_mul(v.width)]), state];
    Ok(Lowered::by_element(cx, outputs, q.width.saturating_mul(2 * lanes::MULTIPLY_ADD).min(1 << 19)).roughly())
}

/// RotaryEmbedding: pairs of elements, turned by an angle. The two domains have the positions in different places; of
/// tables for all positions, the rows that are picked are read.
pub(super) fn rotary(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let (tables, positions) = match cx.input(1)?.element {
        ElementType::Int(_) => ([2, 3], 1),
        _ => ([1, 2], 3),
    };
    // `[batch, heads, length, width]` or `[batch, length, heads·width]`.
    let (length_at, last) = match x.rank() {
        4 => (2, 3),
        3 => (1, 2),
        _ => return Err(Refusal::new(format!("has input {}, which is not made of heads", shown(&x.shape)))),
    };
    let mut nest = Nest::vector(lanes::ROTARY);
    nest.write = nest.axes(&x.shape, |axis| axis == last);
    nest.read(0, nest.write.clone());
    let column = angle(&mut nest, last, cx.input(tables[0])?.shape.last().copied().unwrap_or(1));
    let picked = product(&[x.shape[0], x.shape[length_at]])?;
    let [batch, at] = [0, length_at].map(|axis| nest.write.0[axis].clone());
    for table in tables {
        let fact = cx.input(table)?;
        let (source, row) = match fact.shape[..] {
            [rows, width] if fact.is_constant() && (cx.optional(positions).is_some() || rows > picked) => {
                let shape = vec![picked, width];
                let row = combine(0, [(&batch, signed(x.shape[length_at])?), (&at, 1)])?;
                (Source::Rows { table, shape }, Some(vec![row]))
            }
            [of, length, _] if [of, length] == [x.shape[0], x.shape[length_at]] => {
                (Source::Input(table), Some(vec![batch.clone(), at.clone()]))
            }
            _ => (Source::Input(table), None),
        };
        let access = row.map(|row| Access([row, vec![column.clone()]].concat()));
        nest.reads.push(Read { source, access });
    }
    nest.reads.push(Read { source: Source::Input(positions), access: None });
    Ok(Lowered::new(vec![Fact::at_run_time(x.shape.clone(), x.element)], Form::Nest(nest)))
}

/// The index of an element's angle in its row of so many: a pair has one, in halves of a head.
fn angle(nest: &mut Nest, last: usize, count: u64) -> Affine {
    let &[(dim, _)] = &nest.write.0[last].terms[..] else { return Affine::constant(0) };
    let size = nest.dims[dim.index()].size;
    match nest.cut(dim, count.max(1)).filter(|_| count > 1 && size > count && size.is_multiple_of(count)) {
        Some(cut) => {
            *nest = cut;
            Affine::dim(DimId::from(nest.dims.len() - 1))
        }
        None => Affine::dim(dim),
    }
}
