//! Where the time of a compilation goes, on the largest pair of testdata/.
//!
//! `cargo bench` compares with the last run; `cargo bench -- --save-baseline before` keeps one.

#[path = "../tests/common/measured.rs"]
mod measured;

use std::hint::black_box;
use std::path::PathBuf;

use criterion::{Criterion, criterion_group, criterion_main};
use layerweaver::analysis::{Analysis, analyze};
use layerweaver::coschedule::{Job, Policy, Weaver};
use layerweaver::frontend::{self, FloatBits, Options};
use layerweaver::ir::Model;
use layerweaver::npu::named;
use layerweaver::{simulate, stream};

fn read(name: &str) -> Model {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name);
    let options = Options { float_bits: FloatBits::all(16), ..Options::default() };
    frontend::read(&path, &options).expect("a network of testdata/").model
}

fn largest_pair(criterion: &mut Criterion) {
    let npu = named("paper-like").expect("built in");
    let models = ["resnet152.onnx", "bert_large.onnx"].map(read);
    let analyses: Vec<Analysis> = models.iter().map(|model| analyze(model, &npu).expect("in scale")).collect();
    let jobs = [0, 1].map(|i| Job { model: &models[i], analysis: &analyses[i], requests: 1 });
    let weaver = Weaver::new(&npu, &jobs).expect("it fits");
    let woven = weaver.weave(Policy::Greedy).expect("it fits");
    let schedule = stream::lower(&npu, &jobs, &woven);

    let mut group = criterion.benchmark_group("resnet152+bert_large");
    group.sample_size(20);
    group.bench_function("frontend", |b| b.iter(|| black_box(read("bert_large.onnx"))));
    group.bench_function("analysis", |b| b.iter(|| black_box(analyze(&models[1], &npu))));
    group.bench_function("serial", |b| b.iter(|| black_box(Weaver::new(&npu, &jobs).is_ok())));
    group.bench_function("greedy", |b| b.iter(|| black_box(weaver.weave(Policy::Greedy))));
    group.bench_function("optimal", |b| b.iter(|| black_box(weaver.weave(Policy::Optimal))));
    group.bench_function("stream", |b| b.iter(|| black_box(stream::lower(&npu, &jobs, &woven))));
    group.bench_function("simulate", |b| b.iter(|| black_box(simulate::simulate(&schedule))));
    group.finish();
}

/// Two chains of 10,000 layers, one of long loads and one of long tiles, from the layouts to the schedule.
fn long_chains(criterion: &mut Criterion) {
    let npu = named("paper-like").expect("built in");
    let layers = |load: u64, compute: u64| -> Vec<(u64, u64)> {
        (0..10_000).map(|i| (load * (1 + i * 7 % 5) / 3, compute * (1 + i * 11 % 7) / 4)).collect()
    };
    let models = [layers(400_000, 600), layers(100_000, 1_400)].map(|layers| measured::model("chain", &npu, &layers));
    let jobs = models.each_ref().map(|(model, analysis)| Job { model, analysis, requests: 1 });
    let mut group = criterion.benchmark_group("10,000 + 10,000 layers");
    group.sample_size(10);
    let weave = || Weaver::new(&npu, &jobs).and_then(|weaver| weaver.weave(Policy::Optimal));
    group.bench_function("optimal", |b| b.iter(|| black_box(weave())));
    group.finish();
}

criterion_group!(benches, largest_pair, long_chains);
criterion_main!(benches);
