//! What one request costs at least, under any tiling, spilling and order of its commands.

use super::{Floor, LayerFloor, Measured, Once};
use crate::cost;
use crate::ir::{Access, IdVec, Layer, Model, NdBox, Operand, Tensor, TensorId, TensorKind};
use crate::npu::Npu;
use crate::units::Bytes;

/// The floor: each layer's least compute, and what crosses the channel at least.
pub(super) fn of_request(model: &Model, npu: &Npu, measured: &Measured, once: &Once) -> Floor {
    let mut is_read: IdVec<TensorId, bool> = model.tensors.iter().map(|_| false).collect();
    let mut layers: Vec<LayerFloor> = Vec::with_capacity(model.layers.len());
    for (id, layer) in model.layers.iter_with_ids() {
        let compute = measured[id].unwrap_or_else(|| cost::compute_floor(npu, model, layer));
        let (mut loads, mut passed_on) = (Bytes::ZERO, Bytes::ZERO);
        for (tensor, touched) in least_read(model, layer) {
            match model.tensors[tensor].kind {
                TensorKind::Weight | TensorKind::Input if !is_read[tensor] => loads += touched,
                TensorKind::Weight | TensorKind::Input => {}
                TensorKind::Activation | TensorKind::Output => passed_on += touched,
            }
            is_read[tensor] = true;
        }
        if let Some(before) = layers.last_mut() {
            before.passed_on = passed_on;
        }
        layers.push(LayerFloor { compute, loads, passed_on: Bytes::ZERO });
    }
    let dram = once.iter().flatten().map(|(_, bytes)| *bytes).sum();
    Floor { compute: layers.iter().map(|layer| layer.compute).sum(), dram, layers }
}

/// Each tensor that a layer reads, with the least bytes that it touches of it.
fn least_read(model: &Model, layer: &Layer) -> Vec<(TensorId, Bytes)> {
    let mut least: Vec<(TensorId, Bytes)> = Vec::new();
    for read in &layer.reads {
        let tensor = &model.tensors[read.tensor];
        let touched = Bytes::of_elements(least_touched(read, tensor, &layer.whole()), tensor.element_bits);
        match least.iter_mut().find(|(known, _)| *known == read.tensor) {
            Some((_, known)) => *known = touched.max(*known),
            None => least.push((read.tensor, touched)),
        }
    }
    least
}

/// What crosses the DRAM channel at least for each layer: each element of a weight or an input that some iteration
/// touches is loaded, and each output is stored. Of a tensor that several layers read the first pays, and a later one
/// what it touches more.
pub(super) fn once(model: &Model) -> Once {
    // The elements of each tensor that are paid for.
    let mut paid: IdVec<TensorId, u64> = model.tensors.iter().map(|_| 0).collect();
    let of_layer = |layer: &Layer| {
        let whole = layer.whole();
        let mut shares = Vec::new();
        for operand in layer.operands() {
            let tensor = &model.tensors[operand.tensor];
            let before = paid[operand.tensor];
            let after = match tensor.kind {
                // The union of what all readers touch has at least what one of them touches.
                TensorKind::Weight | TensorKind::Input => before.max(least_touched(operand, tensor, &whole)),
                TensorKind::Output if Some(operand) == layer.write.as_ref() => {
                    before + operand.touched(&whole, &tensor.shape).map_or(0, |part| part.volume())
                }
                TensorKind::Output | TensorKind::Activation => before,
            };
            paid[operand.tensor] = after;
            let bytes = |elements| Bytes::of_elements(elements, tensor.element_bits);
            if after > before {
                shares.push((operand.tensor, bytes(after) - bytes(before)));
            }
        }
        shares
    };
    model.layers.iter().map(of_layer).collect()
}

/// A lower bound on the elements of a tensor that a layer touches.
fn least_touched(read: &Operand, tensor: &Tensor, whole: &NdBox) -> u64 {
    match &read.access {
        None => tensor.whole().volume(),
        Some(access) if has_own_dims(access) => {
            access.0.iter().zip(&tensor.shape).map(|(index, &size)| least_indices(index, size, whole)).product()
        }
        // A diagonal: its coordinates are not independent, so their counts say nothing.
        Some(_) => 0,
    }
}

/// Whether no dimension of the layer moves two coordinates.
pub(super) fn has_own_dims(access: &Access) -> bool {
    let mut dims: Vec<_> = access.0.iter().flat_map(|index| index.terms.iter().map(|&(dim, _)| dim)).collect();
    dims.sort_unstable();
    dims.windows(2).all(|pair| pair[0] != pair[1])
}

/// A lower bound on the different indices below `size` that an affine index takes: all of its range where that has no
/// gaps, else what its longest term alone reaches with the others at their first iteration.
fn least_indices(index: &crate::ir::Affine, size: u64, whole: &NdBox) -> u64 {
    let access = Access(vec![index.clone()]);
    if access.is_gapless(whole) {
        return access.touched(whole, &[size]).map_or(0, |range| range.volume());
    }
    let inside = |&(dim, stride): &(crate::ir::DimId, i64)| {
        // The iterations i with 0 ≤ offset + stride · i < size; a negative stride counts from the other end.
        let (offset, step, last) = (i128::from(index.offset), i128::from(stride.unsigned_abs()), i128::from(size) - 1);
        let offset = if stride < 0 { last - offset } else { offset };
        let first = (-offset).max(0).div_euclid(step) + i128::from((-offset).max(0).rem_euclid(step) > 0);
        let end = (last - offset).div_euclid(step).min(i128::from(whole.0[dim.index()].size()) - 1) + 1;
        u64::try_from(end - first).unwrap_or(0)
    };
    index.terms.iter().filter(|(_, stride)| *stride != 0).map(inside).max().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Affine, DimId};

    /// Stride 2 over 4 iterations from −1: −1, 1, 3, 5, of which three are in 0..6 and two in 0..4; and mirrored.
    #[test]
    fn strided_indices_are_counted() {
        let whole = NdBox::whole([4]);
        let strided = |offset, stride| Affine { offset, terms: vec![(DimId(0), stride)] };
        assert_eq!(least_indices(&strided(-1, 2), 6, &whole), 3);
        assert_eq!(least_indices(&strided(-1, 2), 4, &whole), 2);
        assert_eq!(least_indices(&strided(6, -2), 6, &whole), 3);
        assert_eq!(least_indices(&strided(9, 2), 6, &whole), 0);
        // Without gaps the whole range counts: a 3-wide window at stride 1, clipped to the tensor.
        let window = Affine { offset: -1, terms: vec![(DimId(0), 1), (DimId(1), 1)] };
        assert_eq!(least_indices(&window, 4, &NdBox::whole([4, 3])), 4);
    }
}
