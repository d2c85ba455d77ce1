//! Operators that only move elements: each output is an input seen through an index map.

use super::context::{Context, Refusal, axes, axis, shown, signed};
use super::{Form, Lowered, Note, View, lanes, pointwise};
use crate::frontend::constant;
use crate::frontend::fact::{ElementType, Fact, Known, elements};
use crate::frontend::view;
use crate::ir::{Access, Affine, DimId};

/// Identity.
pub(super) fn identity(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    match x.as_sequence() {
        Some(_) => Ok(Lowered::new(vec![x.clone()], Form::Constant)),
        None => reshaped(cx, x.shape.clone()),
    }
}

/// Dropout, when a model is used rather than trained. Its mask is all true; before version 10 it had the input's type.
pub(super) fn dropout(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let mut lowered = reshaped(cx, x.shape.clone())?;
    let mask = if cx.opset < 10 { x.element } else { ElementType::Bool };
    lowered.outputs.push(Fact::constant(x.shape.clone(), mask));
    Ok(lowered)
}

/// Reshape: 0 keeps the input's size there, −1 takes what is left.
pub(super) fn reshape(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let target = if cx.opset < 5 { cx.int_list("shape")?.unwrap_or_default() } else { cx.ints(1)? };
    let keeps_zeros = cx.flag("allowzero", false)?;
    let misfit = || Refusal::new(format!("reshapes {} to {target:?}, which does not fit", shown(&x.shape)));
    let mut shape = Vec::with_capacity(target.len());
    let mut left = None;
    for (i, &size) in target.iter().enumerate() {
        shape.push(match size {
            0 if !keeps_zeros => *x.shape.get(i).ok_or_else(misfit)?,
            -1 if left.is_none() => {
                left = Some(i);
                1
            }
            _ => u64::try_from(size).map_err(|_| misfit())?,
        });
    }
    if let Some(i) = left {
        let given = elements(&shape).ok_or_else(misfit)?;
        shape[i] = x.elements().and_then(|all| all.checked_div(given)).ok_or_else(misfit)?;
    }
    if elements(&shape) != x.elements() {
        return Err(misfit());
    }
    reshaped(cx, shape)
}

/// Flatten: two dimensions, what is before the axis and what is not.
pub(super) fn flatten(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let given = cx.int("axis")?.unwrap_or(1);
    let at = if usize::try_from(given) == Ok(x.rank()) { x.rank() } else { axis(given, x.rank())? };
    let out_of_range = || Refusal::new("has sizes that are out of range");
    let (rows, columns) = x.shape.split_at(at);
    let shape = vec![elements(rows).ok_or_else(out_of_range)?, elements(columns).ok_or_else(out_of_range)?];
    reshaped(cx, shape)
}

/// Squeeze: dimensions of size 1 go, all of them or those named.
pub(super) fn squeeze(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let given = if cx.opset < 13 { cx.int_list("axes")? } else { cx.optional_ints(1)? };
    let gone = match given {
        Some(given) => axes(given, x.rank())?,
        None => (0..x.rank()).filter(|&i| x.shape[i] == 1).collect(),
    };
    if let Some(&i) = gone.iter().find(|&&i| x.shape[i] != 1) {
        return Err(Refusal::new(format!("takes out dimension {i} of {}, which is not 1", shown(&x.shape))));
    }
    reshaped(cx, (0..x.rank()).filter(|i| !gone.contains(i)).map(|i| x.shape[i]).collect())
}

/// Unsqueeze: dimensions of size 1 come in.
pub(super) fn unsqueeze(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let given = if cx.opset < 13 { cx.int_list("axes")?.unwrap_or_default() } else { cx.ints(1)? };
    let rank = x.rank() + given.len();
    let new = axes(given, rank)?;
    if new.len() != given.len() {
        return Err(Refusal::new("puts in the same dimension twice"));
    }
    let mut old = x.shape.iter().copied();
    let shape = (0..rank).map(|i| if new.contains(&i) { 1 } else { old.next().unwrap_or(1) }).collect();
    reshaped(cx, shape)
}

