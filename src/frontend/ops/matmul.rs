//! Matrix products.

use super::context::{Context, Refusal, shown};
use super::nest::Nest;
use super::{Form, Lowered, pointwise};
use crate::frontend::fact::{ElementType, Fact};
use crate::frontend::view::{self, compose};
use crate::ir::{Access, Affine, Role};

/// MatMul: the last two dimensions multiply; those before are broadcast. One that both operands have is a group, one
/// of the first alone more rows, one of the second alone more columns.
pub(super) fn matmul(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    multiply(cx, [0, 1], cx.input(0)?.element)
}

/// MatMulInteger: whole numbers, summed in 32 bits.
pub(super) fn matmul_integer(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    multiply(cx, [0, 1], ElementType::Int(32))
}

/// QLinearMatMul: each operand with a scale and a zero point behind it.
pub(super) fn quantized(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    multiply(cx, [0, 3], cx.input(7)?.element)
}

/// The product of two inputs.
pub(super) fn multiply(cx: &Context<'_>, operands: [usize; 2], element: ElementType) -> Result<Lowered, Refusal> {
    let (a, b) = (cx.input(operands[0])?, cx.input(operands[1])?);
    let misfit =
        || Refusal::new(format!("has inputs {} and {}, which do not multiply", shown(&a.shape), shown(&b.shape)));
    // A vector is a matrix of one row, or of one column, and the result has no such dimension.
    let (a_outer, m, k) = match a.shape[..] {
        [] => return Err(misfit()),
        [k] => (&[][..], None, k),
        [ref outer @ .., m, k] => (outer, Some(m), k),
    };
    let (b_outer, n) = match b.shape[..] {
        [] => return Err(misfit()),
        [b_k] if b_k == k => (&[][..], None),
        [ref outer @ .., b_k, n] if b_k == k => (outer, Some(n)),
        [..] => return Err(misfit()),
    };
    let outer = pointwise::broadcast_shapes(&[a_outer, b_outer]).ok_or_else(misfit)?;

    let mut nest = Nest::product();
    let mut outer_access = Vec::new();
    for (i, (&size, name)) in outer.iter().zip(outer_names(outer.len())).enumerate() {
        let has = |shape: &[u64]| (i + shape.len()).checked_sub(outer.len()).is_some_and(|i| shape[i] != 1);
        let role = match (has(a_outer), has(b_outer)) {
            (true, true) => Role::Group,
            (false, true) => Role::N,
            (true, false) | (false, false) => Role::M,
        };
        outer_access.push(nest.dim(&name, size, role));
    }
    let outer_access = Access(outer_access);
    let row = m.map(|m| nest.kept("m", m, Role::M));
    let column = n.map(|n| nest.kept("n", n, Role::N));
    let inner = nest.kept("k", k, Role::K);

    let access = |shape: &[u64], last: Vec<Affine>| -> Result<Access, Refusal> {
        let broadcast = compose(&view::broadcast(shape, &outer), &outer_access)?;
        Ok(Access([broadcast.0, last].concat()))
    };
    nest.read(operands[0], access(a_outer, row.iter().chain([&inner]).cloned().collect())?);
    nest.read(operands[1], access(b_outer, [&inner].into_iter().chain(&column).cloned().collect())?);
    nest.write = access(&outer, row.into_iter().chain(column).collect())?;
    let shape = outer.into_iter().chain(m).chain(n).collect();
    Ok(Lowered::new(vec![Fact::at_run_time(shape, element)], Form::Nest(nest)))
}

/// The product of the first two inputs, the last two dimensions of either turned round.
pub(super) fn turned(cx: &Context<'_>, is_turned: [bool; 2]) -> Result<Lowered, Refusal> {
    let facts = [cx.input(0)?, cx.input(1)?];
    let mut swapped = facts.map(Fact::clone);
    for (fact, _) in swapped.iter_mut().zip(is_turned).filter(|(fact, is_turned)| *is_turned && fact.rank() > 1) {
        let last = fact.rank() - 1;
        fact.shape.swap(last - 1, last);
    }
    let [a, b] = &swapped;
    let mut lowered = multiply(&cx.with(vec![Some(a), Some(b)]), [0, 1], a.element)?;
    if let Form::Nest(nest) = &mut lowered.form {
        for (read, _) in nest.reads.iter_mut().zip(is_turned).filter(|&(_, is_turned)| is_turned) {
            if let Some(access) = read.access.as_mut().filter(|access| access.0.len() > 1) {
                let last = access.0.len() - 1;
                access.0.swap(last - 1, last);
            }
        }
    }
    Ok(lowered)
}

/// Gemm: matrices, either of them transposed, and what is added.
pub(super) fn gemm(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    general(cx, [0, 1, 2], cx.input(0)?.element)
}

/// The product of two inputs and, where it is there, a third that is added.
pub(super) fn general(cx: &Context<'_>, operands: [usize; 3], element: ElementType) -> Result<Lowered, Refusal> {
    let (a, b) = (cx.input(operands[0])?, cx.input(operands[1])?);
    let (a_transposed, b_transposed) = (cx.flag("transA", false)?, cx.flag("transB", false)?);
    let misfit =
        || Refusal::new(format!("has inputs {} and {}, which do not multiply", shown(&a.shape), shown(&b.shape)));
    let (&[a0, a1], &[b0, b1]) = (&a.shape[..], &b.shape[..]) else { return Err(misfit()) };
    let (m, k) = if a_transposed { (a1, a0) } else { (a0, a1) };
    let (b_k, n) = if b_transposed { (b1, b0) } else { (b0, b1) };
    if k != b_k {
        return Err(misfit());
    }

    let mut nest = Nest::product();
    let row = nest.kept("m", m, Role::M);
    let column = nest.kept("n", n, Role::N);
    let inner = nest.kept("k", k, Role::K);
    let pair = |first: &Affine, second: &Affine, transposed: bool| {
        let (first, second) = if transposed { (second, first) } else { (first, second) };
        Access(vec![first.clone(), second.clone()])
    };
    nest.read(operands[0], pair(&row, &inner, a_transposed));
    nest.read(operands[1], pair(&inner, &column, b_transposed));
    nest.write = pair(&row, &column, false);
    if let Some(c) = cx.optional(operands[2]) {
        if pointwise::broadcast_shapes(&[&c.shape, &[m, n]]).as_deref() != Some(&[m, n]) {
            return Err(Refusal::new(format!("adds {}, which does not fit its output {m}×{n}", shown(&c.shape))));
        }
        let access = compose(&view::broadcast(&c.shape, &[m, n]), &nest.write)?;
        nest.read(operands[2], access);
    }
    Ok(Lowered::new(vec![Fact::at_run_time(vec![m, n], element)], Form::Nest(nest)))
}

/// What the dimensions before a matrix are called: a batch, and in it heads.
fn outer_names(count: usize) -> Vec<String> {
    match count {
        1 => vec!["batch".into()],
        2 => vec!["batch".into(), "head".into()],
        _ => (0..count).map(|i| format!("batch{i}")).collect(),
    }
}
