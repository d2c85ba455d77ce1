//! Sequences of tensors whose number is known, and optionals. A sequence has no layout: it is a list of values, and what
//! is taken out of it is one of those.

use super::body::Body;
use super::context::{Context, Refusal, axis, shown, signed};
use super::{Form, Lowered, Note, lanes, movement};
use crate::frontend::fact::{ElementType, Fact, Item};

/// SequenceConstruct: the inputs, in order.
pub(super) fn construct(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    Ok(listed((0..cx.input_count()).map(|i| item(cx, i)).collect::<Result<_, _>>()?))
}

/// SequenceEmpty.
pub(super) fn empty(_: &Context<'_>) -> Result<Lowered, Refusal> {
    Ok(listed(Vec::new()))
}

/// SequenceInsert: one more, at the end or at a position.
pub(super) fn insert(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let mut items = items(cx, 0)?.to_vec();
    let new = item(cx, 1)?;
    let is_unknown = is_unknown(cx, 2) && items.iter().all(|known| is_alike(known, &new));
    let at = if is_unknown || cx.optional(2).is_none() { items.len() } else { position(cx, 2, items.len() + 1)? };
    items.insert(at, new);
    Ok(if is_unknown { assumed(cx, items) } else { listed(items) })
}

/// SequenceErase: one less, the last or at a position.
pub(super) fn erase(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let mut items = items(cx, 0)?.to_vec();
    let is_unknown = is_unknown(cx, 1) && items.iter().all(|known| is_alike(known, &items[0]));
    let at = if is_unknown || cx.optional(1).is_none() { last(&items)? } else { position(cx, 1, items.len())? };
    items.remove(at);
    Ok(if is_unknown { assumed(cx, items) } else { listed(items) })
}

/// SequenceAt: one of them; of those that are alike, one that only data says.
pub(super) fn at(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let items = items(cx, 0)?;
    let is_unknown = is_unknown(cx, 1) && items.iter().all(|known| is_alike(known, &items[0]));
    let mut body = Body::new(cx.input_count());
    let (fact, one) = if is_unknown {
        let fact = &items[last(items)?].fact;
        let row = [&[1], &fact.shape[..]].concat();
        let rows: Vec<_> = items.iter().map(|item| body.other(item.value)).collect();
        let rows: Vec<_> = rows.iter().map(|row_of| body.reshape(row_of, &row)).collect();
        let all = body.concat(&rows.iter().collect::<Vec<_>>(), 0);
        (Fact::at_run_time(fact.shape.clone(), fact.element), body.node("Gather", &[&all, &Body::input(1)], Vec::new()))
    } else {
        let Item { value, fact } = &items[position(cx, 1, items.len())?];
        (fact.clone(), body.other(*value))
    };
    body.output(&one);
    Ok(Lowered::by_element(cx, vec![fact], lanes::MOVE).within(body))
}

/// SequenceLength.
pub(super) fn length(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let length = signed(items(cx, 0)?.len() as u64)?;
    Ok(Lowered::new(vec![Fact::ints(Vec::new(), ElementType::Int(64), Some(vec![length]))], Form::Constant))
}

/// SplitToSequence: parts along an axis, of one size, of sizes given, or of size 1 without the axis. They are values once
/// the body is in place.
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
    // The standard keeps the axis whatever `keepdims` says; ONNX Runtime does not where the number 1 is given, as PyTorch's
    // exporter writes `unbind`.
    let is_by_one = |parts: &Fact| parts.rank() == 0 && parts.as_ints() == Some(&[1]);
    let keeps = !cx.optional(1).is_none_or(is_by_one) || cx.flag("keepdims", true)?;
    let (mut body, mut from, mut parts) = (Body::new(cx.input_count()), 0, Vec::new());
    for size in sizes {
        let mut part = body.slice_along(&Body::input(0), signed(at as u64)?, from, from + size);
        if !keeps {
            part = body.reshape(&part, &[&x.shape[..at], &x.shape[at + 1..]].concat());
        }
        parts.push(part);
        from += size;
    }
    let all = body.node("SequenceConstruct", &parts.iter().collect::<Vec<_>>(), Vec::new());
    body.output(&all);
    Ok(Lowered::new(Vec::new(), Form::Constant).within(body))
}

