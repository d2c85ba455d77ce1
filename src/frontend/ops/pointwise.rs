//! Pointwise operators: each element of the output needs one element of each input.

use super::context::{Context, Refusal, axis, shown};
use super::{Form, Lowered, Pointwise, PointwiseOperand, View, lanes};
use crate::frontend::arithmetic;
use crate::frontend::constant;
use crate::frontend::fact::{self, ElementType, Fact, Known};
use crate::frontend::view;
use crate::ir::{Access, Affine, DimId};

/// One input; what else there is (limits, slopes, seeds) are scalars.
pub(super) fn unary(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    lower(cx, &[0], x.shape.clone(), x.element)
}

/// Any number of inputs, broadcast; the first one's type.
pub(super) fn arithmetic(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let element = cx.input(0)?.element;
    broadcasting(cx, element)
}

/// Any number of inputs, broadcast; true or false.
pub(super) fn logic(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    broadcasting(cx, ElementType::Bool)
}

/// Where: a condition and two choices.
pub(super) fn choose(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let element = cx.input(1)?.element;
    broadcasting(cx, element)
}

/// Some of the inputs, broadcast; the first one's type.
pub(super) fn of(cx: &Context<'_>, inputs: &[usize]) -> Result<Lowered, Refusal> {
    let facts = inputs.iter().map(|&input| cx.input(input)).collect::<Result<Vec<_>, _>>()?;
    let shapes: Vec<_> = facts.iter().map(|fact| &fact.shape[..]).collect();
    let shape = broadcast_shapes(&shapes).ok_or_else(|| apart(&shapes))?;
    lower(cx, inputs, shape, facts[0].element)
}

/// One input, whose elements become ones of another type.
pub(super) fn typed(cx: &Context<'_>, element: ElementType) -> Result<Lowered, Refusal> {
    lower(cx, &[0], cx.input(0)?.shape.clone(), element)
}

/// One input; true or false for each element.
pub(super) fn test(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    typed(cx, ElementType::Bool)
}

/// CastLike: the type of the second input.
pub(super) fn cast_like(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    converted(cx, cx.input(1)?.element)
}

/// PRelu: slopes that broadcast; before version 7, and in files that keep to it, one for each channel.
pub(super) fn p_relu(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let (x, slope) = (cx.input(0)?, cx.input(1)?);
    let is_by_channel = slope.rank() == 1 && x.rank() > 2 && x.shape.get(1) == slope.shape.first();
    if cx.opset < 7 && is_by_channel { placed(cx, 1, x.element) } else { broadcasting(cx, x.element) }
}

/// Cast: one input, another type.
pub(super) fn cast(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let to = cx.int("to")?.ok_or_else(|| Refusal::new("needs an attribute 'to'"))?;
    converted(cx, cx.element(to)?)
}

/// One input as another type; to a type of its width and kind it is the same bits.
fn converted(cx: &Context<'_>, element: ElementType) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    if element == x.element && element != ElementType::Other {
        return Ok(Lowered::new(vec![x.clone()], Form::Views(vec![View::same(x.rank())])));
    }
    let mut lowered = typed(cx, element)?;
    // A weight that is stored narrow is not made wide for the type that it is computed in.
    if let (Known::Narrow(bits), [fact]) = (&x.known, &mut lowered.outputs[..]) {
        fact.known = Known::Narrow(*bits);
    }
    Ok(lowered)
}

/// BatchNormalization with its statistics folded into a scale and a shift for each channel.
pub(super) fn batch_normalization(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let channels = *x.shape.get(1).ok_or_else(|| Refusal::new("needs an input with a channel dimension"))?;
    for parameter in 1..5 {
        let shape = &cx.input(parameter)?.shape;
        if *shape != [channels] {
            return Err(Refusal::new(format!("has parameter {} for {channels} channels", shown(shape))));
        }
    }
    if cx.flag("training_mode", false)? {
        let like = |i: usize| cx.input(i).map(|fact| Fact::at_run_time(fact.shape.clone(), fact.element));
        return Ok(Lowered::by_row(cx, vec![like(0)?, like(3)?, like(4)?], lanes::normalization(cx.op(), 2), |i| {
            i != 1
        }));
    }
    let per_channel = || Access(vec![Affine::dim(DimId::from(1usize))]);
    let operands = vec![
        PointwiseOperand { input: 0, access: view::identity(x.rank()), is_scale: false },
        PointwiseOperand { input: 1, access: per_channel(), is_scale: true },
        PointwiseOperand { input: 2, access: per_channel(), is_scale: false },
    ];
    let form = Form::Pointwise(Pointwise { lanes: lanes::BATCH_NORMALIZATION, operands });
    Ok(Lowered::new(vec![Fact::at_run_time(x.shape.clone(), x.element)], form))
}

