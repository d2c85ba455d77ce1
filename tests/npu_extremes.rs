//! Any description of an NPU, however far from a chip, is refused with a field's path or used: nothing panics or wraps.

mod common;

use common::{Network, npu, testdata};
use layerweaver::analysis::analyze;
use layerweaver::coschedule::{Effort, Policy, Weaver};
use layerweaver::frontend::{self, FloatBits};
use layerweaver::npu::Npu;
use layerweaver::report;
use layerweaver::simulate::simulate;
use layerweaver::stream;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Each number of a description, with the least and the most that it may be.
const NUMBERS: [(&str, u64, u64); 15] = [
    ("/clock_hz", 1, 1 << 40),
    ("/matrix/arrays", 1, 1_000_000),
    ("/matrix/rows", 1, 1 << 16),
    ("/matrix/columns", 1, 1 << 16),
    ("/matrix/fill_rows_per_cycle", 1, 1 << 16),
    ("/matrix/accumulator_bytes", 1, 1 << 48),
    ("/vector/lanes", 1, 1 << 32),
    ("/command_cycles", 0, 1 << 24),
    ("/sram/bytes", 1, 1 << 48),
    ("/sram/alignment_bytes", 1, 1 << 48),
    ("/dram/bytes_per_second", 1, 1 << 60),
    ("/dram/efficiency_permille", 1, 1000),
    ("/dram/burst_bytes", 1, 1 << 30),
    ("/dram/latency_cycles", 0, 1 << 24),
    ("/dram/setup_cycles", 0, 1 << 24),
];

/// Of any order of magnitude, at an end of its range, or beyond; often what `paper-like` has.
fn any_number(least: u64, most: u64) -> impl Strategy<Value = Option<u64>> {
    prop_oneof![
        20 => Just(None),
        2 => Just(Some(least)),
        3 => Just(Some(most)),
        5 => (any::<u64>(), 0..64u32).prop_map(move |(bits, shift)| Some((bits >> shift).clamp(least, most))),
        1 => prop_oneof![Just(Some(0)), Just(Some(most + 1)), Just(Some(u64::MAX))],
    ]
}

fn any_numbers() -> impl Strategy<Value = Vec<Option<u64>>> {
    NUMBERS.iter().map(|&(_, least, most)| any_number(least, most)).collect::<Vec<_>>()
}

fn any_description() -> impl Strategy<Value = Value> {
    let dataflow = prop_oneof![Just("weight-stationary"), Just("output-stationary"), Just("input-stationary")];
    let rate = prop::option::of(prop_oneof![Just(1u64), Just(64), 1..65u64]);
    (any_numbers(), dataflow, any::<bool>(), any::<bool>(), rate).prop_map(|(numbers, dataflow, double, tree, rate)| {
        let mut file = serde_json::to_value(npu("paper-like")).expect("JSON");
        file["matrix"]["dataflow"] = dataflow.into();
        file["matrix"]["double_buffered_weights"] = double.into();
        file["matrix"]["precision_rate"] = rate.map_or(Value::Null, |rate| json!({"bf16": rate, "fp32": 1, "int8": 2}));
        if tree {
            file["matrix"]["kind"] = "adder-tree".into();
            file["matrix"]["dataflow"] = Value::Null;
        }
        for ((path, _, _), number) in NUMBERS.iter().zip(numbers) {
            if let Some(number) = number {
                let (parent, field) = path.rsplit_once('/').expect("a path");
                file.pointer_mut(parent).expect("it is there")[field] = number.into();
            }
        }
        file
    })
}

/// A network as the NPU has its floats; `None` where the analysis refuses it, in words.
fn network(name: &str, npu: &Npu) -> Option<Network> {
    let options = frontend::Options { float_bits: FloatBits::all(npu.precision.bits()), ..Default::default() };
    let model = frontend::read(&testdata(name), &options).expect("it is well").model;
    match analyze(&model, npu) {
        Ok(analysis) => Some(Network { model, analysis }),
        Err(error) => {
            assert!(error.to_string().starts_with("layer '"), "{error}");
            None
        }
    }
}

/// All that can be asked of a description.
fn check(file: &Value) {
    let npu = match Npu::from_json(file.to_string().as_bytes()) {
        Ok(npu) => npu,
        Err(error) => return assert!(error.path.contains(['.', '_']) || error.path == "matrix", "{error}"),
    };
    report::npu_table(&mut Vec::new(), [npu.clone()]).expect("a Vec takes all");
    let (Some(cnn), Some(mlp)) = (network("tiny_cnn.onnx", &npu), network("tiny_mlp.onnx", &npu)) else { return };
    let jobs = [cnn.job(2), mlp.job(3)];
    let weaver = match Weaver::new(&npu, &jobs) {
        Ok(weaver) => weaver.with_effort(Effort::LOW),
        Err(no_fit) => return assert!(no_fit.to_string().contains("sram.bytes"), "{no_fit}"),
    };
    let tables = [cnn.layer_table(&npu), mlp.layer_table(&npu)];
    report::layer_tables(&mut Vec::new(), &npu, &tables, report::Selection::default()).expect("a Vec takes all");
    report::layer_csv(&mut Vec::new(), &npu, &tables, report::Selection::default()).expect("a Vec takes all");
    for policy in Policy::ALL {
        let Ok(woven) = weaver.weave(policy) else { continue };
        let schedule = stream::lower(&npu, &jobs, &woven);
        simulate(&schedule).unwrap_or_else(|violations| panic!("{file}: {violations:?}"));
        report::summary_line(&schedule);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn any_description_is_refused_or_used(file in any_description()) {
        check(&file);
    }
}

/// Each number alone at either end of its range.
#[test]
fn the_ends_of_each_range_are_refused_or_used() {
    for (path, least, most) in NUMBERS {
        for number in [least, most] {
            let mut file = serde_json::to_value(npu("paper-like")).expect("JSON");
            let (parent, field) = path.rsplit_once('/').expect("a path");
            file.pointer_mut(parent).expect("it is there")[field] = number.into();
            check(&file);
        }
    }
}
