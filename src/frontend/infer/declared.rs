//! What the file declares of values that nodes make.

use super::Inference;
use crate::frontend::fact::{ElementType, Fact};
use crate::frontend::graph::{Graph, Node, Source, Value};
use crate::frontend::ops;
use crate::frontend::proto::{TensorShapeProto, type_proto};

impl Inference<'_> {
    /// What the file says of the outputs of a node, where it says all and the node has no graphs in it, whose work
    /// nobody knows.
    pub(super) fn declared_outputs(&self, graph: &Graph, node: &Node) -> Option<Vec<Fact>> {
        if node.attributes.iter().any(|attribute| attribute.g.is_some() || !attribute.graphs.is_empty()) {
            return None;
        }
        node.outputs.iter().map(|&value| self.declared(&graph.values[value?])).collect()
    }

    fn declared(&self, value: &Value) -> Option<Fact> {
        let Some(type_proto::Value::TensorType(tensor)) = &value.declared.as_ref()?.value else { return None };
        let sizes = self.declared_sizes(tensor.shape.as_ref()?);
        Some(Fact::at_run_time(
            sizes.into_iter().collect::<Option<_>>()?,
            ElementType::from_onnx(tensor.elem_type.into())?,
        ))
    }

    /// The sizes that a shape has, where it says them or the user does.
    fn declared_sizes(&self, shape: &TensorShapeProto) -> Vec<Option<u64>> {
        shape.dim.iter().map(|dim| self.dims.known(dim)).collect()
    }

    /// Warns where the file says another shape than ours.
    pub(super) fn check_declared(&mut self, graph: &Graph) {
        for (id, value) in graph.values.iter_with_ids() {
            let (Some(fact), Source::Node(node)) = (&self.facts[id], &value.source) else { continue };
            let declared = value.declared.as_ref().and_then(|declared| declared.value.as_ref());
            let Some(type_proto::Value::TensorType(tensor)) = declared else { continue };
            let Some(shape) = &tensor.shape else { continue };
            let sizes = self.declared_sizes(shape);
            let agrees = sizes.len() == fact.rank()
                && sizes.iter().zip(&fact.shape).all(|(declared, &ours)| declared.is_none_or(|size| size == ours));
            if !agrees {
                let (name, ours, theirs) = (&value.name, ops::shown(&fact.shape), declared_shown(&sizes));
                let what = format!("makes '{name}' of shape {ours}, though the file declares {theirs}; ours stands");
                self.warnings.push((graph.nodes[*node].name.clone(), what));
            }
        }
    }
}

/// A declared shape, as [`ops::shown`] shows one.
fn declared_shown(sizes: &[Option<u64>]) -> String {
    if sizes.is_empty() {
        return ops::shown(&[]);
    }
    sizes.iter().map(|size| size.map_or_else(|| "?".to_owned(), |size| size.to_string())).collect::<Vec<_>>().join("×")
}
