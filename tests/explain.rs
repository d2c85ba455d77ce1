//! `analyze --explain` can be checked: each of its formulas is evaluated, as it stands and in numbers, and must give the
//! value beside it; and the values are those of the table.

mod common;
#[path = "common/formula.rs"]
mod formula;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use common::testdata;
use formula::{Fraction, evaluate, fraction};
use layerweaver::npu::NAMES;

fn analyze(arguments: &[&str], folder: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_layerweaver"));
    let done = command.arg("analyze").args(arguments).current_dir(folder).output().expect("the binary runs");
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text")
}

/// Checks every line `name = formula = … = value` of a sheet by those above it, and gives the names with their values.
fn checked(sheet: &str) -> BTreeMap<String, Fraction> {
    let mut known = BTreeMap::new();
    for line in sheet.lines().filter_map(|line| line.strip_prefix("  ")) {
        let parts: Vec<&str> = line.split(" = ").collect();
        let is_name = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let [name, formulas @ .., value] = &parts[..] else { continue };
        if !is_name(name) {
            continue;
        }
        let value = fraction(value).unwrap_or_else(|| panic!("no number: {line}"));
        for formula in formulas {
            let found = evaluate(formula, &known).unwrap_or_else(|word| panic!("{word} is not known: {line}\n{sheet}"));
            assert!(found.rounds_to(value), "{line}\n{sheet}");
        }
        known.insert((*name).to_owned(), value);
    }
    known
}

/// Explains every `step`-th layer of a model, and compares with the model's rows.
fn check(model: &str, npu: &str, step: usize, folder: &Path) -> usize {
    let csv = analyze(&[model, "--npu", npu, "--format", "csv"], folder);
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().expect("a header");
    let mut count = 0;
    for (layer, row) in lines.enumerate().step_by(step) {
        let sheet = analyze(&[model, "--npu", npu, "--explain", &layer.to_string()], folder);
        assert!(sheet.starts_with(&format!("{}: layer{layer} of", row[1])), "{sheet}");
        let known = checked(&sheet);
        assert!(known.contains_key("least_sram_bytes") && known.contains_key("beyond_floor"), "{sheet}");
        for (column, cell) in header.iter().zip(&row).skip(3).filter(|(_, cell)| !cell.is_empty()) {
            let Some(figure) = fraction(cell) else { continue };
            let is_said = known.get(*column) == Some(&figure) || (*column == "macs" && *cell == "0");
            assert!(is_said, "{column} is {cell}\n{sheet}");
            count += 1;
        }
    }
    count
}

/// Systolic arrays and adder trees, whole layers and spilled ones.
#[test]
fn every_formula_gives_its_figure_on_every_npu() {
    let count: usize = NAMES.iter().map(|npu| check("tiny_cnn.onnx", npu, 1, &testdata(""))).sum();
    assert!(count > NAMES.len() * 4 * 10, "four layers: {count} figures");
}

/// Packed groups, halos, shared operands, embeddings.
#[test]
fn every_formula_gives_its_figure_in_every_kind_of_layer() {
    for (model, npu, step) in [
        ("mobilenet_v2.onnx", "tpu-v1", 3),
        ("resnext50_32x4d.onnx", "paper-like", 5),
        ("bert_base.onnx", "ethos-u55-256", 11),
        ("xlnet_large.onnx", "tpu-v3", 17),
        ("ncf.onnx", "nvdla-full", 1),
    ] {
        assert!(check(model, npu, step, &testdata("")) > 0);
    }
}

/// The other dataflows, one fold at a time; and a layer whose cycles are given.
#[test]
fn every_dataflow_and_measured_layers_are_explained() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::copy(testdata("tiny_cnn.onnx"), folder.path().join("cnn.onnx")).expect("copied");
    let npu = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("npus/paper-like.json")).expect("there");
    for dataflow in ["output-stationary", "input-stationary"] {
        for double in ["true", "false"] {
            let changed = npu.replace("weight-stationary", dataflow);
            let changed =
                changed.replace("\"double_buffered_weights\": true", &format!("\"double_buffered_weights\": {double}"));
            assert!(changed.contains(dataflow));
            fs::write(folder.path().join("npu.json"), changed).expect("written");
            check("cnn.onnx", "npu.json", 1, folder.path());
        }
    }
    let table = analyze(&["cnn.onnx", "--npu", "npu.json", "--format", "json"], folder.path());
    let mut table: serde_json::Value = serde_json::from_str(&table).expect("JSON");
    table[0]["layers"][1]["compute_cycles"] = 123_457.into();
    fs::write(folder.path().join("cnn.json"), table.to_string()).expect("written");
    check("cnn.json", "npu.json", 1, folder.path());
    assert!(
        analyze(&["cnn.json", "--npu", "npu.json", "--explain", "1"], folder.path())
            .contains("given in the layer table")
    );
}

/// By hand, ResNet-50's widest 3 × 3 convolution on `paper-like`, bf16 and 128 × 128. One fold is 128 of 512 input
/// channels in whole windows (3 · 3 · 128 is a multiple of 128) by 128 of 512 output channels, at one position: weights
/// 128 · 128 · 9 · 2 = 294,912, a bias of 256, a window of 128 · 9 · 2 = 2304, 128 sums of 32 bits = 512, as many
/// results = 256. All are multiples of 64.
#[test]
fn the_least_scratchpad_by_hand() {
    let layer = "/layer4/layer4.0/conv2/Conv";
    let sheet = analyze(&["resnet50.onnx", "--npu", "paper-like", "--explain", layer], &testdata(""));
    let known = checked(&sheet);
    let all = 294_912 + 256 + 2304 + 512 + 256;
    assert_eq!(known.get("least_sram_bytes"), fraction(&all.to_string()).as_ref(), "{sheet}");
    // Weights and bias are all that crosses the channel, each once.
    assert_eq!(known.get("beyond_floor"), fraction("0").as_ref(), "{sheet}");
}

/// By name, by the name of a node that was fused, in several models; and what a near miss says.
#[test]
fn layers_are_found_by_name() {
    let folder = testdata("");
    let both = analyze(&["tiny_cnn.onnx", "tiny_cnn.onnx", "--npu", "tpu-v1", "--explain", "/inner/Conv"], &folder);
    assert_eq!(both.matches("/inner/Conv: layer1 of tiny_cnn on tpu-v1").count(), 2);
    let node = analyze(&["resnet50.onnx", "--npu", "tpu-v1", "--explain", "/layer1/layer1.0/relu/Relu"], &folder);
    assert!(node.contains("ONNX nodes") && node.contains("/layer1/layer1.0/relu/Relu"), "{node}");
    let refused = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_layerweaver"));
        let common = ["analyze", "tiny_cnn.onnx", "--npu", "tpu-v1"];
        let done = command.args(common).args(arguments).current_dir(&folder).output().expect("the binary runs");
        (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let (code, words) = refused(&["--explain", "/iner/Conv"]);
    assert_eq!(code, Some(1));
    assert!(words.contains("tiny_cnn: there is no layer '/iner/Conv'; did you mean '/inner/Conv'?"), "{words}");
    assert_eq!(refused(&["--explain", "1", "--format", "json"]).0, Some(2));
}
