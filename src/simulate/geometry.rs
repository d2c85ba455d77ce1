//! Boxes, derived anew: this room shares the file's types with the builder, and none of its geometry.
//!
//! Two boxes that meet here have the same rank, and no number is beyond what `structure` lets in, so that a volume fits
//! `u64` and an index `i128`.

use crate::schedule::{Access, Affine, NdBox, Span};

/// How many elements or iterations a box has.
pub(super) fn volume(part: &NdBox) -> u64 {
    part.0.iter().map(|span| span.end - span.begin).product()
}

/// Whether two boxes have an element in common.
pub(super) fn meets(a: &NdBox, b: &NdBox) -> bool {
    a.0.iter().zip(&b.0).all(|(a, b)| a.begin < b.end && b.begin < a.end)
}

/// What two boxes have in common.
pub(super) fn meet(a: &NdBox, b: &NdBox) -> Option<NdBox> {
    meets(a, b).then(|| NdBox(a.0.iter().zip(&b.0).map(|(&a, &b)| common(a, b)).collect()))
}

fn common(a: Span, b: Span) -> Span {
    Span { begin: a.begin.max(b.begin), end: a.end.min(b.end) }
}

fn holds(outer: &NdBox, inner: &NdBox) -> bool {
    outer.0.iter().zip(&inner.0).all(|(outer, inner)| outer.begin <= inner.begin && inner.end <= outer.end)
}

/// What `covers` leave of a box, as disjoint boxes.
pub(super) fn uncovered(part: &NdBox, covers: &[&NdBox]) -> Vec<NdBox> {
    if covers.iter().any(|cover| holds(cover, part)) {
        return Vec::new();
    }
    let mut rest = vec![part.clone()];
    for cover in covers {
        let mut next = Vec::with_capacity(rest.len());
        for piece in rest {
            if meets(&piece, cover) {
                carve(piece, cover, &mut next);
            } else {
                next.push(piece);
            }
        }
        rest = next;
    }
    rest
}

/// Cuts a hole that meets the box out of it: two slabs a dimension, each within what the dimensions before left.
fn carve(mut part: NdBox, hole: &NdBox, rest: &mut Vec<NdBox>) {
    for (dim, &hole) in hole.0.iter().enumerate() {
        let span = part.0[dim];
        let inner = common(span, hole);
        let slabs = [Span { begin: span.begin, end: inner.begin }, Span { begin: inner.end, end: span.end }];
        for slab in slabs {
            if slab.begin < slab.end {
                part.0[dim] = slab;
                rest.push(part.clone());
            }
        }
        part.0[dim] = inner;
    }
}

/// The box of a tensor of this shape that a box of iterations touches; all of the tensor where the access is `None`;
/// `None` where nothing of the tensor is touched, only padding.
pub(super) fn touched(access: Option<&Access>, iterations: &NdBox, shape: &[u64]) -> Option<NdBox> {
    let spans = shape.iter().enumerate().map(|(dim, &size)| {
        let (low, high) = match access {
            Some(access) => reach(&access.0[dim], iterations),
            None => (0, i128::from(size) - 1),
        };
        let begin = u64::try_from(low.max(0)).ok()?;
        let end = u64::try_from((high + 1).min(i128::from(size))).ok()?;
        (begin < end).then_some(Span { begin, end })
    });
    spans.collect::<Option<_>>().map(NdBox)
}

/// The least and the greatest value of an index over a box of iterations: each term is least at one end of its span.
fn reach(index: &Affine, iterations: &NdBox) -> (i128, i128) {
    let (mut low, mut high) = (i128::from(index.offset), i128::from(index.offset));
    for &(dim, stride) in &index.terms {
        let span = iterations.0[dim.index()];
        let at = |iteration: u64| i128::from(stride) * i128::from(iteration);
        let (small, large) = if stride < 0 { (span.end - 1, span.begin) } else { (span.begin, span.end - 1) };
        low += at(small);
        high += at(large);
    }
    (low, high)
}

