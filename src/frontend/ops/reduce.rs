//! Operators that reduce whole axes, or that run along one.

use super::context::{Context, Refusal, axes, axis};
use super::nest::Nest;
use super::{Form, Lowered, lanes};
use crate::frontend::fact::{ElementType, Fact, Known, elements};
use crate::frontend::{arithmetic, constant, view};
use crate::ir::{Access, Affine};

/// ReduceMean, ReduceSum, and all of their kind: the axes are an input since version 18, of ReduceSum since 13.
pub(super) fn reduce(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let input_since = if cx.op() == "ReduceSum" { 13 } else { 18 };
    let given = if cx.opset < input_since { cx.int_list("axes")? } else { cx.optional_ints(1)? };
    let reduced = match given {
        Some(given) if !given.is_empty() => axes(given, x.rank())?,
        Some(_) | None if cx.flag("noop_with_empty_axes", false)? => Vec::new(),
        Some(_) | None => (0..x.rank()).collect(),
    };
    over(cx, &reduced, x.element)
}

/// ArgMax, ArgMin: where along an axis.
pub(super) fn arg(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let at = axis(cx.int("axis")?.unwrap_or(0), cx.input(0)?.rank())?;
    over(cx, &[at], ElementType::Int(64))
}

/// CumSum, CumProd: the axis, which only the data says, may be any, so that none is cut.
pub(super) fn running(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let at = match cx.optional(1).and_then(Fact::as_ints) {
        Some(&[at]) => Some(axis(at, x.rank())?),
        Some(_) | None => None,
    };
    let outputs = vec![Fact::at_run_time(x.shape.clone(), x.element)];
    Ok(Lowered::by_row(cx, outputs, lanes::REDUCE, |i| at.is_none_or(|at| i == at)))
}

/// The nest that has all axes of the input, of which some are reduced.
fn over(cx: &Context<'_>, reduced: &[usize], element: ElementType) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let keeps = cx.flag("keepdims", true)?;
    let mut nest = Nest::vector(lanes::of(cx.op()));
    let access = nest.axes(&x.shape, |i| reduced.contains(&i));
    let (mut shape, mut write) = (Vec::new(), Vec::new());
    for (i, index) in access.0.iter().enumerate() {
        match reduced.contains(&i) {
            false => {
                shape.push(x.shape[i]);
                write.push(index.clone());
            }
            true if keeps => {
                shape.push(1);
                write.push(Affine::constant(0));
            }
            true => {}
        }
    }
    nest.read(0, access);
    nest.write = Access(write);
    let known = fold(cx.op(), x, &shape, reduced).unwrap_or(Known::AtRunTime);
    let fact = Fact { shape, element, known };
    Ok(Lowered::new(vec![fact], Form::Nest(nest)))
}

/// What is known of the results of known numbers.
fn fold(op: &str, x: &Fact, shape: &[u64], reduced: &[usize]) -> Option<Known> {
    let combined = match op {
        "ReduceSum" => "Add",
        "ReduceProd" => "Mul",
        "ReduceMax" => "Max",
        "ReduceMin" => "Min",
        _ => return None,
    };
    // The reduced axes last, so that each result's elements lie behind each other.
    let kept = (0..x.rank()).filter(|i| !reduced.contains(i));
    let order: Vec<usize> = kept.chain(reduced.iter().copied()).collect();
    let turned: Vec<u64> = order.iter().map(|&i| x.shape[i]).collect();
    let row = usize::try_from(elements(&turned[x.rank() - reduced.len()..])?).ok()?;
    let rows = usize::try_from(elements(shape)?).ok()?;
    let all = constant::seen(Some(&view::transpose(&order)), turned, x);
    let result = |of: usize| {
        let mut numbers = (of * row..(of + 1) * row).map(|i| arithmetic::element(&all, i));
        let first = numbers.next()??;
        numbers.try_fold(first, |sum, number| arithmetic::pointwise(combined, &[sum, number?])?.narrowed(x.element))
    };
    arithmetic::known((0..rows).map(result), shape, x.element)
}
