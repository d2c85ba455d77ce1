//! Quantisation. A weight that is dequantised stays narrow in memory, and so does what is dequantised at run time: both
//! are read as they are stored, and the scale is part of the work that reads them.

use super::context::{Context, Refusal, axis, shown, signed};
use super::{Form, Lowered, Pointwise, PointwiseOperand, View, lanes};
use crate::frontend::fact::{ElementType, Fact, Known};
use crate::frontend::view;
use crate::ir::{Access, Affine, DimId};

/// QuantizeLinear: the type of the zero point, or what `output_dtype` says.
pub(super) fn quantize(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let element = match cx.optional(2) {
        Some(zero) => zero.element,
        None => cx.element_or("output_dtype", ElementType::Int(8))?,
    };
    let mut operands = vec![PointwiseOperand { input: 0, access: view::identity(x.rank()), is_scale: false }];
    for parameter in [1, 2] {
        if let Some(fact) = cx.optional(parameter)
            && let Some(access) = parameter_access(cx, fact, x)?
        {
            operands.push(PointwiseOperand { input: parameter, access, is_scale: false });
        }
    }
    let form = Form::Pointwise(Pointwise { lanes: lanes::QUANTIZE, operands });
    Ok(Lowered::new(vec![Fact::at_run_time(x.shape.clone(), element)], form))
}

/// DequantizeLinear: the type of the scale, or what `output_dtype` says.
pub(super) fn dequantize(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let (x, scale) = (cx.input(0)?, cx.input(1)?);
    parameter_access(cx, scale, x)?;
    let element = cx.element_or("output_dtype", scale.element)?;
    let known = match (x.is_constant(), x.element.bits(None)) {
        (true, Some(bits)) => Known::Narrow(bits),
        (true, None) | (false, _) => Known::AtRunTime,
    };
    let fact = Fact { shape: x.shape.clone(), element, known };
    Ok(Lowered::new(vec![fact], Form::Views(vec![View::same(x.rank())])))
}

/// DynamicQuantizeLinear: a scale and a zero point for all of the input.
pub(super) fn dynamic_quantize(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let outputs = vec![
        Fact::at_run_time(x.shape.clone(), ElementType::Int(8)),
        Fact::at_run_time(Vec::new(), x.element),
        Fact::at_run_time(Vec::new(), ElementType::Int(8)),
    ];
    Ok(Lowered::by_row(cx, outputs, lanes::DYNAMIC_QUANTIZE, |_| true))
}

/// The element of a scale or zero point for each element of `x`: one for all, one for each index along an axis, or one
/// for each block, which has no affine index and is `None`.
fn parameter_access(cx: &Context<'_>, parameter: &Fact, x: &Fact) -> Result<Option<Access>, Refusal> {
    let misfit = || {
        let (parameter, x) = (shown(&parameter.shape), shown(&x.shape));
        Refusal::new(format!("has parameter {parameter}, which does not fit its input {x}"))
    };
    if parameter.shape.iter().all(|&size| size == 1) {
        return Ok(Some(Access(vec![Affine::constant(0); parameter.rank()])));
    }
    let at = axis(cx.int("axis")?.unwrap_or(1), x.rank())?;
    match parameter.shape[..] {
        [size] if size == x.shape[at] => Ok(Some(Access(vec![Affine::dim(DimId::from(at))]))),
        _ if parameter.rank() == x.rank() && signed(x.shape[at])? >= signed(parameter.shape[at])? => Ok(None),
        _ => Err(misfit()),
    }
}
