//! Operators of object detectors: boxes that are kept, and what lies in them.

use super::context::{Context, Refusal, shown};
use super::{Lowered, lanes};
use crate::frontend::fact::{ElementType, Fact};

/// NonMaxSuppression: a batch, class and box for each that is kept.
pub(super) fn non_max_suppression(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let (boxes, scores) = (cx.input(0)?, cx.input(1)?);
    let &[batch, classes, count] = &scores.shape[..] else {
        let (boxes, scores) = (shown(&boxes.shape), shown(&scores.shape));
        return Err(Refusal::new(format!("has boxes {boxes} and scores {scores}, which do not fit")));
    };
    let most = match cx.optional(2) {
        // None are kept where nobody says how many.
        None => 0,
        Some(most) => most.as_ints().and_then(|most| u64::try_from(*most.first()?).ok()).unwrap_or(count),
    };
    let most = classes.checked_mul(batch).and_then(|all| all.checked_mul(most.min(count)));
    let most = most.ok_or_else(|| Refusal::new("has sizes that are out of range"))?;
    let fact = Fact::at_run_time(vec![cx.bounded(most), 3], ElementType::Int(64));
    Ok(Lowered::by_row(cx, vec![fact], lanes::OVERLAP, |_| true).at_most("as many boxes as may be kept of each class"))
}

/// RoiAlign: each region, sampled on a grid of one size.
pub(super) fn roi_align(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let (height, width) = (cx.size("output_height", 1)?, cx.size("output_width", 1)?);
    let samples = cx.size("sampling_ratio", 0)?.clamp(2, 16);
    regions(cx, [height, width], lanes::SAMPLE * samples * samples)
}

/// MaxRoiPool: each region, pooled to one size.
pub(super) fn max_roi_pool(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let size = |i: usize| cx.int_list("pooled_shape").map(|given| given.and_then(|given| given.get(i).copied()));
    let size = |i: usize| Ok::<_, Refusal>(size(i)?.and_then(|size| u64::try_from(size).ok()).unwrap_or(1));
    regions(cx, [size(0)?, size(1)?], lanes::SAMPLE)
}

fn regions(cx: &Context<'_>, [height, width]: [u64; 2], lanes: u64) -> Result<Lowered, Refusal> {
    let (x, regions) = (cx.input(0)?, cx.input(1)?);
    let (&[_, channels, ..], &[count, _]) = (&x.shape[..], &regions.shape[..]) else {
        let (x, regions) = (shown(&x.shape), shown(&regions.shape));
        return Err(Refusal::new(format!("has input {x} and regions {regions}, which do not fit")));
    };
    let fact = Fact::at_run_time(vec![count, channels, height, width], x.element);
    Ok(Lowered::by_element(cx, vec![fact], lanes))
}
