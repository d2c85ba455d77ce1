//! Models: tensors, layers, and the rules that hold between them.

use petgraph::graph::DiGraph;
use serde::{Deserialize, Serialize};

use super::access::Operand;
use super::entity::{IdVec, LayerId, TensorId};
use super::ndbox::NdBox;
use crate::units::Bytes;

/// A model: what it holds and what it does, every shape known. Layers stand in an order in which they can run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// The file's name without its ending.
    pub name: String,
    /// SHA-256 over the graph, payloads of weights left out.
    pub fingerprint: String,
    /// All tensors that a layer touches.
    pub tensors: IdVec<TensorId, Tensor>,
    /// All layers, each after those whose output it reads.
    pub layers: IdVec<LayerId, Layer>,
}

/// Where a tensor is before and after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TensorKind {
    /// In DRAM from the start, the same for all requests.
    Weight,
    /// In DRAM from the start, one for each request.
    Input,
    /// To be stored in DRAM, in full.
    Output,
    /// Only ever needed on chip.
    Activation,
}

/// A tensor of any rank; rank 0 is a scalar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tensor {
    /// The name of the ONNX value.
    pub name: String,
    /// Elements in each dimension.
    pub shape: Vec<u64>,
    /// Width of an element.
    pub element_bits: u64,
    /// Where it is.
    pub kind: TensorKind,
}

impl Tensor {
    /// The box of all its elements.
    pub fn whole(&self) -> NdBox {
        NdBox::whole(self.shape.iter().copied())
    }

    /// The bytes of a box of it, packed.
    pub fn bytes_of(&self, part: &NdBox) -> Bytes {
        Bytes::of_elements(part.volume(), self.element_bits)
    }
}

/// How a layer is costed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// A matrix product on the arrays.
    Gemm,
    /// Work of the vector unit.
    Vector,
    /// Costed by its given `compute_cycles`, shared among its tiles by volume.
    Measured,
}

/// Where a dimension goes in a product `[m, k] × [k, n]`; a reduced dimension of a vector layer is `K`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Separate products: groups of a convolution, batch and heads of attention.
    Group,
    /// Rows of the first operand and of the result.
    M,
    /// Columns of the second operand and of the result.
    N,
    /// What is summed over.
    K,
}

/// A dimension of a layer's loop nest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dim {
    /// As the field calls it: `oc`, `kh`, `m`.
    pub name: String,
    /// Its iterations, at least one.
    pub size: u64,
    /// Its place in a product.
    pub role: Role,
}

/// A layer: a loop nest over its dimensions, with an affine access for each operand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The name of its first node, or what it computes.
    pub name: String,
    /// The ONNX operator that it is named after.
    pub kind: String,
    /// All ONNX nodes that went into it, in the file's order.
    pub nodes: Vec<String>,
    /// How it is costed.
    pub op: Op,
    /// The loop nest.
    pub dims: Vec<Dim>,
    /// Operations of a vector lane for each iteration; 0 of a product.
    pub lane_operations: u64,
    /// What it reads, epilogue operands included.
    pub reads: Vec<Operand>,
    /// What it writes; `None` only of a measured layer.
    pub write: Option<Operand>,
}

impl Layer {
    /// The box of all its iterations.
    pub fn whole(&self) -> NdBox {
        NdBox::whole(self.dims.iter().map(|dim| dim.size))
    }
}

/// What is wrong with a model, as a sentence; in a table that a user wrote, or by a mistake of the frontend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("layer '{layer}' {what}")]
pub struct Fault {
    /// The layer's name.
    pub layer: String,
    /// What it does wrong.
    pub what: String,
}

/// The most iterations of a layer, elements of a tensor, and the largest offset or stride: far beyond any network,
/// small enough that no sum over a model's tiles leaves `u64`.
const LARGEST: u64 = 1 << 44;

fn is_bounded(mut sizes: impl Iterator<Item = u64>) -> bool {
    sizes.try_fold(1u64, |all, size| all.checked_mul(size)).is_some_and(|all| all <= LARGEST)
}

