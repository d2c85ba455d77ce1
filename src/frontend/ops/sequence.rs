//! Sequences of tensors whose number is known, and optionals. Shapes go through them; a sequence itself has no layout.

use super::context::{Context, Refusal, axis, shown, signed};
use super::{Form, Lowered, lanes, movement};
use crate::frontend::fact::{ElementType, Fact};

/// SequenceConstruct: the inputs, in order.
pub(super) fn construct(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let items = (0..cx.input_count()).map(|i| cx.input(i).map(item)).collect::<Result<_, _>>()?;
    Ok(made(cx, Fact::sequence(items)))
}

/// SequenceEmpty.
pub(super) fn empty(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    Ok(made(cx, Fact::sequence(Vec::new())))
}

/// SequenceInsert: one more, at the end or at a position.
pub(super) fn insert(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let mut items = items(cx)?.to_vec();
    let new = item(cx.input(1)?);
    let at = match cx.optional(2) {
        None => items.len(),
        // Where all are alike, it does not matter where.
        Some(at) if at.as_ints().is_none() && items.iter().all(|known| *known == new) => items.len(),
        Some(_) => position(cx, 2, items.len() + 1)?,
    };
    items.insert(at, new);
    Ok(made(cx, Fact::sequence(items)))
}

/// SequenceErase: one less, the last or at a position.
pub(super) fn erase(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let mut items = items(cx)?.to_vec();
    let at = picked(cx, &items)?;
    items.remove(at);
    Ok(made(cx, Fact::sequence(items)))
}

/// SequenceAt: one of them.
pub(super) fn at(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let items = items(cx)?;
    Ok(made(cx, items[picked(cx, items)?].clone()))
}

/// SequenceLength.
pub(super) fn length(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let length = signed(items(cx)?.len() as u64)?;
    Ok(Lowered::new(vec![Fact::ints(Vec::new(), ElementType::Int(64), Some(vec![length]))], Form::Constant))
}

/// SplitToSequence: parts along an axis, of one size, of sizes given, or of size 1 without the axis.
pub(super) fn split(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let at = axis(cx.int("axis")?.unwrap_or(0), x.rank())?;
    let size = x.shape[at];
    let sizes = match cx.optional(1) {
        None => vec![1; usize::try_from(size).ok().filter(|&size| size <= MOST_ITEMS).ok_or_else(too_many)?],
        Some(parts) if parts.rank() == 0 => chunks(size, cx.sizes(1)?.first().copied().unwrap_or(0))?,
        Some(_) => cx.sizes(1)?,
    };
    if sizes.iter().try_fold(0u64, |sum, &part| sum.checked_add(part)) != Some(size) {
        return Err(Refusal::new(format!("splits {} along axis {at} into parts {sizes:?}", shown(&x.shape))));
    }
    let keeps = cx.optional(1).is_some() || cx.flag("keepdims", true)?;
    let part = |part: u64| {
        let mut shape = x.shape.clone();
        shape[at] = part;
        if !keeps {
            shape.remove(at);
        }
        Fact::at_run_time(shape, x.element)
    };
    Ok(made(cx, Fact::sequence(sizes.into_iter().map(part).collect())))
}

/// ConcatFromSequence: side by side along an axis, or along a new one.
pub(super) fn concat(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let items = items(cx)?;
    let is_new = cx.flag("new_axis", false)?;
    let first = items.first().ok_or_else(|| Refusal::new("puts nothing together"))?;
    let given = cx.int("axis")?.ok_or_else(|| Refusal::new("needs an attribute 'axis'"))?;
    let at = axis(given, first.rank() + usize::from(is_new))?;
    let mut shape = first.shape.clone();
    if is_new {
        shape.insert(at, items.len() as u64);
    } else {
        let size = |item: &Fact| item.shape.get(at).copied();
        let whole = items.iter().try_fold(0u64, |sum, item| sum.checked_add(size(item)?));
        shape[at] = whole.ok_or_else(|| Refusal::new("puts tensors of different ranks together"))?;
    }
    Ok(made(cx, Fact::at_run_time(shape, first.element)))
}

/// Optional and OptionalGetElement: an optional that is there is its element.
pub(super) fn optional(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    match x.as_sequence() {
        Some(_) => Ok(made(cx, x.clone())),
        None => movement::identity(cx),
    }
}

/// OptionalHasElement: known where there is nothing that could have one.
pub(super) fn has_element(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    Ok(match cx.optional(0) {
        None => Lowered::new(vec![Fact::ints(Vec::new(), ElementType::Bool, Some(vec![0]))], Form::Constant),
        Some(_) => Lowered::by_element(cx, vec![Fact::at_run_time(Vec::new(), ElementType::Bool)], lanes::MOVE),
    })
}

/// Sequences with more tensors are no network's.
const MOST_ITEMS: usize = 1 << 12;

fn items<'a>(cx: &Context<'a>) -> Result<&'a [Fact], Refusal> {
    cx.input(0)?.as_sequence().ok_or_else(|| Refusal::dynamic("needs a sequence whose length is known"))
}

/// What a sequence knows of a tensor.
fn item(fact: &Fact) -> Fact {
    Fact::at_run_time(fact.shape.clone(), fact.element)
}

fn made(cx: &Context<'_>, fact: Fact) -> Lowered {
    Lowered::by_element(cx, vec![fact], lanes::MOVE)
}

/// The position that input 1 says, by default the last; any, where all are alike.
fn picked(cx: &Context<'_>, items: &[Fact]) -> Result<usize, Refusal> {
    let last = items.len().checked_sub(1).ok_or_else(|| Refusal::new("takes a tensor out of an empty sequence"))?;
    match cx.optional(1) {
        None => Ok(last),
        Some(at) if at.as_ints().is_none() && items.iter().all(|item| *item == items[0]) => Ok(last),
        Some(_) => position(cx, 1, items.len()),
    }
}

fn position(cx: &Context<'_>, input: usize, end: usize) -> Result<usize, Refusal> {
    axis(cx.ints(input)?.first().copied().unwrap_or(0), end)
}

/// Parts of one size, the last the smaller.
fn chunks(size: u64, part: u64) -> Result<Vec<u64>, Refusal> {
    let whole = size.checked_div(part).ok_or_else(|| Refusal::new("has parts of size 0"))?;
    let whole = usize::try_from(whole).ok().filter(|&whole| whole <= MOST_ITEMS).ok_or_else(too_many)?;
    let rest = size % part;
    Ok(std::iter::repeat_n(part, whole).chain((rest > 0).then_some(rest)).collect())
}

fn too_many() -> Refusal {
    Refusal::new(format!("has a sequence of more than {MOST_ITEMS} tensors"))
}