/// Transpose; without a permutation all dimensions are turned round.
pub(super) fn transpose(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let permutation = match cx.int_list("perm")? {
        Some(given) => given.iter().map(|&one| axis(one, x.rank())).collect::<Result<_, _>>()?,
        None => (0..x.rank()).rev().collect::<Vec<_>>(),
    };
    let mut sorted = permutation.clone();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..x.rank()) {
        return Err(Refusal::new(format!("has a 'perm' that is no permutation of {} dimensions", x.rank())));
    }
    let shape = permutation.iter().map(|&i| x.shape[i]).collect();
    let view = View { read: Some(view::transpose(&permutation)), write: Some(view::transpose_back(&permutation)) };
    Ok(viewed(cx, x, vec![(shape, view)]))
}

/// Slice: starts, ends, axes and steps, as inputs since version 10.
pub(super) fn slice(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    if cx.opset >= 10
        && (1..cx.input_count()).any(|input| cx.optional(input).is_some_and(|fact| fact.as_ints().is_none()))
    {
        let fact = Fact::at_run_time(cx.bounded_shape(&x.shape), x.element);
        let lowered = Lowered::by_element(cx, vec![fact], lanes::MOVE);
        return Ok(Lowered { warning: Some(Note::BoundShape("all of what it slices")), ..lowered });
    }
    let (starts, ends, given_axes, steps) = match cx.opset < 10 {
        true => (cx.int_list("starts")?, cx.int_list("ends")?, cx.int_list("axes")?, None),
        false => (Some(cx.ints(1)?), Some(cx.ints(2)?), cx.optional_ints(3)?, cx.optional_ints(4)?),
    };
    let (starts, ends) = (starts.unwrap_or_default(), ends.unwrap_or_default());
    let uneven = || Refusal::new("has starts, ends, axes and steps that differ in number");
    let mut shape = x.shape.clone();
    let mut map = view::identity(x.rank());
    for (i, (&start, &end)) in starts.iter().zip(ends).enumerate() {
        let at = match given_axes {
            Some(given) => axis(*given.get(i).ok_or_else(uneven)?, x.rank())?,
            None if i < x.rank() => i,
            None => return Err(uneven()),
        };
        let step = steps.map_or(Ok(1), |steps| steps.get(i).copied().ok_or_else(uneven))?;
        let (first, count) = picked(start, end, step, signed(x.shape[at])?)?;
        shape[at] = count;
        map.0[at] = view::combine(first, [(&Affine::dim(DimId::from(at)), step)])?;
    }
    Ok(viewed(cx, x, vec![(shape, View { read: Some(map), write: None })]))
}

/// Split: parts along an axis, of given sizes or even ones (the last the smaller).
pub(super) fn split(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let at = axis(cx.int("axis")?.unwrap_or(0), x.rank())?;
    let size = x.shape[at];
    let given = if cx.opset < 13 { cx.int_list("split")? } else { cx.optional_ints(1)? };
    let sizes: Vec<u64> = match given {
        Some(given) => given.iter().map(|&part| u64::try_from(part).unwrap_or(u64::MAX)).collect(),
        None => {
            let parts = cx.output_count() as u64;
            let part = size.div_ceil(parts.max(1));
            (0..parts).map(|i| part.min(size.saturating_sub(part.saturating_mul(i)))).collect()
        }
    };
    let whole = sizes.iter().try_fold(0u64, |sum, &part| sum.checked_add(part));
    if whole != Some(size) || sizes.len() < cx.output_count() {
        return Err(Refusal::new(format!("splits {} along axis {at} into parts {sizes:?}", shown(&x.shape))));
    }
    let mut first = 0;
    let mut parts = Vec::new();
    for part in sizes {
        let mut shape = x.shape.clone();
        shape[at] = part;
        let mut map = view::identity(x.rank());
        map.0[at].offset = first;
        first += signed(part)?;
        parts.push((shape, View { read: Some(map), write: None }));
    }
    Ok(viewed(cx, x, parts))
}

/// Expand: broadcasting as an operator.
pub(super) fn expand(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let target = cx.ints(1)?;
    let misfit = || Refusal::new(format!("expands {} to {target:?}", shown(&x.shape)));
    let to = target.iter().map(|&size| u64::try_from(size).map_err(|_| misfit())).collect::<Result<Vec<_>, _>>()?;
    let shape = pointwise::broadcast_shapes(&[&x.shape, &to]).ok_or_else(misfit)?;
    let view = View { read: Some(view::broadcast(&x.shape, &shape)), write: None };
    Ok(viewed(cx, x, vec![(shape, view)]))
}

