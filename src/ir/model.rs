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
    /// What it reads: of a product its two operands first, and behind them those of its epilogue.
    pub reads: Vec<Operand>,
    /// What it writes; `None` only of a measured layer.
    pub write: Option<Operand>,
}

impl Layer {
    /// What it reads, then what it writes.
    pub fn operands(&self) -> impl Iterator<Item = &Operand> {
        self.reads.iter().chain(&self.write)
    }

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

/// Whether boxes that do not meet hold all of another.
fn is_covered(needed: &NdBox, boxes: &[NdBox]) -> bool {
    let held: u64 = boxes.iter().filter_map(|part| part.meet(needed)).map(|both| both.volume()).sum();
    held == needed.volume()
}

impl Model {
    /// Whether every id, size and access is in its range; each layer reads only what earlier ones wrote; a write leaves
    /// no gaps, and no two layers write the same element; every output is written in full; and a layer with no write is
    /// measured.
    pub fn check(&self) -> Result<(), Fault> {
        let mut written: IdVec<TensorId, Vec<NdBox>> = self.tensors.iter().map(|_| Vec::new()).collect();
        for layer in &self.layers {
            let fault = |what: String| Fault { layer: layer.name.clone(), what };
            self.check_sizes(layer).map_err(fault)?;
            for read in &layer.reads {
                let tensor = &self.tensors[read.tensor];
                let made = matches!(tensor.kind, TensorKind::Activation | TensorKind::Output);
                let needed = read.touched(&layer.whole(), &tensor.shape).filter(|_| made);
                if needed.is_some_and(|needed| !is_covered(&needed, &written[read.tensor])) {
                    return Err(fault(format!("reads of tensor '{}' what no layer before it wrote", tensor.name)));
                }
            }
            self.check_write(layer).map_err(fault)?;
            let Some(write) = &layer.write else { continue };
            let tensor = &self.tensors[write.tensor];
            let Some(part) = write.touched(&layer.whole(), &tensor.shape) else {
                return Err(fault(format!("writes nothing of tensor '{}'", tensor.name)));
            };
            if written[write.tensor].iter().any(|other| other.meets(&part)) {
                return Err(fault(format!("writes of tensor '{}' what an earlier layer wrote", tensor.name)));
            }
            written[write.tensor].push(part);
        }
        self.check_outputs(&written)
    }

    fn check_outputs(&self, written: &IdVec<TensorId, Vec<NdBox>>) -> Result<(), Fault> {
        let missing = |(id, tensor): &(TensorId, &Tensor)| {
            tensor.kind == TensorKind::Output
                && is_bounded(tensor.shape.iter().copied())
                && !is_covered(&tensor.whole(), &written[*id])
        };
        match self.tensors.iter_with_ids().find(missing) {
            None => Ok(()),
            Some((_, tensor)) => {
                let layer = self.layers.iter().last().map_or_else(String::new, |layer| layer.name.clone());
                Err(Fault { layer, what: format!("is the last, and output '{}' is not written in full", tensor.name) })
            }
        }
    }

    /// The bytes of an operand that a box of iterations needs.
    pub fn bytes_touched(&self, operand: &Operand, part: &NdBox) -> Bytes {
        let tensor = &self.tensors[operand.tensor];
        operand.touched(part, &tensor.shape).map_or(Bytes::ZERO, |touched| tensor.bytes_of(&touched))
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
        for operand in layer.operands() {
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
            Some(access) if !access.is_inside(&layer.whole(), &tensor.shape) => {
                Err(format!("writes beside tensor '{}'", tensor.name))
            }
            Some(access) if !access.is_gapless(&layer.whole()) => {
                Err(format!("writes tensor '{}' with gaps", tensor.name))
            }
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Access, Affine, DimId};
    use super::*;

    /// Layers that copy `size` elements of one tensor to another, from and to these offsets; tensor 0 is an input of 8
    /// elements, 1 an activation of 8, 2 an output of 4.
    fn copies(of: &[(u32, i64, u32, i64, u64)]) -> Result<(), String> {
        let tensor = |name: &str, size, kind| Tensor { name: name.into(), shape: vec![size], element_bits: 8, kind };
        let kinds = [("x", 8, TensorKind::Input), ("a", 8, TensorKind::Activation), ("y", 4, TensorKind::Output)];
        let at = |tensor, offset| Operand {
            tensor: TensorId(tensor),
            access: Some(Access(vec![Affine { offset, terms: vec![(DimId(0), 1)] }])),
        };
        let layer = |&(from, from_offset, to, to_offset, size): &(u32, i64, u32, i64, u64)| Layer {
            name: "copy".into(),
            kind: "Copy".into(),
            nodes: Vec::new(),
            op: Op::Vector,
            dims: vec![Dim { name: "m".into(), size, role: Role::M }],
            lane_operations: 1,
            reads: vec![at(from, from_offset)],
            write: Some(at(to, to_offset)),
        };
        let model = Model {
            name: "m".into(),
            fingerprint: String::new(),
            tensors: kinds.into_iter().map(|(name, size, kind)| tensor(name, size, kind)).collect(),
            layers: of.iter().map(layer).collect(),
        };
        model.check().map_err(|fault| fault.what)
    }

    #[test]
    fn what_is_read_was_written_once_and_outputs_in_full() {
        assert_eq!(copies(&[(0, 0, 1, 0, 5), (0, 5, 1, 5, 3), (1, 2, 2, 0, 4)]), Ok(()));
        let fault = |of: &[_]| copies(of).unwrap_err();
        assert!(fault(&[(0, 0, 1, 0, 5), (1, 2, 2, 0, 4)]).contains("what no layer before it wrote"));
        assert!(fault(&[(0, 0, 1, 0, 5), (0, 4, 1, 4, 4)]).contains("what an earlier layer wrote"));
        assert!(fault(&[(0, 0, 2, 0, 3)]).contains("not written in full"));
        assert!(fault(&[(0, 0, 2, 1, 4)]).contains("writes beside"));
        assert!(fault(&[(0, 0, 0, 0, 4)]).contains("no activation or output"));
    }
}
