//! Operators that make constants, most of them for shapes.

use super::context::{Context, Refusal};
use super::{Form, Lowered};
use crate::frontend::constant;
use crate::frontend::fact::{ElementType, Fact, Known};

/// Constant: a tensor, or numbers, in one of many attributes.
pub(super) fn constant(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let ints = |shape: Vec<u64>, ints: &[i64]| Fact::ints(shape, ElementType::Int(64), Some(ints.to_vec()));
    let fact = if let Some(tensor) = cx.tensor("value")? {
        constant::fact_of(tensor).ok_or_else(|| Refusal::new("has a tensor whose shape or type is unknown"))?
    } else if let Some(int) = cx.int("value_int")? {
        ints(Vec::new(), &[int])
    } else if let Some(list) = cx.int_list("value_ints")? {
        ints(vec![list.len() as u64], list)
    } else if let Some(float) = cx.float("value_float")? {
        Fact::floats(Vec::new(), ElementType::Float(32), Some(vec![float.into()]))
    } else if let Some(list) = cx.float_list("value_floats")? {
        let floats = list.iter().map(|&float| float.into()).collect();
        Fact::floats(vec![list.len() as u64], ElementType::Float(32), Some(floats))
    } else if cx.has("value_string") {
        Fact::constant(Vec::new(), ElementType::Other)
    } else if let Some(length) = cx.list_length("value_strings") {
        Fact::constant(vec![length as u64], ElementType::Other)
    } else if let Some(shape) = cx.sparse("sparse_value")? {
        shape
    } else {
        return Err(Refusal::new("has no number or tensor of numbers"));
    };
    Ok(Lowered::new(vec![fact], Form::Constant))
}

/// Shape: the sizes of the input, or of some of its dimensions.
pub(super) fn shape(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let rank = i64::try_from(x.rank()).unwrap_or(i64::MAX);
    let bound = |given: i64| {
        let from_start = if given < 0 { given.saturating_add(rank) } else { given };
        usize::try_from(from_start.clamp(0, rank)).unwrap_or(0)
    };
    let (start, end) = (bound(cx.int("start")?.unwrap_or(0)), bound(cx.int("end")?.unwrap_or(rank)));
    let sizes = x.shape.get(start..end).unwrap_or_default();
    let ints = sizes.iter().map(|&size| i64::try_from(size).ok()).collect();
    let fact = Fact::ints(vec![sizes.len() as u64], ElementType::Int(64), ints);
    Ok(Lowered::new(vec![fact], Form::Constant))
}

/// ConstantOfShape: one number throughout, by default the float 0.
pub(super) fn constant_of_shape(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let sizes = cx.ints(0)?;
    let shape = sizes.iter().map(|&size| u64::try_from(size)).collect::<Result<Vec<_>, _>>();
    let shape = shape.map_err(|_| Refusal::new(format!("makes a tensor of shape {sizes:?}")))?;
    let fill = match cx.tensor("value")? {
        Some(tensor) => constant::fact_of(tensor).ok_or_else(|| Refusal::new("has a value of unknown type"))?,
        None => Fact::constant(vec![1], ElementType::Float(32)),
    };
    let mut fact = Fact::constant(shape, fill.element);
    let count = fact.elements().and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
    if let (Some(&[int]), 0..=constant::MOST_INTS) = (fill.as_ints(), count) {
        fact.known = Known::Ints(vec![int; count].into());
    }
    if let (Some(&[float]), 0..=constant::MOST_FLOATS) = (fill.as_floats(), count) {
        fact.known = Known::Floats(vec![float; count].into());
    }
    Ok(Lowered::new(vec![fact], Form::Constant))
}

/// Range: from a start to a limit in steps.
pub(super) fn range(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let element = cx.input(0)?.element;
    if let ElementType::Float(_) = element {
        return float_range(cx, element);
    }
    let (&[start], &[limit], &[step]) = (cx.ints(0)?, cx.ints(1)?, cx.ints(2)?) else {
        return Err(Refusal::new("needs three scalars"));
    };
    let room = if step > 0 { limit.checked_sub(start) } else { start.checked_sub(limit) };
    let room = room.ok_or_else(|| Refusal::new("has limits that are out of range"))?;
    let count = u64::try_from(room).unwrap_or(0).checked_div(step.unsigned_abs());
    let count = count.ok_or_else(|| Refusal::new("has a step of 0"))?;
    let count = count + u64::from(u64::try_from(room).unwrap_or(0) % step.unsigned_abs() != 0);
    let ints = || (0..count).map(|i| i64::try_from(i).ok()?.checked_mul(step)?.checked_add(start)).collect();
    let ints = if count <= constant::MOST_INTS as u64 { ints() } else { None };
    Ok(Lowered::new(vec![Fact::ints(vec![count], element, ints)], Form::Constant))
}

/// As many steps as lie before the limit.
#[expect(clippy::float_arithmetic, reason = "the operator's own arithmetic, which IEEE 754 says to the last bit")]
fn float_range(cx: &Context<'_>, element: ElementType) -> Result<Lowered, Refusal> {
    let known = |i: usize| cx.input(i).map(|fact| fact.as_floats().and_then(|floats| floats.first().copied()));
    let (Some(start), Some(limit), Some(step)) = (known(0)?, known(1)?, known(2)?) else {
        return Err(Refusal::dynamic("needs its start, limit and step before the model runs"));
    };
    match ((limit - start) / step).ceil() {
        count @ 0.0..1e15 => {
            let count = count as u64;
            let floats = || (0..count).map(|i| start + step * i as f64).collect();
            let floats = (count <= constant::MOST_FLOATS as u64).then(floats);
            Ok(Lowered::new(vec![Fact::floats(vec![count], element, floats)], Form::Constant))
        }
        _ => Ok(Lowered::new(vec![Fact::constant(vec![0], element)], Form::Constant)),
    }
}

/// EyeLike: ones on a diagonal, in the shape of the input.
pub(super) fn eye_like(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let element = cx.int("dtype")?.map_or(Ok(x.element), |dtype| cx.element(dtype))?;
    Ok(Lowered::new(vec![Fact::constant(x.shape.clone(), element)], Form::Constant))
}
