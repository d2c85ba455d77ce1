//! Operators that pick by index.

use super::context::{Context, Refusal, axis, signed};
use super::nest::{Nest, Read, Source};
use super::{Form, Lowered, View, lanes, movement};
use crate::frontend::arithmetic::Number;
use crate::frontend::constant;
use crate::frontend::fact::{Fact, elements};
use crate::frontend::view;
use crate::ir::{Access, Affine, DimId};

/// Gather: evenly spaced indices that are known are a view; a table's rows picked at run time are loaded; else the
/// indices move the data.
pub(super) fn gather(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let (data, indices) = (cx.input(0)?, cx.input(1)?);
    let at = axis(cx.int("axis")?.unwrap_or(0), data.rank())?;
    let shape = [&data.shape[..at], &indices.shape[..], &data.shape[at + 1..]].concat();
    if let Some((first, step)) = indices.as_ints().and_then(|ints| run(ints, data.shape[at])) {
        let map = spaced(first, step, &indices.shape, at, data.rank())?;
        return Ok(movement::viewed(cx, data, vec![(shape, View { read: Some(map), write: None })]));
    }
    let fact = match picked(data, indices, at) {
        Some(ints) => Fact::ints(shape, data.element, Some(ints)),
        None => Fact::at_run_time(shape, data.element),
    };
    let mut nest = Nest::vector(lanes::MOVE);
    nest.write = nest.axes(&fact.shape, |_| false);
    let chosen = Access(nest.write.0[at..at + indices.rank()].to_vec());
    let mut lowered = if data.is_constant() && at == 0 {
        let count = indices.elements().unwrap_or(0);
        let row = view::combine(0, chosen.0.iter().zip(row_major(&indices.shape)?))?;
        let access = Access([vec![row], nest.write.0[indices.rank()..].to_vec()].concat());
        let source = Source::Rows { table: 0, shape: [&[count], &data.shape[1..]].concat() };
        nest.reads.push(Read { source, access: Some(access) });
        let warning = format!("which rows is known only at run time; costed as one load of its {count} rows");
        Lowered::new(vec![fact], Form::Constant).warned(warning)
    } else {
        nest.reads.push(Read { source: Source::Input(0), access: None });
        Lowered::new(vec![fact], Form::Constant)
    };
    nest.read(1, chosen);
    lowered.form = Form::Nest(nest);
    Ok(lowered)
}

/// OneHot: each index becomes a vector.
pub(super) fn one_hot(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let indices = cx.input(0)?;
    let depth = match cx.input(1)?.as_floats() {
        Some(floats) => floats.first().and_then(|&depth| Number::Float(depth).whole()),
        None => cx.ints(1)?.first().copied(),
    };
    let depth = depth.and_then(|depth| u64::try_from(depth).ok());
    let depth = depth.ok_or_else(|| Refusal::new("has no sound depth"))?;
    let at = axis(cx.int("axis")?.unwrap_or(-1), indices.rank() + 1)?;
    let mut shape = indices.shape.clone();
    shape.insert(at, depth);
    let mut nest = Nest::vector(lanes::MOVE);
    nest.write = nest.axes(&shape, |_| false);
    let mut access = nest.write.clone();
    access.0.remove(at);
    nest.read(0, access);
    Ok(Lowered::new(vec![Fact::at_run_time(shape, cx.input(2)?.element)], Form::Nest(nest)))
}

/// The first index and the step of indices that are evenly spaced, negative ones counted from the end.
fn run(indices: &[i64], size: u64) -> Option<(i64, i64)> {
    let size = i64::try_from(size).ok()?;
    let from_start = |index: i64| if index < 0 { index.saturating_add(size) } else { index };
    let first = from_start(*indices.first()?);
    let step = indices.get(1).map_or(0, |&second| from_start(second).saturating_sub(first));
    let is_even = indices.windows(2).all(|pair| from_start(pair[1]).saturating_sub(from_start(pair[0])) == step);
    let is_inside = indices.iter().all(|&index| (0..size).contains(&from_start(index)));
    (is_even && is_inside).then_some((first, step))
}

/// The data's index as a function of the output's, where the indices are evenly spaced.
fn spaced(first: i64, step: i64, indices: &[u64], at: usize, rank: usize) -> Result<Access, Refusal> {
    let dim = |i: usize| Affine::dim(DimId::from(i));
    let chosen: Vec<_> = (at..at + indices.len()).map(dim).collect();
    let position = view::combine(0, chosen.iter().zip(row_major(indices)?))?;
    let index = |i: usize| match i.cmp(&at) {
        std::cmp::Ordering::Less => Ok(dim(i)),
        std::cmp::Ordering::Equal => view::combine(first, [(&position, step)]),
        std::cmp::Ordering::Greater => Ok(dim(i + indices.len() - 1)),
    };
    Ok(Access((0..rank).map(index).collect::<Result<_, _>>()?))
}

/// The distance of neighbours in each dimension.
fn row_major(shape: &[u64]) -> Result<Vec<i64>, Refusal> {
    (0..shape.len()).map(|i| signed(elements(&shape[i + 1..]).unwrap_or(u64::MAX))).collect()
}

/// The elements picked, where data and indices are known whole numbers.
fn picked(data: &Fact, indices: &Fact, at: usize) -> Option<Vec<i64>> {
    let (ints, indices) = (data.as_ints()?, indices.as_ints()?);
    let size = usize::try_from(data.shape[at]).ok()?;
    let inner = usize::try_from(elements(&data.shape[at + 1..])?).ok()?;
    let outer = usize::try_from(elements(&data.shape[..at])?).ok()?;
    let count = outer.checked_mul(indices.len())?.checked_mul(inner)?;
    if !(1..=constant::MOST_INTS).contains(&count) {
        return None;
    }
    let mut picked = Vec::new();
    for row in 0..outer {
        for &index in indices {
            let index = usize::try_from(if index < 0 { index + signed(data.shape[at]).ok()? } else { index }).ok()?;
            let first = (row * size + index).checked_mul(inner).filter(|_| index < size)?;
            picked.extend(ints.get(first..first + inner)?);
        }
    }
    Some(picked)
}
