//! Pointwise operators: each element of the output needs one element of each input.

use super::context::{Context, Refusal, shown};
use super::{Form, Lowered, Pointwise, PointwiseOperand, lanes};
use crate::frontend::constant;
use crate::frontend::fact::{self, ElementType, Fact};
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

/// Cast: one input, another type.
pub(super) fn cast(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let to = cx.int("to")?.ok_or_else(|| Refusal::new("needs an attribute 'to'"))?;
    lower(cx, &[0], cx.input(0)?.shape.clone(), cx.element(to)?)
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
        return Err(Refusal::new("is in training mode"));
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
    let inputs: Vec<_> = (0..cx.input_count()).collect();
    let facts = inputs.iter().map(|&input| cx.input(input)).collect::<Result<Vec<_>, _>>()?;
    let shapes: Vec<_> = facts.iter().map(|fact| &fact.shape[..]).collect();
    let shape = broadcast_shapes(&shapes).ok_or_else(|| {
        let all = shapes.iter().map(|shape| shown(shape)).collect::<Vec<_>>().join(" and ");
        Refusal::new(format!("has inputs {all}, which do not broadcast"))
    })?;
    lower(cx, &inputs, shape, element)
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
    let fact = match fold(cx, &operands, &shape, element) {
        Some(ints) => Fact::ints(shape, element, Some(ints)),
        None => Fact::at_run_time(shape, element),
    };
    Ok(Lowered::new(vec![fact], Form::Pointwise(Pointwise { lanes: lanes::pointwise(cx.op()), operands })))
}

/// The elements of the output, where all inputs are known whole numbers, and so is the result.
fn fold(cx: &Context<'_>, operands: &[PointwiseOperand], shape: &[u64], element: ElementType) -> Option<Vec<i64>> {
    match element {
        ElementType::Int(_) | ElementType::Bool => {}
        ElementType::Float(_) | ElementType::NarrowFloat(_) | ElementType::Other => return None,
    }
    let mut columns = Vec::new();
    for operand in operands {
        let fact = cx.optional(operand.input)?;
        columns.push(constant::through(&operand.access, shape, fact.as_ints()?, &fact.shape)?);
    }
    let count = usize::try_from(fact::elements(shape)?).ok()?;
    let element_of = |i: usize| {
        let arguments: Vec<_> = columns.iter().map(|column| column[i]).collect();
        constant::pointwise(cx.op(), &arguments)
    };
    let narrowed = |int: i64| if element == ElementType::Bool { i64::from(int != 0) } else { int };
    (0..count).map(|i| element_of(i).map(narrowed)).collect()
}
