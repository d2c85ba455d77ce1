//! What the tests share: the networks of testdata/, woven and lowered.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::path::PathBuf;

use layerweaver::analysis::{Analysis, analyze};
use layerweaver::coschedule::{Alone, Job, Policy, Weaver};
use layerweaver::frontend::{self, FloatBits};
use layerweaver::ir::Model;
use layerweaver::npu::{self, Npu};
use layerweaver::report::LayerTable;
use layerweaver::schedule::Schedule;
use layerweaver::stream;
use layerweaver::units::{Bytes, Cycles};

/// The four CNNs of the paper's pairs.
pub(crate) const CNNS: [&str; 4] = ["inception_v3", "mobilenet_v2", "resnet50", "resnext50_32x4d"];
/// The memory-bound models of the paper's pairs.
pub(crate) const OTHERS: [&str; 4] = ["bert_base", "bert_large", "xlnet_large", "ncf"];
/// The built-in NPUs that the pairs are woven for.
pub(crate) const NPUS: [&str; 2] = ["paper-like", "tpu-v3"];

/// All pairs.
pub(crate) fn pairs() -> impl Iterator<Item = (&'static str, &'static str)> {
    CNNS.into_iter().flat_map(|cnn| OTHERS.into_iter().map(move |other| (cnn, other)))
}

/// A file of testdata/.
pub(crate) fn testdata(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata").join(file)
}

/// A built-in NPU.
pub(crate) fn npu(name: &str) -> Npu {
    npu::named(name).unwrap_or_else(|| panic!("{name} is built in"))
}

/// A network of testdata/, read and analysed.
pub(crate) struct Network {
    pub(crate) model: Model,
    pub(crate) analysis: Analysis,
}

impl Network {
    pub(crate) fn read(name: &str, npu: &Npu) -> Self {
        let options = frontend::Options { float_bits: FloatBits::all(npu.precision.bits()), ..Default::default() };
        let import =
            frontend::read(&testdata(&format!("{name}.onnx")), &options).unwrap_or_else(|error| panic!("{error}"));
        let analysis = analyze(&import.model, npu).unwrap_or_else(|error| panic!("{error}"));
        Self { model: import.model, analysis }
    }

    pub(crate) fn job(&self, requests: u32) -> Job<'_> {
        Job { model: &self.model, analysis: &self.analysis, requests }
    }

    /// What `analyze` shows of it.
    pub(crate) fn layer_table(&self, npu: &Npu) -> LayerTable {
        let job = self.job(1);
        let alone = Alone::new(npu, &job).unwrap_or_else(|error| panic!("{error}"));
        let floor = |shares: &Vec<(_, Bytes)>| shares.iter().map(|(_, bytes)| *bytes).sum();
        LayerTable {
            model: stream::laid_out_model(npu, &job, &alone.traffic()),
            floor_bytes: self.analysis.once.iter().map(floor).collect(),
            sram_bytes: Some(alone.sram_bytes()),
        }
    }
}

/// The schedules of two networks, one for each policy.
pub(crate) fn schedules(npu: &Npu, a: &Network, b: &Network, requests: [u32; 2]) -> Vec<Schedule> {
    let jobs = [a.job(requests[0]), b.job(requests[1])];
    let weaver = Weaver::new(npu, &jobs).unwrap_or_else(|error| panic!("{error}"));
    let lower = |policy| {
        let woven = weaver.weave(policy).unwrap_or_else(|error| panic!("{error}"));
        stream::lower(npu, &jobs, &woven)
    };
    Policy::ALL.into_iter().map(lower).collect()
}

/// What each of two networks takes alone.
pub(crate) fn alone(npu: &Npu, a: &Network, b: &Network) -> Vec<Cycles> {
    let weaver = Weaver::new(npu, &[a.job(1), b.job(1)]).unwrap_or_else(|error| panic!("{error}"));
    weaver.alone().unwrap_or_else(|error| panic!("{error}"))
}

/// Compares with the snapshot of this name in a folder of snapshots/.
pub(crate) fn assert_snapshot(folder: &str, name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("snapshots").join(folder));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}
