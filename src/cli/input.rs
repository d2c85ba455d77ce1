//! Reads what the command line names: NPUs, ONNX files, layer tables.

use std::fmt::Display;
use std::path::Path;

use serde::Deserialize;

use super::args::{PrecisionName, Target};
use super::near::nearest;
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
    match nearest(name, npu::NAMES.iter().copied()) {
        Some(near) => format!("there is no built-in NPU '{name}'; did you mean '{near}'?"),
        None => format!("there is no built-in NPU '{name}'; `layerweaver npus` lists them, and a file can be given"),
    }
}

/// Reads and analyses models. What is not modelled exactly is said on standard error.
pub(super) fn models(paths: &[&Path], npu: &Npu, target: &Target, out: &mut Out) -> Result<Vec<Analysed>, Failure> {
    let options = frontend::Options {
        dims: target.dims.iter().cloned().collect(),
        shapes: target.shapes.iter().cloned().collect(),
        trips: target.trips.iter().cloned().collect(),
        float_bits: target.precision.map_or(Some(npu.precision.bits()), PrecisionName::bits),
    };
    let mut read = Vec::new();
    for path in paths {
        if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json")) {
            read.push(Read::Table(table(path, target, out)?));
        } else {
            let import = frontend::read(path, &options).map_err(|errors| Failure::Input(errors.to_string()))?;
            for warning in &import.warnings {
                out.warn(format_args!("{}: {warning}", path.display()))?;
            }
            read.push(Read::Onnx(import));
        }
    }
    let imports = read.iter().filter_map(|read| match read {
        Read::Onnx(import) => Some(import),
        Read::Table(_) => None,
    });
    let unknown = options.unknown_names(&imports.collect::<Vec<_>>());
    if !unknown.is_empty() {
        let sentences: Vec<String> = unknown.iter().map(ToString::to_string).collect();
        return Err(Failure::Input(sentences.join("\nerror: ")));
    }
    let analysed = |(read, path): (Read, &&Path)| {
        let (model, measured) = match read {
            Read::Table(table) => table,
            Read::Onnx(import) => {
                let measured = import.model.layers.iter().map(|_| None).collect();
                (import.model, measured)
            }
        };
        let analysis =
            analysis::analyze_measured(&model, npu, measured).map_err(|error| Failure::input(path, error))?;
        Ok(Analysed { model, analysis })
    };
    read.into_iter().zip(paths).map(analysed).collect()
}

/// What a path names, as it was read.
enum Read {
    Onnx(frontend::Import),
    Table((Model, Measured)),
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

fn table(path: &Path, target: &Target, out: &mut Out) -> Result<(Model, Measured), Failure> {
    let no_table = |what: &dyn Display| {
        let mend = "`analyze --format json` writes a layer table of one model";
        Failure::input(path, format_args!("is no layer table: {what}; {mend}"))
    };
    let text = std::fs::read(path).map_err(|error| Failure::input(path, error))?;
    let json: serde_json::Value = serde_json::from_slice(&text).map_err(|error| no_table(&error))?;
    let bare = match &json {
        serde_json::Value::Array(models) if models.len() == 1 => &models[0],
        other => other,
    };
    let table: Table = serde_path_to_error::deserialize(bare)
        .map_err(|error| no_table(&format_args!("{}: {}", error.path(), error.inner())))?;
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