/// ConcatFromSequence: side by side along an axis, or along a new one.
pub(super) fn concat(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let items = items(cx, 0)?;
    let is_new = cx.flag("new_axis", false)?;
    let first = &items.first().ok_or_else(|| Refusal::new("puts nothing together"))?.fact;
    let given = cx.int("axis")?.ok_or_else(|| Refusal::new("needs an attribute 'axis'"))?;
    let at = axis(given, first.rank() + usize::from(is_new))?;
    let (mut body, mut parts, mut all) = (Body::new(cx.input_count()), Vec::new(), Some(0u64));
    for Item { value, fact } in items {
        let (mut part, mut shape) = (body.other(*value), fact.shape.clone());
        if is_new && at <= shape.len() {
            shape.insert(at, 1);
            part = body.reshape(&part, &shape);
        }
        all = all.and_then(|all| all.checked_add(*shape.get(at)?));
        parts.push(part);
    }
    let joined = body.concat(&parts.iter().collect::<Vec<_>>(), signed(at as u64)?);
    body.output(&joined);
    let mut shape = first.shape.clone();
    let all = all.ok_or_else(|| Refusal::new("puts tensors of different ranks together"))?;
    match is_new {
        true => shape.insert(at, all),
        false => shape[at] = all,
    }
    Ok(Lowered::by_element(cx, vec![Fact::at_run_time(shape, first.element)], lanes::MOVE).within(body))
}

/// Optional and OptionalGetElement: an optional that is there is its element.
pub(super) fn optional(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    movement::identity(cx)
}

/// OptionalHasElement: known where there is nothing that could have one.
pub(super) fn has_element(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    Ok(match cx.optional(0) {
        None => Lowered::new(vec![Fact::ints(Vec::new(), ElementType::Bool, Some(vec![0]))], Form::Constant),
        Some(_) => Lowered::by_element(cx, vec![Fact::at_run_time(Vec::new(), ElementType::Bool)], lanes::MOVE),
    })
}

/// Sequences with more tensors are no network's.
pub(in super::super) const MOST_ITEMS: usize = 1 << 12;

/// A sequence, which is no work.
fn listed(items: Vec<Item>) -> Lowered {
    Lowered::new(vec![Fact::sequence(items)], Form::Constant)
}

/// A sequence of which only data says where one was put or taken; it is said once, for the body has no position.
fn assumed(cx: &Context<'_>, items: Vec<Item>) -> Lowered {
    let mut body = Body::new(cx.input_count());
    let values: Vec<_> = items.iter().map(|item| body.other(item.value)).collect();
    let all = body.node("SequenceConstruct", &values.iter().collect::<Vec<_>>(), Vec::new());
    body.output(&all);
    let what = "has a position that only data says; the end is taken";
    Lowered { warning: Some(Note::Size(what.to_owned())), ..listed(items).within(body) }
}

fn items<'a>(cx: &Context<'a>, input: usize) -> Result<&'a [Item], Refusal> {
    cx.input(input)?.as_sequence().ok_or_else(|| Refusal::dynamic("needs a sequence whose length is known"))
}

/// An input as a tensor of a sequence.
fn item(cx: &Context<'_>, input: usize) -> Result<Item, Refusal> {
    let fact = cx.input(input)?.clone();
    match (cx.value(input), fact.as_sequence()) {
        (Some(value), None) => Ok(Item { value, fact }),
        (_, _) => Err(Refusal::new("makes a sequence of sequences")),
    }
}

fn is_alike(a: &Item, b: &Item) -> bool {
    (&a.fact.shape, a.fact.element) == (&b.fact.shape, b.fact.element)
}

/// Whether an input is there, and only the data say what it holds.
fn is_unknown(cx: &Context<'_>, input: usize) -> bool {
    cx.optional(input).is_some_and(|fact| fact.as_ints().is_none())
}

fn last(items: &[Item]) -> Result<usize, Refusal> {
    items.len().checked_sub(1).ok_or_else(|| Refusal::new("takes a tensor out of an empty sequence"))
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
