//! Flat addresses: the row-major position of a value's elements in a tensor, as one affine function.
//!
//! A Reshape that merges dimensions has no index map of its own, yet what comes after it may have one again: a second
//! Reshape, or a Slice and a Reshape as in the relative shift of Transformer-XL, where `[i, j]` ends up as
//! `[i, j − i + n]`. Such a value keeps its flat address until it can be written as an index map again.

use super::fact::elements;
use super::view::{OutOfRange, combine};
use crate::ir::{Access, Affine, DimId};

/// The flat address that an index map into a tensor of this shape gives.
pub(super) fn flatten(map: &Access, tensor: &[u64]) -> Result<Affine, OutOfRange> {
    combine(0, map.0.iter().zip(strides(tensor)?))
}

/// The flat address after a reshape, where the dimensions that are merged lie behind each other.
pub(super) fn reshape(address: &Affine, from: &[u64], to: &[u64]) -> Option<Affine> {
    let stride =
        |dim: usize| address.terms.iter().find(|(known, _)| known.index() == dim).map_or(0, |&(_, stride)| stride);
    let mut reshaped = Affine::constant(address.offset);
    let mut below = (0..from.len()).rev().filter(|&dim| from[dim] != 1);
    let mut above = (0..to.len()).rev().filter(|&dim| to[dim] != 1);
    // Blocks of dimensions that have as many elements before as after.
    while let Some(first) = below.next() {
        let step = stride(first);
        let mut last = above.next()?;
        let (mut size_below, mut size_above) = (from[first], to[last]);
        reshaped.terms.push((DimId::from(last), step));
        while size_below != size_above {
            if size_below < size_above {
                let next = below.next()?;
                if stride(next) != step.checked_mul(i64::try_from(size_below).ok()?)? {
                    return None;
                }
                size_below = size_below.checked_mul(from[next])?;
            } else {
                last = above.next()?;
                reshaped.terms.push((DimId::from(last), step.checked_mul(i64::try_from(size_above).ok()?)?));
                size_above = size_above.checked_mul(to[last])?;
            }
        }
    }
    reshaped.terms.retain(|&(_, stride)| stride != 0);
    above.next().is_none().then_some(reshaped)
}

/// The index map into a tensor whose flat address is this, for a value of this shape; `None` if an element's index
/// would take a division.
pub(super) fn unflatten(address: &Affine, value: &[u64], tensor: &[u64]) -> Option<Access> {
    let mut rest = address.clone();
    let mut map = Vec::with_capacity(tensor.len());
    for (&size, stride) in tensor.iter().zip(strides(tensor).ok()?) {
        let index = if size == 1 { Affine::constant(0) } else { quotient(&rest, stride, value)? };
        rest = combine(0, [(&rest, 1), (&index, stride.checked_neg()?)]).ok()?;
        let (least, greatest) = ends(&index, value)?;
        if least < 0 || greatest >= i64::try_from(size).ok()? {
            return None;
        }
        map.push(index);
    }
    (rest == Affine::constant(0)).then_some(Access(map))
}

/// The whole part of an address by a stride, such that what is left is from 0 to below the stride for every element.
fn quotient(address: &Affine, stride: i64, value: &[u64]) -> Option<Affine> {
    let mut index = Affine::constant(0);
    for &(dim, step) in &address.terms {
        // Nearest, so that 255 in rows of 256 is one row on and one element back.
        let nearest = step.checked_add(stride / 2)?.div_euclid(stride);
        if nearest != 0 {
            index.terms.push((dim, nearest));
        }
    }
    let rest = combine(0, [(address, 1), (&index, stride.checked_neg()?)]).ok()?;
    index.offset = ends(&rest, value)?.0.div_euclid(stride);
    let rest = combine(0, [(address, 1), (&index, stride.checked_neg()?)]).ok()?;
    let (least, greatest) = ends(&rest, value)?;
    (least >= 0 && greatest < stride).then_some(index)
}

/// The least and the greatest that an affine function is over the indices of a value.
fn ends(affine: &Affine, value: &[u64]) -> Option<(i64, i64)> {
    affine.terms.iter().try_fold((affine.offset, affine.offset), |(least, greatest), &(dim, stride)| {
        let last = i64::try_from(value[dim.index()]).ok()?.checked_sub(1)?;
        let reach = stride.checked_mul(last)?;
        Some((least.checked_add(reach.min(0))?, greatest.checked_add(reach.max(0))?))
    })
}

fn strides(shape: &[u64]) -> Result<Vec<i64>, OutOfRange> {
    let stride = |i: usize| elements(&shape[i + 1..]).and_then(|stride| i64::try_from(stride).ok()).ok_or(OutOfRange);
    (0..shape.len()).map(stride).collect()
}

#[cfg(test)]
mod tests {
    use super::super::view::{self, compose};
    use super::*;

    fn affine(offset: i64, terms: &[(u32, i64)]) -> Affine {
        Affine { offset, terms: terms.iter().map(|&(dim, stride)| (DimId(dim), stride)).collect() }
    }

    #[test]
    fn two_reshapes_that_undo_each_other_are_none() {
        let flat = flatten(&view::identity(2), &[4, 6]).unwrap();
        let odd = reshape(&flat, &[4, 6], &[6, 4]).unwrap();
        assert_eq!(unflatten(&odd, &[6, 4], &[4, 6]), None);
        let back = reshape(&odd, &[6, 4], &[4, 6]).unwrap();
        assert_eq!(unflatten(&back, &[4, 6], &[4, 6]), Some(view::identity(2)));
    }

    #[test]
    fn what_does_not_lie_behind_each_other_is_not_merged() {
        let transposed = compose(&view::identity(2), &view::transpose(&[1, 0])).unwrap();
        let flat = flatten(&transposed, &[4, 6]).unwrap();
        assert_eq!(reshape(&flat, &[6, 4], &[24]), None);
    }

    /// Scores [4, 8] of 4 queries and 8 distances: reshaped to [8, 4], the first row cut off, reshaped to [4, 7], the
    /// first 4 columns. Query i and key j then read distance j − i + 4.
    #[test]
    fn the_relative_shift_is_affine() {
        let flat = flatten(&view::identity(2), &[4, 8]).unwrap();
        let mut shifted = reshape(&flat, &[4, 8], &[8, 4]).unwrap();
        shifted.offset += 4;
        let rows = reshape(&shifted, &[7, 4], &[4, 7]).unwrap();
        let map = unflatten(&rows, &[4, 4], &[4, 8]).unwrap();
        assert_eq!(map, Access(vec![affine(0, &[(0, 1)]), affine(4, &[(1, 1), (0, -1)])]));
    }
}
