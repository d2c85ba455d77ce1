//! Losses, and the determinant: what else turns many elements into few.

use super::context::{Context, Refusal, shown};
use super::nest::{Nest, Read, Source};
use super::{Form, Lowered, lanes};
use crate::frontend::fact::Fact;
use crate::ir::Access;

/// NegativeLogLikelihoodLoss, SoftmaxCrossEntropyLoss: a number for each label, or one for all.
pub(super) fn loss(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let (scores, labels) = (cx.input(0)?, cx.input(1)?);
    let expected = scores.shape.get(..1).zip(scores.shape.get(2..)).map(|(batch, rest)| [batch, rest].concat());
    if expected.as_ref() != Some(&labels.shape) {
        let (scores, labels) = (shown(&scores.shape), shown(&labels.shape));
        return Err(Refusal::new(format!("has scores {scores} and labels {labels}, which do not fit")));
    }
    let each = cx.text("reduction")? == Some("none");
    let outputs = vec![
        Fact::at_run_time(if each { labels.shape.clone() } else { Vec::new() }, scores.element),
        Fact::at_run_time(scores.shape.clone(), scores.element),
    ];
    Ok(folded(cx, outputs, lanes::LOSS, |i| each && i != 1))
}

/// Det: of each matrix.
pub(super) fn determinant(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let [outer @ .., rows, columns] = &x.shape[..] else { return Err(Refusal::new("needs a matrix")) };
    if rows != columns {
        return Err(Refusal::new(format!("has input {}, which is not square", shown(&x.shape))));
    }
    // Elimination: each element once for each row above, a third of that in all.
    let lanes = lanes::MULTIPLY_ADD.saturating_mul(rows.div_ceil(3)).min(1 << 16);
    let outputs = vec![Fact::at_run_time(outer.to_vec(), x.element)];
    Ok(folded(cx, outputs, lanes, |i| i < outer.len()))
}

/// A loop over all of the first input, of whose dimensions the output has some; the other inputs are read whole.
fn folded(cx: &Context<'_>, outputs: Vec<Fact>, lanes: u64, is_kept: impl Fn(usize) -> bool) -> Lowered {
    let mut nest = Nest::vector(lanes);
    let shape = cx.optional(0).map(|x| x.shape.clone()).unwrap_or_default();
    let access = nest.axes(&shape, |i| !is_kept(i));
    let kept = access.0.iter().enumerate().filter(|&(i, _)| is_kept(i)).map(|(_, index)| index.clone());
    nest.write = Access(kept.collect());
    nest.read(0, access);
    nest.reads.extend((1..cx.input_count()).map(|i| Read { source: Source::Input(i), access: None }));
    Lowered::new(outputs, Form::Nest(nest))
}
