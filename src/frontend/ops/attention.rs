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
    if cx.output_count() > 3 {
        return Ok(lowered);
    }
    let mut body = Body::new(cx.input_count());
    let parts = Parts {
        q: q.split(&mut body, &Body::input(0), x.rank()),
        k: k.split(&mut body, &Body::input(1), cx.input(1)?.rank()),
        v: v.split(&mut body, &Body::input(2), cx.input(2)?.rank()),
        past: cx.optional(4).zip(cx.optional(5)).map(|_| [4, 5]),
        mask: Some(3),
    };
    Ok(match parts.attend(cx, &mut body, &[&q, &k, &v], x.rank() == 3) {
        Some(()) if cx.has("score_mod") || cx.has("prob_mod") => {
            lowered.within(body).warned("has graphs for its scores, of which nothing is counted")
        }
        Some(()) => lowered.within(body),
        None => lowered,
    })
}

/// Queries, keys and values of a body, each `[batch, heads, length, width]`.
pub(super) struct Parts {
    pub(super) q: Wire,
    pub(super) k: Wire,
    pub(super) v: Wire,
    /// The inputs with keys and values that are there already.
    pub(super) past: Option<[usize; 2]>,
    /// The input that is added to the scores, or says which count.
    pub(super) mask: Option<usize>,
}

impl Parts {
    /// The scores' product, softmax, and the product with the values. Queries that share keys and values are rows of one
    /// product. Softcap and the causal mask are part of what is done with each score, and are not counted.
    pub(super) fn attend(self, cx: &Context<'_>, body: &mut Body, heads: &[&Heads; 3], joins: bool) -> Option<()> {
        let [q, k, v] = *heads;
        let Self { q: queries, k: mut keys, v: mut values, past, mask } = self;
        let mut length = k.length;
        if let Some([past_keys, past_values]) = past {
            length = length.checked_add(*cx.optional(past_keys)?.shape.get(2)?)?;
            keys = body.concat(&[&Body::input(past_keys), &keys], 2);
            values = body.concat(&[&Body::input(past_values), &values], 2);
        }
        let shared = q.heads.checked_div(k.heads).filter(|shared| shared * k.heads == q.heads && v.heads == k.heads)?;
        let rows = shared.checked_mul(q.length)?;
        // Heads that share a key lie behind each other.
        let grouped = match shared {
            1 => queries,
            _ => body.reshape(&queries, &[q.batch, k.heads, rows, q.width]),
        };
        let turned = body.transpose(&keys, &[0, 1, 3, 2]);
        let products = body.node("MatMul", &[&grouped, &turned], Vec::new());
        let scale = body.number();
        let mut scores = body.node("Mul", &[&products, &scale], Vec::new());
        let shape = [q.batch, q.heads, q.length, length];
        if let Some((input, mask)) = mask.and_then(|input| Some((input, cx.optional(input)?))) {
            if pointwise::broadcast_shapes(&[&mask.shape, &shape]).as_deref() != Some(&shape) {
                return None;
            }
            let apart = if shared == 1 { scores } else { body.reshape(&scores, &shape) };
            let masked = if mask.element == ElementType::Bool {
                body.node("Where", &[&Body::input(input), &apart, &scale], Vec::new())
            } else {
                body.node("Add", &[&apart, &Body::input(input)], Vec::new())
            };
            scores = if shared == 1 { masked } else { body.reshape(&masked, &[q.batch, k.heads, rows, length]) };
        }
        let weights = body.softmax(&scores);
        let mut y = body.node("MatMul", &[&weights, &values], Vec::new());
        if shared != 1 {
            y = body.reshape(&y, &[q.batch, q.heads, q.length, v.width]);
        }
        if joins {
            let turned = body.transpose(&y, &[0, 2, 1, 3]);
            y = body.reshape(&turned, &[q.batch, q.length, q.heads.checked_mul(v.width)?]);
        }
        [y, keys, values].iter().take(cx.output_count()).for_each(|wire| body.output(wire));
        Some(())
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
    let outputs = vec![fact(vec![q.batch, q.length, q.heads.saturating_mul(v.width)]), state];
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
    let [batch, at] = [0, length_at].map(|axis| nest.write.0[axis].clone());
    for table in tables {
        let fact = cx.input(table)?;
        let (source, row) = match fact.shape[..] {
            [_, width] if fact.is_constant() && cx.optional(positions).is_some() => {
                let shape = vec![product(&[x.shape[0], x.shape[length_at]])?, width];
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