/// The shape that all shapes broadcast to by NumPy's rule.
pub(super) fn broadcast_shapes(shapes: &[&[u64]]) -> Option<Vec<u64>> {
    let rank = shapes.iter().map(|shape| shape.len()).max()?;
    let mut common = vec![1; rank];
    for shape in shapes {
        for (common, &size) in common.iter_mut().rev().zip(shape.iter().rev()) {
            match (*common, size) {
                (_, 1) => {}
                (1, _) => *common = size,
                (a, b) if a == b => {}
                (_, _) => return None,
            }
        }
    }
    Some(common)
}

fn broadcasting(cx: &Context<'_>, element: ElementType) -> Result<Lowered, Refusal> {
    if cx.opset < 7
        && let Some(at) = cx.int("axis")?
    {
        return placed(cx, axis(at, cx.input(0)?.rank())?, element);
    }
    let inputs: Vec<_> = (0..cx.input_count()).collect();
    let facts = inputs.iter().map(|&input| cx.input(input)).collect::<Result<Vec<_>, _>>()?;
    let shapes: Vec<_> = facts.iter().map(|fact| &fact.shape[..]).collect();
    let shape = broadcast_shapes(&shapes).ok_or_else(|| apart(&shapes))?;
    lower(cx, &inputs, shape, element)
}

fn apart(shapes: &[&[u64]]) -> Refusal {
    let all = shapes.iter().map(|shape| shown(shape)).collect::<Vec<_>>().join(" and ");
    Refusal::new(format!("has inputs {all}, which do not broadcast"))
}

/// The second input lies along the first one's dimensions from one on, as it could before version 7.
fn placed(cx: &Context<'_>, at: usize, element: ElementType) -> Result<Lowered, Refusal> {
    let (x, y) = (cx.input(0)?, cx.input(1)?);
    let fits = |(i, &size): (usize, &u64)| size == 1 || x.shape.get(at + i) == Some(&size);
    if !y.shape.iter().enumerate().all(fits) {
        let (x, y) = (shown(&x.shape), shown(&y.shape));
        return Err(Refusal::new(format!("has inputs {x} and {y}, which do not broadcast from axis {at} on")));
    }
    let index = |(i, &size): (usize, &u64)| match size {
        1 => Affine::constant(0),
        _ => Affine::dim(DimId::from(at + i)),
    };
    let access = Access(y.shape.iter().enumerate().map(index).collect());
    let operands = vec![
        PointwiseOperand { input: 0, access: view::identity(x.rank()), is_scale: false },
        PointwiseOperand { input: 1, access, is_scale: false },
    ];
    Ok(of_operands(cx, operands, x.shape.clone(), element))
}

fn lower(cx: &Context<'_>, inputs: &[usize], shape: Vec<u64>, element: ElementType) -> Result<Lowered, Refusal> {
    let mut operands = Vec::new();
    for &input in inputs {
        operands.push(PointwiseOperand {
            input,
            access: view::broadcast(&cx.input(input)?.shape, &shape),
            is_scale: false,
        });
    }
    Ok(of_operands(cx, operands, shape, element))
}

fn of_operands(cx: &Context<'_>, operands: Vec<PointwiseOperand>, shape: Vec<u64>, element: ElementType) -> Lowered {
    let known = fold(cx, &operands, &shape, element).unwrap_or(Known::AtRunTime);
    let fact = Fact { shape, element, known };
    let is_by_tanh = cx.op() == "Gelu" && cx.text("approximate") == Ok(Some("tanh"));
    let lanes = if is_by_tanh { lanes::TANH_GELU } else { lanes::of(cx.op()) };
    Lowered::new(vec![fact], Form::Pointwise(Pointwise { lanes, operands }))
}

/// What is known of the elements of the output, where all inputs are known numbers, and so is the result.
fn fold(cx: &Context<'_>, operands: &[PointwiseOperand], shape: &[u64], element: ElementType) -> Option<Known> {
    // With `fmod` the sign is another.
    if cx.flag("fmod", false).ok()? {
        return None;
    }
    let mut columns = Vec::new();
    for operand in operands {
        columns.push(constant::seen(Some(&operand.access), shape.to_vec(), cx.optional(operand.input)?));
    }
    let count = usize::try_from(fact::elements(shape)?).ok()?;
    let result = |i: usize| {
        let arguments = columns.iter().map(|column| arithmetic::element(column, i)).collect::<Option<Vec<_>>>()?;
        arithmetic::pointwise(cx.op(), &arguments)?.narrowed(element)
    };
    arithmetic::known((0..count).map(result), shape, element)
}
