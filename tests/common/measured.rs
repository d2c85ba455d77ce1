//! Models of measured layers: chains of nothing but weights and cycles.

use layerweaver::analysis::{Analysis, Measured, analyze_measured};
use layerweaver::ir::{
    Access, Affine, Dim, DimId, IdVec, Layer, Model, Op, Operand, Role, Tensor, TensorId, TensorKind,
};
use layerweaver::npu::Npu;
use layerweaver::units::Cycles;

/// A model of layers of so many bytes of weights and cycles of compute.
pub(crate) fn model(name: &str, npu: &Npu, layers: &[(u64, u64)]) -> (Model, Analysis) {
    let mut tensors: IdVec<TensorId, Tensor> = IdVec::new();
    let layer = |(i, &(bytes, _)): (usize, &(u64, u64))| {
        let weight = (bytes > 0).then(|| {
            let tensor =
                Tensor { name: format!("w{i}"), shape: vec![bytes], element_bits: 8, kind: TensorKind::Weight };
            Operand { tensor: tensors.push(tensor), access: Some(Access(vec![Affine::dim(DimId(0))])) }
        });
        Layer {
            name: format!("layer{i}"),
            kind: "Measured".into(),
            nodes: Vec::new(),
            op: Op::Measured,
            dims: vec![Dim { name: "n".into(), size: bytes.max(1), role: Role::N }],
            lane_operations: 0,
            reads: weight.into_iter().collect(),
            write: None,
        }
    };
    let made = layers.iter().enumerate().map(layer).collect();
    let model = Model { name: name.into(), fingerprint: String::new(), tensors, layers: made };
    let measured: Measured = layers.iter().map(|&(_, cycles)| Some(Cycles(cycles))).collect();
    let analysis = analyze_measured(&model, npu, measured).expect("in scale");
    (model, analysis)
}