/// Concat: the inputs side by side.
pub(super) fn concat(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let first = cx.input(0)?;
    let at = axis(cx.int("axis")?.ok_or_else(|| Refusal::new("needs an attribute 'axis'"))?, first.rank())?;
    let mut shape = first.shape.clone();
    shape[at] = 0;
    for i in 0..cx.input_count() {
        let part = &cx.input(i)?.shape;
        let fits = part.len() == shape.len() && (0..shape.len()).all(|d| d == at || part[d] == shape[d]);
        if !fits {
            let (part, first) = (shown(part), shown(&first.shape));
            return Err(Refusal::new(format!("puts {part} beside {first} along axis {at}, which does not fit")));
        }
        shape[at] = shape[at].checked_add(part[at]).ok_or_else(|| Refusal::new("has sizes that are out of range"))?;
    }
    let known = match first.known {
        Known::Ints(_) => joined(cx, at, Fact::as_ints).map(|ints| Known::Ints(ints.into())),
        Known::Floats(_) => joined(cx, at, Fact::as_floats).map(|floats| Known::Floats(floats.into())),
        Known::AtRunTime | Known::Constant | Known::Narrow(_) | Known::Sequence(_) => None,
    };
    let fact = Fact { shape, element: first.element, known: known.unwrap_or(Known::AtRunTime) };
    Ok(Lowered::new(vec![fact], Form::Concat { axis: at }))
}

/// The first output is the first input in another shape of as many elements, in the same order.
pub(super) fn reshaped(cx: &Context<'_>, shape: Vec<u64>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let view = View { read: view::reshape(&x.shape, &shape), write: view::reshape(&shape, &x.shape) };
    let fact = Fact { shape, element: x.element, known: x.known.clone() };
    Ok(Lowered::new(vec![fact], Form::Views(vec![view])))
}

/// Each output is `x` seen through a map.
pub(super) fn viewed(cx: &Context<'_>, x: &Fact, parts: Vec<(Vec<u64>, View)>) -> Lowered {
    let (mut outputs, mut views) = (Vec::new(), Vec::new());
    for (shape, view) in parts.into_iter().take(cx.output_count().max(1)) {
        outputs.push(constant::seen(view.read.as_ref(), shape, x));
        views.push(view);
    }
    Lowered::new(outputs, Form::Views(views))
}

/// The first index and the number of indices that a slice picks of `size`.
fn picked(start: i64, end: i64, step: i64, size: i64) -> Result<(i64, u64), Refusal> {
    if step == 0 {
        return Err(Refusal::new("has a step of 0"));
    }
    if size == 0 {
        return Ok((0, 0));
    }
    let from_start = |index: i64| if index < 0 { index.saturating_add(size) } else { index };
    let (low, high) = if step > 0 { (0, size) } else { (-1, size - 1) };
    let first = from_start(start).clamp(low.max(0), high.max(0));
    let last = from_start(end).clamp(low, high.max(low));
    let room = if step > 0 { last - first } else { first - last };
    let count = u64::try_from(room).map_or(0, |room| room.div_ceil(step.unsigned_abs()));
    Ok((first, count))
}

/// The elements of a concatenation of known numbers.
fn joined<T: Copy>(cx: &Context<'_>, at: usize, all: fn(&Fact) -> Option<&[T]>) -> Option<Vec<T>> {
    let facts = (0..cx.input_count()).map(|i| cx.optional(i)).collect::<Option<Vec<_>>>()?;
    let rows = usize::try_from(elements(&facts.first()?.shape[..at])?).ok()?;
    let parts = facts.iter().map(|fact| all(fact)).collect::<Option<Vec<_>>>()?;
    let total: usize = parts.iter().map(|part| part.len()).sum();
    if !(1..=constant::MOST_INTS).contains(&total) {
        return None;
    }
    let mut joined = Vec::with_capacity(total);
    for row in 0..rows {
        for part in &parts {
            let width = part.len() / rows;
            joined.extend(&part[row * width..(row + 1) * width]);
        }
    }
    Some(joined)
}

/// The part of a concatenation that begins at `first`: its index as a function of the input's.
pub(in super::super) fn shifted(rank: usize, at: usize, first: i64) -> Access {
    let mut map = view::identity(rank);
    map.0[at].offset = first;
    map
}
