//! Reading and writing schedule files: one line of JSON for each layer, buffer and command, so that a diff reads.

use std::io::{self, Write};

use serde::Serialize;

use super::{FORMAT, Schedule, ScheduledModel, VERSION};

/// Why bytes are no schedule file.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not JSON, or not of the fields' types.
    #[error("{path}: {what}")]
    Field {
        /// Where in the file.
        path: String,
        /// What is wrong there.
        what: String,
    },
    /// Another format, or a version that this crate does not know.
    #[error("format is '{format}' version {version}; this program reads '{FORMAT}' version {VERSION}")]
    Version {
        /// As the file says.
        format: String,
        /// As the file says.
        version: u32,
    },
}

impl Schedule {
    /// Reads a file. Only its form is checked here, not what it says: that is `simulate`'s.
    pub fn from_json(text: &[u8]) -> Result<Self, ReadError> {
        let field = |path: String, what: String| ReadError::Field { path, what };
        let mut json = serde_json::Deserializer::from_slice(text);
        let schedule: Self = serde_path_to_error::deserialize(&mut json)
            .map_err(|error| field(error.path().to_string(), error.inner().to_string()))?;
        json.end().map_err(|error| field(".".into(), error.to_string()))?;
        if schedule.format != FORMAT || schedule.version != VERSION {
            return Err(ReadError::Version { format: schedule.format, version: schedule.version });
        }
        schedule.npu.validate().map_err(|error| field(format!("npu.{}", error.path), error.what))?;
        Ok(schedule)
    }

    /// Writes the file.
    pub fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        let Self { format, version, npu, models, buffers, commands, summary } = self;
        write!(out, "{{\n\"format\": ")?;
        json(out, format)?;
        write!(out, ", \"version\": {version},\n\"npu\": ")?;
        json(out, npu)?;
        write!(out, ",\n\"models\": ")?;
        write_models(out, models)?;
        write!(out, ",\n\"buffers\": ")?;
        lines(out, buffers)?;
        write!(out, ",\n\"commands\": ")?;
        lines(out, commands)?;
        write!(out, ",\n\"summary\": ")?;
        json(out, summary)?;
        write!(out, "\n}}\n")
    }
}

/// Writes model objects as the file's `models` has them.
pub fn write_models<'a>(out: &mut impl Write, models: impl IntoIterator<Item = &'a ScheduledModel>) -> io::Result<()> {
    write!(out, "[")?;
    for (i, model) in models.into_iter().enumerate() {
        let ScheduledModel { name, fingerprint, requests, tensors, layers } = model;
        write!(out, "{}\n{{\"name\": ", if i > 0 { "," } else { "" })?;
        json(out, name)?;
        write!(out, ", \"fingerprint\": ")?;
        json(out, fingerprint)?;
        write!(out, ", \"requests\": {requests},\n\"tensors\": ")?;
        lines(out, tensors)?;
        write!(out, ",\n\"layers\": ")?;
        lines(out, layers)?;
        write!(out, "}}")?;
    }
    write!(out, "\n]")
}

fn lines<'a, T: Serialize + 'a>(out: &mut impl Write, items: impl IntoIterator<Item = &'a T>) -> io::Result<()> {
    write!(out, "[")?;
    for (i, item) in items.into_iter().enumerate() {
        writeln!(out, "{}", if i > 0 { "," } else { "" })?;
        json(out, item)?;
    }
    write!(out, "\n]")
}

fn json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(out, value).map_err(io::Error::from)
}
