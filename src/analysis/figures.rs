//! The figures of each layer: work, traffic, cycles, arithmetic intensity, bound.

use super::Measured;
use crate::cost;
use crate::ir::{Bound, Figures, IdVec, Layer, LayerId, Model, NdBox, Op, TensorId, TensorKind};
use crate::npu::Npu;
use crate::units::{Bytes, Cycles, Macs, Ratio};

/// The figures of all layers. A model's input is loaded for the first layer that reads it, and for no other.
pub(super) fn of_model(model: &Model, npu: &Npu, measured: &Measured) -> IdVec<LayerId, Figures> {
    let mut loaded: IdVec<TensorId, bool> = model.tensors.iter().map(|_| false).collect();
    let figures_of = |(id, layer): (LayerId, &Layer)| {
        let traffic = Traffic::of(model, layer, &mut loaded);
        let whole = layer.whole();
        let cycles = measured[id].unwrap_or_else(|| cost::compute_cycles(npu, model, layer, &whole, true));
        traffic.figures(npu, layer, cycles)
    };
    model.layers.iter_with_ids().map(figures_of).collect()
}

/// The bytes that a layer touches and moves.
struct Traffic {
    weights: Bytes,
    inputs: Bytes,
    outputs: Bytes,
    dram: Bytes,
}

impl Traffic {
    fn of(model: &Model, layer: &Layer, loaded: &mut IdVec<TensorId, bool>) -> Self {
        let whole = layer.whole();
        let mut traffic = Self { weights: Bytes::ZERO, inputs: Bytes::ZERO, outputs: Bytes::ZERO, dram: Bytes::ZERO };
        let mut seen: Vec<(TensorId, NdBox)> = Vec::new();
        for read in &layer.reads {
            let tensor = &model.tensors[read.tensor];
            let Some(part) = read.touched(&whole, &tensor.shape) else { continue };
            let bytes = tensor.bytes_of(&part);
            if seen.contains(&(read.tensor, part.clone())) {
                continue;
            }
            seen.push((read.tensor, part));
            match tensor.kind {
                TensorKind::Weight => {
                    traffic.weights += bytes;
                    traffic.dram += bytes;
                }
                TensorKind::Input => {
                    traffic.inputs += bytes;
                    if !std::mem::replace(&mut loaded[read.tensor], true) {
                        traffic.dram += tensor.bytes_of(&tensor.whole());
                    }
                }
                TensorKind::Activation | TensorKind::Output => traffic.inputs += bytes,
            }
        }
        if let Some(write) = &layer.write {
            let tensor = &model.tensors[write.tensor];
            let written = write.touched(&whole, &tensor.shape);
            traffic.outputs = written.map_or(Bytes::ZERO, |part| tensor.bytes_of(&part));
            if tensor.kind == TensorKind::Output {
                traffic.dram += traffic.outputs;
            }
        }
        traffic
    }

    fn figures(self, npu: &Npu, layer: &Layer, compute_cycles: Cycles) -> Figures {
        let macs = match layer.op {
            Op::Gemm => layer.whole().volume(),
            Op::Vector | Op::Measured => 0,
        };
        let figures = Figures {
            macs: Macs(macs),
            weight_bytes: self.weights,
            input_bytes: self.inputs,
            output_bytes: self.outputs,
            dram_bytes: self.dram,
            compute_cycles,
            dma_cycles: Cycles::ZERO,
            arithmetic_intensity: None,
            bound: Bound::Compute,
        };
        with_traffic(npu, layer, figures, self.dram)
    }
}

/// A layer's figures with the traffic of the tiling that was chosen.
pub fn with_traffic(npu: &Npu, layer: &Layer, figures: Figures, dram_bytes: Bytes) -> Figures {
    let operations = match layer.op {
        Op::Gemm => figures.macs.get() * 2,
        Op::Vector | Op::Measured => layer.whole().volume().saturating_mul(layer.lane_operations),
    };
    let dma_cycles = match dram_bytes {
        Bytes::ZERO => Cycles::ZERO,
        bytes => cost::transfer_cycles(npu, bytes),
    };
    Figures {
        dram_bytes,
        dma_cycles,
        arithmetic_intensity: Ratio::of(operations, dram_bytes.get()),
        bound: if figures.compute_cycles >= dma_cycles { Bound::Compute } else { Bound::Memory },
        ..figures
    }
}
