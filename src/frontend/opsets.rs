//! The operator sets that a model is written in.

use std::collections::BTreeMap;

use super::proto::ModelProto;

/// The version of ONNX's own set that is taken where a model does not say it, as ONNX Runtime takes its newest.
const NEWEST: i64 = 28;

/// The version of each domain; the domain of ONNX itself is "".
pub(super) struct Opsets(BTreeMap<String, i64>);

impl Opsets {
    pub(super) fn of(model: &ModelProto) -> Self {
        Self(model.opset_import.iter().map(|set| (plain_domain(&set.domain).to_owned(), set.version)).collect())
    }

    /// The version of a domain; of one that the model does not import, the first, for most have but one.
    pub(super) fn version(&self, domain: &str) -> i64 {
        let otherwise = if domain.is_empty() { NEWEST } else { 1 };
        self.0.get(plain_domain(domain)).copied().unwrap_or(otherwise)
    }

    /// What the user should know of ONNX's own set, where the model does not say its version.
    pub(super) fn assumed(&self) -> Option<String> {
        let is_missing = !self.0.contains_key("");
        is_missing.then(|| format!("is of a model that does not import ai.onnx; operator set {NEWEST} is taken"))
    }
}

/// "ai.onnx" and "" are one domain.
pub(super) fn plain_domain(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}
