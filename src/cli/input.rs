//! Reads what the command line names: NPUs, ONNX files, layer tables.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::args::Target;
use super::{Failure, Out};
use crate::analysis::{self, Analysis, Measured};
use crate::frontend;
use crate::ir::{IdVec, Layer, LayerId, Model, Tensor, TensorId};
use crate::npu::{self, Npu};
use crate::units::Cycles;

/// A model that is ready to schedule.
pub(super) struct Analysed {
    pub(super) model: Model,
    pub(super) analysis: Analysis,
}

/// The NPU of this name, or of this file.
pub(super) fn npu(name_or_file: &str) -> Result<Npu, Failure> {
    if let Some(npu) = npu::named(name_or_file) {
        return Ok(npu);
    }
    let path = Path::new(name_or_file);
    match std::fs::read(path) {
        Ok(text) => Npu::from_json(&text).map_err(|error| Failure::input(path, error)),
        Err(_) if !name_or_file.contains(['/', '.']) => Err(Failure::Input(unknown_npu(name_or_file))),
        Err(error) => Err(Failure::input(path, error)),
    }
}

/// A sentence for a name that no NPU has.
pub(super) fn unknown_npu(name: &str) -> String {
    match npu::nearest(name) {
        Some(near) => format!("there is no built-in NPU '{name}'; did you mean '{near}'?"),
        None => format!("there is no built-in NPU '{name}'; `layerweaver npus` lists them, and a file can be given"),
    }
}

/// Reads and analyses a model. What is not modelled exactly is said on standard error.
pub(super) fn model(path: &Path, npu: &Npu, target: &Target, out: &mut Out) -> Result<Analysed, Failure> {
    let is_table = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
    let (model, measured) = if is_table { table(path, target, out)? } else { onnx(path, npu, target, out)? };
    let analysis = analysis::analyze_measured(&model, npu, measured).map_err(|error| Failure::input(path, error))?;
    Ok(Analysed { model, analysis })
}

fn onnx(path: &Path, npu: &Npu, target: &Target, out: &mut Out) -> Result<(Model, Measured), Failure> {
    let float_bits = match target.precision {
        None => Some(npu.precision.bits()),
        Some(name) => name.bits(),
    };
    let dims: BTreeMap<String, u64> = target.dims.iter().cloned().collect();
    let options = frontend::Options { dims, float_bits, ..frontend::Options::default() };
    let import = frontend::read(path, &options).map_err(|errors| Failure::Input(errors.to_string()))?;
    for warning in &import.warnings {
        out.warn(format_args!("{}: {warning}", path.display()))?;
    }
    let measured = import.model.layers.iter().map(|_| None).collect();
    Ok((import.model, measured))
}

/// A layer table as `analyze --format json` writes it; of the figures only `compute_cycles` is read.
#[derive(Deserialize)]
struct Table {
    name: String,
    #[serde(default)]
    fingerprint: String,
    tensors: IdVec<TensorId, Tensor>,
    layers: IdVec<LayerId, TableLayer>,
}

#[derive(Deserialize)]
struct TableLayer {
    #[serde(flatten)]
    layer: Layer,
    compute_cycles: Option<Cycles>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneTable {
    Bare(Table),
    Listed([Table; 1]),
}

fn table(path: &Path, target: &Target, out: &mut Out) -> Result<(Model, Measured), Failure> {
    let text = std::fs::read(path).map_err(|error| Failure::input(path, error))?;
    let table: OneTable = serde_json::from_slice(&text).map_err(|error| {
        Failure::input(
            path,
            format_args!("is no layer table of one model ({error}); `analyze --format json` writes one"),
        )
    })?;
    let (OneTable::Bare(table) | OneTable::Listed([table])) = table;
    if target.precision.is_some() {
        out.warn(format_args!(
            "{}: --precision has no effect on a layer table, whose widths are given",
            path.display()
        ))?;
    }
    let measured = table.layers.iter().map(|row| row.compute_cycles).collect();
    let layers = table.layers.into_iter().map(|row| row.layer).collect();
    let model = Model { name: table.name, fingerprint: table.fingerprint, tensors: table.tensors, layers };
    model.check().map_err(|fault| Failure::input(path, fault))?;
    Ok((model, measured))
}
