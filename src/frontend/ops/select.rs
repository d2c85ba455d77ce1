//! Operators that sort, pick the largest, or keep what a condition says: often of a size that only data says.

use std::collections::{BTreeMap, BTreeSet};

use super::context::{Context, Refusal, axis, product, shown};
use super::{Form, Lowered, lanes};
use crate::frontend::fact::{ElementType, Fact};

/// TopK: the `k` largest or smallest along an axis. A `k` that is computed is at most all of them.
pub(super) fn top_k(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let at = axis(cx.int("axis")?.unwrap_or(-1), x.rank())?;
    let given = match cx.optional(1) {
        None => Some(cx.needed_size("k")?),
        Some(k) => k.as_ints().and_then(|k| u64::try_from(*k.first()?).ok()),
    };
    let mut shape = x.shape.clone();
    shape[at] = given.unwrap_or_else(|| cx.bounded(shape[at]));
    if shape[at] > x.shape[at] {
        return Err(Refusal::new(format!("picks {} elements of {}", shape[at], shown(&x.shape))));
    }
    let outputs = vec![Fact::at_run_time(shape.clone(), x.element), Fact::at_run_time(shape, ElementType::Int(64))];
    // A tournament: each result is the last of as many comparisons as its place has binary digits.
    let rounds = u64::from(u64::BITS - x.shape[at].leading_zeros());
    let lowered = Lowered::by_row(cx, outputs, rounds.max(1), |i| i == at);
    Ok(match given {
        Some(_) => lowered,
        None => lowered.at_most("all elements of its axis"),
    })
}

/// Compress: those along an axis, or of all elements, for which a condition is true.
pub(super) fn compress(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let (x, condition) = (cx.input(0)?, cx.input(1)?);
    let at = cx.int("axis")?.map(|at| axis(at, x.rank())).transpose()?;
    let most = match at {
        Some(at) => x.shape[at],
        None => product(&x.shape)?,
    };
    let most = most.min(condition.elements().unwrap_or(u64::MAX));
    let count = condition.as_ints().map(|ints| ints.iter().filter(|&&int| int != 0).count() as u64);
    let mut shape = at.map_or_else(|| vec![0], |_| x.shape.clone());
    shape[at.unwrap_or(0)] = count.unwrap_or_else(|| cx.bounded(most));
    let lowered = Lowered::by_element(cx, vec![Fact::at_run_time(shape, x.element)], lanes::MOVE);
    Ok(match count {
        Some(_) => lowered,
        None => lowered.at_most("all elements are kept"),
    })
}

/// NonZero: the indices of elements that are not 0, a column each.
pub(super) fn non_zero(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let counted = x.as_ints().map(|ints| ints.iter().filter(|&&int| int != 0).count() as u64);
    let floats = || x.as_floats().map(|floats| floats.iter().filter(|&&float| float != 0.0).count() as u64);
    let count = counted.or_else(floats);
    let shape = vec![x.rank() as u64, count.map_or_else(|| product(&x.shape).map(|most| cx.bounded(most)), Ok)?];
    let lowered = Lowered::by_element(cx, vec![Fact::at_run_time(shape, ElementType::Int(64))], lanes::MOVE);
    Ok(match count {
        Some(_) => lowered,
        None => lowered.at_most("no element is 0"),
    })
}

/// Unique: each different element, or slice along an axis, once; then where it was first, which each element is, and
/// how many there are of it.
pub(super) fn unique(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let at = cx.int("axis")?.map(|at| axis(at, x.rank())).transpose()?;
    let all = match at {
        Some(at) => x.shape[at],
        None => product(&x.shape)?,
    };
    let ints = || Some(x.as_ints()?.iter().map(|int| int.cast_unsigned()).collect());
    let floats = || Some(x.as_floats()?.iter().map(|float| float.to_bits()).collect());
    let known = ints().or_else(floats).map(|elements: Vec<u64>| different(&elements, &x.shape, at));
    let count = known.unwrap_or_else(|| cx.bounded(all));
    let mut shape = at.map_or_else(|| vec![0], |_| x.shape.clone());
    shape[at.unwrap_or(0)] = count;
    let index = |size: u64| Fact::at_run_time(vec![size], ElementType::Int(64));
    let outputs = vec![Fact::at_run_time(shape, x.element), index(count), index(all), index(count)];
    let lowered = Lowered::by_row(cx, outputs, u64::from(u64::BITS - all.leading_zeros()).max(1), |_| true);
    Ok(match known {
        Some(_) => lowered,
        None => lowered.at_most("all elements differ"),
    })
}

/// How many elements differ, or slices along an axis.
fn different(elements: &[u64], shape: &[u64], at: Option<usize>) -> u64 {
    let within: u64 = at.map_or(1, |at| shape[at + 1..].iter().fold(1, |all, &size| all.saturating_mul(size)));
    let size = at.map_or(elements.len() as u64, |at| shape[at]);
    let mut slices: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (position, &element) in elements.iter().enumerate() {
        slices.entry(position as u64 / within % size).or_default().push(element);
    }
    match slices.len() {
        // Slices without elements are all alike.
        0 => size.min(1),
        _ => slices.into_values().collect::<BTreeSet<_>>().len() as u64,
    }
}

/// Size: how many elements there are.
pub(super) fn size(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let all = i64::try_from(product(&cx.input(0)?.shape)?).ok().map(|all| vec![all]);
    Ok(Lowered::new(vec![Fact::ints(Vec::new(), ElementType::Int(64), all)], Form::Constant))
}