impl Model {
    /// Whether there is anything to schedule, and every id, size and access is in its range; each layer reads only
    /// what an earlier one wrote; a write leaves no gaps; and a layer with no write is measured.
    pub fn check(&self) -> Result<(), Fault> {
        let mut written = vec![false; self.tensors.len()];
        for layer in &self.layers {
            let fault = |what: String| Fault { layer: layer.name.clone(), what };
            self.check_sizes(layer).map_err(fault)?;
            for read in &layer.reads {
                let tensor = &self.tensors[read.tensor];
                let made = matches!(tensor.kind, TensorKind::Activation | TensorKind::Output);
                if made && !written[read.tensor.index()] {
                    return Err(fault(format!("reads tensor '{}' before any layer wrote it", tensor.name)));
                }
            }
            self.check_write(layer).map_err(fault)?;
            if let Some(write) = &layer.write {
                written[write.tensor.index()] = true;
            }
        }
        Ok(())
    }

    /// The layers as a graph: an edge from each writer of a tensor to each layer that reads it.
    pub fn graph(&self) -> DiGraph<LayerId, TensorId> {
        let mut graph = DiGraph::new();
        let nodes: Vec<_> = self.layers.ids().map(|id| graph.add_node(id)).collect();
        let mut writers: IdVec<TensorId, Vec<LayerId>> = self.tensors.iter().map(|_| Vec::new()).collect();
        for (id, layer) in self.layers.iter_with_ids() {
            for read in &layer.reads {
                for writer in &writers[read.tensor] {
                    graph.add_edge(nodes[writer.index()], nodes[id.index()], read.tensor);
                }
            }
            if let Some(write) = &layer.write {
                writers[write.tensor].push(id);
            }
        }
        graph
    }

    fn check_sizes(&self, layer: &Layer) -> Result<(), String> {
        if layer.dims.iter().any(|dim| dim.size == 0) {
            return Err("has a dimension of size 0".into());
        }
        if !is_bounded(layer.dims.iter().map(|dim| dim.size)) {
            return Err(format!("has more than {LARGEST} iterations"));
        }
        if layer.lane_operations > 1 << 20 {
            return Err("has more than 2^20 lane operations".into());
        }
        for operand in layer.reads.iter().chain(&layer.write) {
            let Some(tensor) = self.tensors.get(operand.tensor) else {
                return Err(format!("names {}, which does not exist", operand.tensor));
            };
            let bits = tensor.element_bits;
            if bits == 0 || bits > 1024 || !is_bounded(tensor.shape.iter().copied()) {
                return Err(format!("has tensor '{}', whose size is out of range", tensor.name));
            }
            let Some(access) = &operand.access else { continue };
            let mut indices = access.0.iter();
            let sound = access.0.len() == tensor.shape.len()
                && indices.all(|index| {
                    index.offset.unsigned_abs() <= LARGEST
                        && index
                            .terms
                            .iter()
                            .all(|&(dim, stride)| dim.index() < layer.dims.len() && stride.unsigned_abs() <= LARGEST)
                });
            if !sound {
                return Err(format!("has an access of tensor '{}' that does not fit it", tensor.name));
            }
        }
        Ok(())
    }

    fn check_write(&self, layer: &Layer) -> Result<(), String> {
        let Some(write) = &layer.write else {
            return match layer.op {
                Op::Measured => Ok(()),
                Op::Gemm | Op::Vector => Err("writes nothing: only a measured layer may".into()),
            };
        };
        let tensor = &self.tensors[write.tensor];
        if matches!(tensor.kind, TensorKind::Weight | TensorKind::Input) {
            return Err(format!("writes tensor '{}', which is no activation or output", tensor.name));
        }
        match &write.access {
            Some(access) if !access.is_gapless(&layer.whole()) => {
                Err(format!("writes tensor '{}' with gaps", tensor.name))
            }
            Some(_) | None => Ok(()),
        }
    }
}
