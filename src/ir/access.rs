//! Affine accesses: which elements of a tensor a box of iterations touches.

use serde::{Deserialize, Serialize};

use super::entity::{DimId, TensorId};
use super::ndbox::{NdBox, Span};

/// `offset + Σ stride · dimension`, for one dimension of a tensor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Affine {
    /// The index that the first iteration touches, where all strides are positive; negative in padding.
    pub offset: i64,
    /// Each dimension of the layer at most once, with a stride that is not zero.
    pub terms: Vec<(DimId, i64)>,
}

impl Affine {
    /// One dimension of the layer, as it is.
    pub fn dim(dim: DimId) -> Self {
        Self { offset: 0, terms: vec![(dim, 1)] }
    }

    /// The same index for all iterations.
    pub fn constant(offset: i64) -> Self {
        Self { offset, terms: Vec::new() }
    }

    /// The range of indices below `size` that a box of iterations touches; `None` where all that is touched is padding.
    pub fn touched(&self, iterations: &NdBox, size: u64) -> Option<Span> {
        let (low, high) = self.ends(iterations);
        let begin = u64::try_from(low.max(0)).ok()?;
        let end = u64::try_from((high + 1).min(i128::from(size))).ok()?;
        (begin < end).then_some(Span { begin, end })
    }

    /// Whether a dimension of the layer moves it.
    pub fn is_moved_by(&self, dim: DimId) -> bool {
        self.terms.iter().any(|&(of, stride)| of == dim && stride != 0)
    }

    /// The least and the greatest index that a box of iterations gives.
    fn ends(&self, iterations: &NdBox) -> (i128, i128) {
        let offset = i128::from(self.offset);
        self.terms.iter().fold((offset, offset), |(low, high), &(dim, stride)| {
            let span = iterations.0[dim.index()];
            let (first, last) = (i128::from(span.begin), i128::from(span.end) - 1);
            let (a, b) = (i128::from(stride) * first, i128::from(stride) * last);
            (low + a.min(b), high + a.max(b))
        })
    }
}

/// An affine index for each dimension of a tensor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Access(pub Vec<Affine>);

impl Access {
    /// The box of a tensor of this shape that a box of iterations touches, clipped to the tensor; `None` where all
    /// that is touched is padding.
    pub fn touched(&self, iterations: &NdBox, shape: &[u64]) -> Option<NdBox> {
        let clip = |(index, &size): (&Affine, &u64)| index.touched(iterations, size);
        self.0.iter().zip(shape).map(clip).collect::<Option<_>>().map(NdBox)
    }

    /// Whether all that a box of iterations touches is inside a tensor of this shape: no padding.
    pub fn is_inside(&self, iterations: &NdBox, shape: &[u64]) -> bool {
        self.0.iter().zip(shape).all(|(index, &size)| {
            let (low, high) = index.ends(iterations);
            low >= 0 && high < i128::from(size)
        })
    }

    /// Whether a box of iterations touches every element of the box that it touches, each by iterations that differ
    /// only in dimensions without a term. Two tensor dimensions that share a dimension of the layer have gaps.
    pub fn is_gapless(&self, iterations: &NdBox) -> bool {
        let mut seen = Vec::new();
        self.0.iter().all(|index| {
            let mut steps: Vec<(u64, u64)> = Vec::new();
            for &(dim, stride) in &index.terms {
                let size = iterations.0[dim.index()].size();
                if stride != 0 && size > 1 {
                    if seen.contains(&dim) {
                        return false;
                    }
                    seen.push(dim);
                    steps.push((stride.unsigned_abs(), size));
                }
            }
            steps.sort_unstable();
            let mut reach = 0u64;
            steps.into_iter().all(|(stride, size)| {
                let joins = stride <= reach + 1;
                reach = reach.saturating_add(stride.saturating_mul(size - 1));
                joins
            })
        })
    }
}

/// A tensor that a layer reads or writes, and where each iteration touches it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operand {
    /// Which tensor.
    pub tensor: TensorId,
    /// `None` where no affine access says it: then the whole tensor.
    pub access: Option<Access>,
}

impl Operand {
    /// The box of the tensor that a box of iterations needs; `None` where all of it is padding.
    pub fn touched(&self, iterations: &NdBox, shape: &[u64]) -> Option<NdBox> {
        match &self.access {
            Some(access) => access.touched(iterations, shape),
            None => Some(NdBox::whole(shape.iter().copied())).filter(|all| all.volume() > 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn affine(offset: i64, terms: &[(u32, i64)]) -> Affine {
        Affine { offset, terms: terms.iter().map(|&(dim, stride)| (DimId(dim), stride)).collect() }
    }

    fn spans(spans: &[(u64, u64)]) -> NdBox {
        NdBox(spans.iter().map(|&s| s.into()).collect())
    }

    /// A 3×3 convolution with padding 1 and stride 2 reads rows 2·oh − 1 + kh: output rows 4..8 of 8 need input rows
    /// 7..16 of 16, and row 0 needs 0..2, for −1 is padding.
    #[test]
    fn a_halo_is_clipped_to_the_tensor() {
        let rows = Access(vec![affine(-1, &[(0, 2), (1, 1)])]);
        assert_eq!(rows.touched(&spans(&[(4, 8), (0, 3)]), &[16]), Some(spans(&[(7, 16)])));
        assert_eq!(rows.touched(&spans(&[(0, 1), (0, 3)]), &[16]), Some(spans(&[(0, 2)])));
        assert_eq!(rows.touched(&spans(&[(0, 1), (0, 1)]), &[16]), None);
    }

    /// Heads of 64 written side by side: whole heads leave no gap, half heads of two heads do.
    #[test]
    fn gaps_are_seen() {
        let heads = Access(vec![affine(0, &[(0, 64), (1, 1)])]);
        assert!(heads.is_gapless(&spans(&[(2, 5), (0, 64)])));
        assert!(heads.is_gapless(&spans(&[(2, 3), (16, 32)])));
        assert!(!heads.is_gapless(&spans(&[(2, 4), (0, 32)])));
        let diagonal = Access(vec![affine(0, &[(0, 1)]), affine(0, &[(0, 1)])]);
        assert!(!diagonal.is_gapless(&spans(&[(0, 2)])));
    }
}
