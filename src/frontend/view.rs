//! Index maps: how the elements of one value lie in another.
//!
//! A map is an [`Access`] whose "dimensions of the layer" are the dimensions of a value: `map.0[i]` is the index in
//! dimension `i` of what lies below, as an affine function of the value's own index. Reading a value composes its map
//! with the reader's access, so Reshape, Transpose, Slice and the like cost nothing where a map exists.

use crate::ir::{Access, Affine, DimId};

/// An offset or stride beyond `i64`: no real tensor has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OutOfRange;

/// `offset + Σ stride · part`, each dimension once and no stride zero.
pub(super) fn combine<'a>(
    offset: i64,
    parts: impl IntoIterator<Item = (&'a Affine, i64)>,
) -> Result<Affine, OutOfRange> {
    let mut sum = Affine::constant(offset);
    for (part, stride) in parts {
        sum.offset = multiply_add(part.offset, stride, sum.offset)?;
        for &(dim, inner) in &part.terms {
            match sum.terms.iter_mut().find(|(known, _)| *known == dim) {
                Some((_, known)) => *known = multiply_add(inner, stride, *known)?,
                None => sum.terms.push((dim, multiply_add(inner, stride, 0)?)),
            }
        }
    }
    sum.terms.retain(|&(_, stride)| stride != 0);
    Ok(sum)
}

/// The map `outer` after the map `inner`: what lies below `outer`, as a function of what `inner` is a function of.
pub(super) fn compose(outer: &Access, inner: &Access) -> Result<Access, OutOfRange> {
    let index = |index: &Affine| {
        let parts = index.terms.iter().map(|&(dim, stride)| Some((inner.0.get(dim.index())?, stride)));
        combine(index.offset, parts.collect::<Option<Vec<_>>>().ok_or(OutOfRange)?)
    };
    outer.0.iter().map(index).collect::<Result<_, _>>().map(Access)
}

/// The map that changes nothing.
pub(super) fn identity(rank: usize) -> Access {
    Access((0..rank).map(|dim| Affine::dim(DimId::from(dim))).collect())
}

/// The index in `from`, which is broadcast to `to` by NumPy's rule: aligned at the last dimension, size 1 stretched.
pub(super) fn broadcast(from: &[u64], to: &[u64]) -> Access {
    let missing = to.len().saturating_sub(from.len());
    let index = |(dim, &size): (usize, &u64)| match size {
        1 => Affine::constant(0),
        _ => Affine::dim(DimId::from(dim + missing)),
    };
    Access(from.iter().enumerate().map(index).collect())
}

/// The index before a transposition, whose dimension `i` is dimension `permutation[i]` of what is below.
pub(super) fn transpose(permutation: &[usize]) -> Access {
    let mut map = identity(permutation.len());
    for (above, &below) in permutation.iter().enumerate() {
        map.0[below] = Affine::dim(DimId::from(above));
    }
    map
}

/// The index before a transposition is undone.
pub(super) fn transpose_back(permutation: &[usize]) -> Access {
    Access(permutation.iter().map(|&below| Affine::dim(DimId::from(below))).collect())
}

/// The index in `from` of the element that has the same row-major position in `to`. `None` where that takes a division,
/// which is where dimensions of `from` are merged.
pub(super) fn reshape(from: &[u64], to: &[u64]) -> Option<Access> {
    let mut map = vec![Affine::constant(0); from.len()];
    let mut above = to.iter().enumerate().rev().filter(|&(_, &size)| size != 1);
    for (below, &size) in from.iter().enumerate().rev().filter(|&(_, &size)| size != 1) {
        let mut stride = 1u64;
        while stride < size {
            let (dim, &part) = above.next()?;
            map[below].terms.push((DimId::from(dim), i64::try_from(stride).ok()?));
            stride = stride.checked_mul(part)?;
        }
        if stride != size {
            return None;
        }
        map[below].terms.reverse();
    }
    above.next().is_none().then_some(Access(map))
}

fn multiply_add(a: i64, b: i64, c: i64) -> Result<i64, OutOfRange> {
    a.checked_mul(b).and_then(|product| product.checked_add(c)).ok_or(OutOfRange)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn affine(offset: i64, terms: &[(u32, i64)]) -> Affine {
        Affine { offset, terms: terms.iter().map(|&(dim, stride)| (DimId(dim), stride)).collect() }
    }

    #[test]
    fn a_split_is_affine_and_a_merge_is_not() {
        let heads = reshape(&[1, 128, 768], &[1, 128, 12, 64]).unwrap();
        assert_eq!(heads, Access(vec![affine(0, &[]), affine(0, &[(1, 1)]), affine(0, &[(2, 64), (3, 1)])]));
        assert_eq!(reshape(&[1, 128, 12, 64], &[1, 128, 768]), None);
        assert_eq!(reshape(&[4, 6], &[6, 4]), None);
        assert_eq!(
            reshape(&[1280, 1, 1], &[1280]),
            Some(Access(vec![affine(0, &[(0, 1)]), affine(0, &[]), affine(0, &[])]))
        );
        assert_eq!(reshape(&[], &[1, 1]), Some(Access(vec![])));
    }

    #[test]
    fn maps_compose() {
        // [128, 768] split into heads, the heads brought to the front.
        let split = reshape(&[128, 768], &[128, 12, 64]).unwrap();
        let map = compose(&split, &transpose(&[1, 0, 2])).unwrap();
        assert_eq!(map, Access(vec![affine(0, &[(1, 1)]), affine(0, &[(0, 64), (2, 1)])]));
        let back = compose(&transpose(&[1, 2, 0]), &transpose_back(&[1, 2, 0])).unwrap();
        assert_eq!(back, identity(3));
    }

    #[test]
    fn terms_that_cancel_vanish_and_overflow_is_an_error() {
        let dim = Affine::dim(DimId(0));
        assert_eq!(combine(3, [(&dim, 2), (&dim, -2)]), Ok(Affine::constant(3)));
        assert_eq!(combine(0, [(&affine(i64::MAX, &[]), 2)]), Err(OutOfRange));
    }

    #[test]
    fn broadcasting_aligns_at_the_end() {
        assert_eq!(broadcast(&[1, 128], &[4, 12, 128]), Access(vec![affine(0, &[]), affine(0, &[(2, 1)])]));
    }
}
