//! The layer IR: a model is tensors and layers, and a layer is a loop nest.
//!
//! As in Timeloop's problems or MLIR's `linalg.generic`, a layer has named dimensions with sizes, and every operand an
//! affine access. One rule therefore tiles, costs and checks convolution, matrix product, attention, pooling, softmax
//! and elementwise alike. Every shape is known: what is unknown stays in `frontend`.
//!
//! The types serialise as the schedule file writes them.

mod access;
mod entity;
mod figures;
mod model;
mod ndbox;

pub use access::{Access, Affine, Operand};
pub(crate) use entity::entity;
pub use entity::{DimId, IdVec, LayerId, TensorId};
pub use figures::{Bound, Figures};
pub use model::{Dim, Fault, Layer, Model, Op, Role, Tensor, TensorKind};
pub use ndbox::{NdBox, Span};
