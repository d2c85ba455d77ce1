//! Reads what the command line names: NPUs, ONNX files, layer tables.

use std::fmt::Display;
use std::path::Path;

use serde::Deserialize;

use super::args::{Format, Target};
use super::{Failure, Out, warnings};
use crate::analysis::{self, Analysis, Measured};
use crate::frontend::{self, FloatBits};
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
    match frontend::nearest(name, npu::NAMES.iter().copied()) {
        Some(near) => format!("there is no built-in NPU '{name}'; did you mean '{near}'?"),
        None => format!("there is no built-in NPU '{name}'; `layerweaver npus` lists them, and a file can be given"),
    }
}

/// A sentence for an operator of an NPU's `vector.operations` that the frontend does not know.
fn unknown_operator(npu: &str, name: &str) -> String {
    let mend = match frontend::nearest(name, frontend::operators()) {
        Some(near) => format!("did you mean '{near}'?"),
        None => "give the name of an ONNX operator, as in Softmax".to_owned(),
    };
    format!("{npu}: vector.operations: there is no operator '{name}'; {mend}")
}

/// Reads and analyses models. What is not modelled exactly is said on standard error.
pub(super) fn models(paths: &[&Path], npu: &Npu, target: &Target, out: &mut Out) -> Result<Vec<Analysed>, Failure> {
    let options = frontend::Options {
        dims: target.dims.iter().cloned().collect(),
        shapes: target.shapes.iter().cloned().collect(),
        trips: target.trips.iter().cloned().collect(),
        float_bits: float_bits(npu, target),
        operations: npu.vector.operations.clone(),
    };
    if let Some(name) = npu.vector.operations.keys().find(|name| !frontend::operators().any(|known| known == **name)) {
        return Err(Failure::Input(unknown_operator(&target.npu, name)));
    }
    let mut read = Vec::new();
    for path in paths {
        if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json")) {
            read.push(Read::Table(table(path, target, out)?));
        } else {
            let import = frontend::read(path, &options).map_err(|errors| Failure::Input(errors.to_string()))?;
            for line in warnings::lines(&import.warnings) {
                out.warn(format_args!("{}: {line}", path.display()))?;
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

/// The widths of float tensors: as `--precision` says, and where it says nothing the NPU's.
fn float_bits(npu: &Npu, target: &Target) -> FloatBits {
    let given = target.precision.unwrap_or_default();
    let bits = |format: Option<Format>| format.unwrap_or(Format::Of(npu.precision)).bits();
    FloatBits { weights: bits(given.weights), activations: bits(given.activations) }
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