/// Whether every element of the box that an access touches is touched by an iteration.
///
/// The terms that move, smallest stride first, must each step no further than one beyond what those before reach: then
/// and only then they give every value. And no dimension may move two indices, which would walk a diagonal.
pub(super) fn is_gapless(access: &Access, iterations: &NdBox) -> bool {
    let mut moving = vec![false; iterations.0.len()];
    for index in &access.0 {
        let mut steps = Vec::with_capacity(index.terms.len());
        for &(dim, stride) in &index.terms {
            let span = iterations.0[dim.index()];
            let last = span.end - span.begin - 1;
            if stride == 0 || last == 0 {
                continue;
            }
            if std::mem::replace(&mut moving[dim.index()], true) {
                return false;
            }
            steps.push((u128::from(stride.unsigned_abs()), u128::from(last)));
        }
        steps.sort_unstable();
        let mut reached = 0;
        for (stride, last) in steps {
            if stride > reached + 1 {
                return false;
            }
            reached += stride * last;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::schedule::DimId;

    fn spans(spans: &[(u64, u64)]) -> NdBox {
        NdBox(spans.iter().map(|&span| span.into()).collect())
    }

    fn small_box() -> impl Strategy<Value = NdBox> {
        proptest::collection::vec((0u64..5, 1u64..4), 2)
            .prop_map(|ends| NdBox(ends.into_iter().map(|(begin, size)| (begin, begin + size).into()).collect()))
    }

    fn points(part: &NdBox) -> Vec<[u64; 2]> {
        let [rows, columns] = [part.0[0], part.0[1]];
        (rows.begin..rows.end).flat_map(|r| (columns.begin..columns.end).map(move |c| [r, c])).collect()
    }

    /// One tensor index of up to two terms over two dimensions.
    fn index() -> impl Strategy<Value = Affine> {
        (-3i64..4, proptest::collection::vec((0u32..2, -3i64..4), 0..3)).prop_map(|(offset, terms)| Affine {
            offset,
            terms: terms.into_iter().map(|(d, s)| (DimId(d), s)).collect(),
        })
    }

    /// What each iteration touches, without clipping.
    fn images(access: &Access, iterations: &NdBox) -> Vec<Vec<i128>> {
        let value = |index: &Affine, point: &[u64; 2]| {
            let terms = index.terms.iter().map(|&(dim, stride)| i128::from(stride) * i128::from(point[dim.index()]));
            i128::from(index.offset) + terms.sum::<i128>()
        };
        points(iterations).iter().map(|point| access.0.iter().map(|index| value(index, point)).collect()).collect()
    }

    proptest! {
        #[test]
        fn what_is_uncovered_is_every_point_that_no_cover_has_once(
            part in small_box(), covers in proptest::collection::vec(small_box(), 0..6)
        ) {
            let rest = uncovered(&part, &covers.iter().collect::<Vec<_>>());
            let mut left: Vec<_> = rest.iter().flat_map(points).collect();
            left.sort_unstable();
            let covered = |point: &[u64; 2]| covers.iter().any(|cover| points(cover).contains(point));
            let expected: Vec<_> = points(&part).into_iter().filter(|point| !covered(point)).collect();
            prop_assert_eq!(left, expected);
        }

        #[test]
        fn touched_and_gapless_are_what_the_iterations_show(
            iterations in small_box(), indices in proptest::collection::vec(index(), 1..3)
        ) {
            let access = Access(indices);
            let mut seen = images(&access, &iterations);
            let hull = |dim: usize| {
                let values = || seen.iter().map(|point| point[dim]);
                (values().min().unwrap(), values().max().unwrap())
            };
            let hulls: Vec<_> = (0..access.0.len()).map(hull).collect();
            let clip = |&(low, high): &(i128, i128)| (low.max(0) as u64, (high + 1).clamp(0, 6) as u64);
            let clipped: Vec<_> = hulls.iter().map(clip).collect();
            let expected = clipped.iter().all(|(begin, end)| begin < end).then(|| spans(&clipped));
            // A dimension in two terms of one index widens what is touched: never less than what is.
            let simple = access.0.iter().all(|index| index.terms.len() < 2 || index.terms[0].0 != index.terms[1].0);
            if simple {
                prop_assert_eq!(touched(Some(&access), &iterations, &vec![6; access.0.len()]), expected);
            }
            seen.sort_unstable();
            seen.dedup();
            let all: i128 = hulls.iter().map(|(low, high)| high - low + 1).product();
            if is_gapless(&access, &iterations) {
                prop_assert_eq!(seen.len() as i128, all);
            }
        }
    }

    /// Heads of 64 side by side: half of two heads leaves a gap, and so does a diagonal.
    #[test]
    fn gaps_are_seen() {
        let term = |dim, stride| (DimId(dim), stride);
        let heads = Access(vec![Affine { offset: 0, terms: vec![term(0, 64), term(1, 1)] }]);
        assert!(is_gapless(&heads, &spans(&[(2, 5), (0, 64)])));
        assert!(is_gapless(&heads, &spans(&[(2, 3), (16, 32)])));
        assert!(!is_gapless(&heads, &spans(&[(2, 4), (0, 32)])));
        let row = Affine { offset: 0, terms: vec![term(0, 1)] };
        assert!(!is_gapless(&Access(vec![row.clone(), row]), &spans(&[(0, 2)])));
    }
}
