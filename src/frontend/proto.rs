//! The ONNX messages, as build.rs compiles them from `proto/onnx.proto`, and which bytes hold one.

use bytes::Bytes;
use prost::Message;

use super::error::Kind;

pub(super) use generated::*;

#[allow(clippy::all, unreachable_pub, missing_docs, reason = "generated")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/onnx.rs"));
}

/// Decodes a model; its weights stay slices of `bytes`.
pub(super) fn decode(bytes: Bytes) -> Result<ModelProto, Kind> {
    if bytes.is_empty() {
        return Err(Kind::Empty);
    }
    let text = looks_like_text(&bytes);
    match ModelProto::decode(bytes) {
        Err(_) if text => Err(Kind::Text),
        Err(error) => Err(Kind::Malformed(error)),
        Ok(model) if model.graph.is_none() => Err(if text { Kind::Text } else { Kind::NoGraph }),
        Ok(model) if model.opset_import.is_empty() => Err(Kind::NoOpset),
        Ok(model) => Ok(model),
    }
}

/// Elements of an int64 tensor, as `raw_data` has them.
pub(super) fn raw(ints: &[i64]) -> Bytes {
    ints.iter().flat_map(|int| int.to_le_bytes()).collect()
}

/// Whether the beginning has only what text has. A model begins with the tag and the value of a small number.
fn looks_like_text(bytes: &[u8]) -> bool {
    let beginning = &bytes[..bytes.len().min(256)];
    beginning.iter().all(|&byte| byte >= b' ' || matches!(byte, b'\t' | b'\n' | b'\r'))
}
