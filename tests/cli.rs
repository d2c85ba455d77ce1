//! The command line, whole: arguments in, exit code and both streams out.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::testdata;
use layerweaver::units::Ratio;

fn layerweaver(arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_layerweaver"));
    command.args(arguments).current_dir(folder).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// The tiny pair in a folder of its own.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["tiny_cnn.onnx", "tiny_mlp.onnx"] {
        fs::copy(testdata(name), folder.path().join(name)).expect("copied");
    }
    folder
}

const PAIR: [&str; 4] = ["tiny_cnn.onnx", "tiny_mlp.onnx", "--npu", "paper-like"];

#[test]
fn compile_writes_a_schedule_that_simulate_accepts() {
    let folder = folder();
    let compiled = layerweaver(&[&["compile"], &PAIR[..], &["-o", "s.json"]].concat(), folder.path());
    assert_eq!((compiled.status.code(), text(&compiled.stdout)), (Some(0), String::new()));
    let simulated = layerweaver(&["simulate", "s.json"], folder.path());
    assert_eq!(simulated.status.code(), Some(0), "{}", text(&simulated.stderr));
    assert!(text(&simulated.stdout).starts_with("valid: "));
    let streamed = layerweaver(&[&["compile"], &PAIR[..]].concat(), folder.path());
    assert_eq!(streamed.stdout, fs::read(folder.path().join("s.json")).expect("written"), "the same bytes");
    let left: Vec<_> = fs::read_dir(folder.path()).expect("a folder").collect();
    assert_eq!(left.len(), 3, "no part file is left");
}

#[test]
fn a_changed_schedule_is_refused() {
    let folder = folder();
    layerweaver(&[&["compile"], &PAIR[..], &["-o", "s.json"]].concat(), folder.path());
    let path = folder.path().join("s.json");
    let mut schedule: serde_json::Value = serde_json::from_slice(&fs::read(&path).expect("written")).expect("JSON");
    schedule["summary"]["cycles"] = 1.into();
    fs::write(&path, schedule.to_string()).expect("written");
    let refused = layerweaver(&["simulate", "s.json"], folder.path());
    assert_eq!((refused.status.code(), text(&refused.stdout)), (Some(3), String::new()));
    assert!(text(&refused.stderr).contains("summary"), "{}", text(&refused.stderr));
}

/// Bad input: exit 1, one sentence that names the file, and no output file.
#[test]
fn bad_input_is_said_in_one_sentence() {
    let folder = folder();
    let resnet = fs::read(testdata("resnet50.onnx")).expect("there");
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).expect("written");
    write("truncated.onnx", &resnet[..resnet.len() / 2]);
    write("empty.onnx", b"");
    write("text.onnx", b"this is a text, and no model\n");
    write("table.json", b"[1, 2]");
    fs::copy(testdata("bert_base_dynamic.onnx"), folder.path().join("dynamic.onnx")).expect("copied");
    let npu = layerweaver(&["npus", "paper-like"], folder.path());
    write("zero.json", text(&npu.stdout).replace("\"lanes\": 512", "\"lanes\": 0").as_bytes());
    write("unknown.json", text(&npu.stdout).replace("\"lanes\"", "\"lines\"").as_bytes());
    let cases = [
        ("truncated.onnx", "paper-like", "truncated.onnx"),
        ("empty.onnx", "paper-like", "empty.onnx"),
        ("text.onnx", "paper-like", "text.onnx"),
        ("table.json", "paper-like", "table.json"),
        ("absent.onnx", "paper-like", "absent.onnx"),
        ("dynamic.onnx", "paper-like", "--dim batch="),
        ("tiny_mlp.onnx", "zero.json", "zero.json: vector.lanes: is 0"),
        ("tiny_mlp.onnx", "unknown.json", "unknown.json: vector.lines"),
        ("tiny_mlp.onnx", "tpu-v33", "did you mean 'tpu-v3'?"),
    ];
    let mut said = String::new();
    for (model, npu, expected) in cases {
        let done = layerweaver(&["compile", "tiny_cnn.onnx", model, "--npu", npu, "-o", "out.json"], folder.path());
        let words = text(&done.stderr);
        assert_eq!((done.status.code(), text(&done.stdout)), (Some(1), String::new()), "{model} {npu}: {words}");
        assert!(words.contains(expected), "{words}");
        assert_eq!(words.lines().count(), 1, "one sentence: {words}");
        assert!(!folder.path().join("out.json").exists());
        said += &words;
    }
    common::assert_snapshot("cli", "bad_input", &said);
}

#[test]
fn wrong_usage_is_exit_2() {
    let folder = folder();
    for arguments in [
        &["compile", "tiny_cnn.onnx"][..],
        &["compile", "tiny_cnn.onnx", "tiny_mlp.onnx", "--npu", "tpu-v3", "--requests", "0,1"],
        &["analyze", "tiny_cnn.onnx", "--npu", "tpu-v3", "--dim", "batch"],
        &["compile", "tiny_cnn.onnx", "tiny_mlp.onnx", "--npu", "tpu-v3", "--effort", "much"],
        &["analyze", "tiny_mlp.onnx", "--npu", "tpu-v3", "--precision", "int5"],
        &["analyze", "tiny_mlp.onnx", "--npu", "tpu-v3", "--precision", "weights"],
        &["analyze", "tiny_mlp.onnx", "--npu", "tpu-v3", "--precision", "biases=int8"],
        &["analyze", "tiny_mlp.onnx", "--npu", "tpu-v3", "--precision", "weights=int8,weights=int4"],
        &["analyze", "tiny_cnn.onnx", "--npu", "tpu-v3", "--sort", "speed"],
        &["analyze", "tiny_cnn.onnx", "--npu", "tpu-v3", "--format", "json", "--top", "3"],
        &["weave"],
    ] {
        assert_eq!(layerweaver(arguments, folder.path()).status.code(), Some(2), "{arguments:?}");
    }
}

/// The first layer of `tiny_mlp`: 256 × 512 weights and 512 biases, 4 × 256 inputs and 4 × 512 outputs, which the NPU
/// has in 16 bits.
#[test]
fn weights_and_activations_take_formats_of_their_own() {
    let folder = folder();
    let bytes = |precision: &[&str]| {
        let arguments = [&["analyze", "tiny_mlp.onnx", "--npu", "paper-like", "--format", "json"], precision].concat();
        let table: serde_json::Value =
            serde_json::from_slice(&layerweaver(&arguments, folder.path()).stdout).expect("JSON");
        ["weight_bytes", "input_bytes", "output_bytes"]
            .map(|field| table[0]["layers"][0][field].as_u64().expect("bytes"))
    };
    let (weights, inputs, outputs) = (256 * 512 + 512, 4 * 256, 4 * 512);
    assert_eq!(bytes(&[]), [weights * 2, inputs * 2, outputs * 2]);
    assert_eq!(bytes(&["--precision", "fp8"]), [weights, inputs, outputs]);
    assert_eq!(bytes(&["--precision", "weights=int4,activations=fp32"]), [weights / 2, inputs * 4, outputs * 4]);
    assert_eq!(bytes(&["--precision", "weights=int4"]), [weights / 2, inputs * 2, outputs * 2]);
    assert_eq!(bytes(&["--precision", "activations=model"]), [weights * 2, inputs * 4, outputs * 4]);
}

/// A precision whose rate the NPU gives is scheduled by it, and `simulate` agrees; another is refused, with the layer.
#[test]
fn only_precisions_with_a_rate_are_scheduled() {
    let folder = folder();
    let npu = text(&layerweaver(&["npus", "paper-like"], folder.path()).stdout);
    let rated = npu.replace("\"kind\":", "\"precision_rate\": {\"int8\": 2, \"bf16\": 1},\n    \"kind\":");
    fs::write(folder.path().join("npu.json"), rated).expect("written");
    let compile = |precision| {
        let arguments = ["compile", "tiny_cnn.onnx", "tiny_mlp.onnx", "--npu", "npu.json", "--precision", precision];
        layerweaver(&arguments, folder.path())
    };
    let done = compile("int8");
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let refused = compile("weights=int8,activations=fp32");
    assert_eq!((refused.status.code(), text(&refused.stdout)), (Some(1), String::new()));
    let words = text(&refused.stderr);
    assert!(words.starts_with("error: tiny_cnn.onnx: layer '"), "{words}");
    assert!(words.contains("multiplies elements of 32 bits"), "{words}");
}

/// `tiny_mlp` ends with a softmax of 4 × 64 points: 5 operations on 512 lanes are ⌈2.5⌉ cycles, 8 are 4. A layer table
/// keeps its own.
#[test]
fn a_chip_says_what_a_softmax_costs_it() {
    let folder = folder();
    let npu = text(&layerweaver(&["npus", "paper-like"], folder.path()).stdout);
    for (name, operator) in [("npu.json", "Softmax"), ("near.json", "SofMax2")] {
        let changed = npu.replace("\"lanes\":", &format!("\"operations\": {{\"{operator}\": 8}}, \"lanes\":"));
        fs::write(folder.path().join(name), changed).expect("written");
    }
    let analyze = |model, npu| layerweaver(&["analyze", model, "--npu", npu, "--format", "json"], folder.path());
    let softmax = |table: &Output| {
        let table: serde_json::Value = serde_json::from_slice(&table.stdout).expect("JSON");
        ["lane_operations", "compute_cycles"].map(|field| table[0]["layers"][2][field].as_u64().expect("a number"))
    };
    let own = analyze("tiny_mlp.onnx", "paper-like");
    assert_eq!(softmax(&own), [5, 3]);
    assert_eq!(softmax(&analyze("tiny_mlp.onnx", "npu.json")), [8, 4]);
    fs::write(folder.path().join("table.json"), &own.stdout).expect("written");
    assert_eq!(softmax(&analyze("table.json", "npu.json")), [5, 3]);
    let near = analyze("tiny_mlp.onnx", "near.json");
    let words = "error: near.json: vector.operations: there is no operator 'SofMax2'; did you mean 'Softmax'?\n";
    assert_eq!((near.status.code(), text(&near.stderr)), (Some(1), words.to_owned()));
}

/// `/layer4/layer4.0/conv2/Conv` by hand: 7 × 7 positions, 3 × 3 over 512 channels into 512; 65,536 cells; 2 bytes an
/// element, bias included; 300 GB/s. The docs have the same example.
#[test]
fn a_row_of_the_table_by_hand() {
    let arguments =
        ["analyze", "resnet50.onnx", "--npu", "paper-like", "--format", "csv", "--sort", "share", "--top", "1"];
    let done = layerweaver(&arguments, &testdata(""));
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let csv = text(&done.stdout);
    let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    let [header, row] = &lines[..] else { panic!("one layer: {csv}") };
    let of = |name: &str| row[header.iter().position(|column| *column == name).expect("a column")];
    assert_eq!(of("layer"), "/layer4/layer4.0/conv2/Conv");
    let macs: u64 = 7 * 7 * 512 * 512 * 9;
    let weights: u64 = (512 * 512 * 9 + 512) * 2;
    assert_eq!((of("macs"), of("weight_bytes")), (&*macs.to_string(), &*weights.to_string()));
    assert_eq!((of("dram_bytes"), of("floor_bytes")), (of("weight_bytes"), of("weight_bytes")));
    // 36 × 4 folds, 36 for each of 4 arrays: 128 of fill, 35 more folds of max(49, 128), 49 and 254 of drain.
    assert_eq!(of("compute_cycles"), (128 + 35 * 128 + 49 + 254).to_string());
    let ratio = |part: u64, whole: u64| format!("{:.6}", Ratio::of(part, whole).expect("no zero"));
    assert_eq!(of("array_utilization"), ratio(macs, 65_536 * 4911));
    assert_eq!(of("arithmetic_intensity"), ratio(2 * macs, weights));
    let brought = u128::from(2 * macs) * 300_000_000_000 / u128::from(weights);
    assert_eq!(of("attainable_ops"), brought.to_string());
    assert_eq!(of("bound"), "memory");
}

/// Figures from the largest, `--top` the first of them; shares sum to the whole, and no layer moves less than its floor.
#[test]
fn layers_are_sorted_and_cut() {
    let column = |arguments: &[&str], name: &str| -> Vec<u64> {
        let common = ["analyze", "bert_base.onnx", "--npu", "ethos-u55-256", "--format", "csv"];
        let csv = text(&layerweaver(&[&common, arguments].concat(), &testdata("")).stdout);
        let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let at = lines.next().expect("a header").iter().position(|column| *column == name).expect("a column");
        lines.map(|line| line[at].replace('.', "").parse().expect("a figure")).collect()
    };
    let in_order = column(&[], "dram_bytes");
    let mut descending = in_order.clone();
    descending.sort_unstable_by(|a, b| b.cmp(a));
    assert_ne!(in_order, descending);
    assert_eq!(column(&["--sort", "dram_bytes"], "dram_bytes"), descending);
    assert_eq!(column(&["--sort", "dram_bytes", "--top", "7"], "dram_bytes"), descending[..7]);
    let floors = column(&[], "floor_bytes");
    assert!(in_order.iter().zip(&floors).all(|(dram, floor)| floor <= dram));
    assert!(in_order.iter().sum::<u64>() > 2 * floors.iter().sum::<u64>(), "48 KiB hold little of BERT");
    let shares = column(&[], "share");
    assert!(shares.iter().sum::<u64>().abs_diff(1_000_000) <= shares.len() as u64, "millionths, each rounded");
}

/// A layer table that nobody changed gives the schedule of the ONNX file; one with other cycles is scheduled by those.
#[test]
fn layer_tables_take_the_place_of_models() {
    let folder = folder();
    let table = layerweaver(&["analyze", "tiny_cnn.onnx", "--npu", "paper-like", "--format", "json"], folder.path());
    fs::write(folder.path().join("cnn.json"), &table.stdout).expect("written");
    let from_onnx = layerweaver(&[&["compile"], &PAIR[..]].concat(), folder.path());
    let from_table = ["compile", "cnn.json", "tiny_mlp.onnx", "--npu", "paper-like"];
    assert_eq!(layerweaver(&from_table, folder.path()).stdout, from_onnx.stdout);

    let mut changed: serde_json::Value = serde_json::from_slice(&table.stdout).expect("JSON");
    changed[0]["layers"][0]["compute_cycles"] = 123_457.into();
    fs::write(folder.path().join("cnn.json"), changed.to_string()).expect("written");
    let done = layerweaver(&from_table, folder.path());
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let schedule: serde_json::Value = serde_json::from_slice(&done.stdout).expect("JSON");
    let commands = schedule["commands"].as_array().expect("a list").iter();
    let measured = commands.filter(|command| command["op"] == "measured").map(|command| &command["cycles"]);
    assert_eq!(measured.map(|cycles| cycles.as_u64().expect("cycles")).sum::<u64>(), 123_457);
}

/// Every number of a table, changed to what it should not be: a schedule or a sentence, never a panic, never a schedule
/// that `simulate` refuses.
#[test]
fn broken_tables_give_a_schedule_or_a_sentence() {
    let folder = folder();
    let table = layerweaver(&["analyze", "tiny_mlp.onnx", "--npu", "paper-like", "--format", "json"], folder.path());
    let table: serde_json::Value = serde_json::from_slice(&table.stdout).expect("JSON");
    for path in numbers(&table, String::new()) {
        for value in [0, 1_u64 << 44] {
            let mut changed = table.clone();
            *changed.pointer_mut(&path).expect("it was found there") = value.into();
            fs::write(folder.path().join("changed.json"), changed.to_string()).expect("written");
            let arguments = ["compile", "changed.json", "tiny_cnn.onnx", "--npu", "paper-like"];
            let done = layerweaver(&arguments, folder.path());
            assert!(matches!(done.status.code(), Some(0 | 1)), "{path} = {value}: {}", text(&done.stderr));
        }
    }
}

/// The JSON pointers of all numbers.
fn numbers(value: &serde_json::Value, path: String) -> Vec<String> {
    match value {
        serde_json::Value::Number(_) => vec![path],
        serde_json::Value::Array(items) => {
            items.iter().enumerate().flat_map(|(i, item)| numbers(item, format!("{path}/{i}"))).collect()
        }
        serde_json::Value::Object(fields) => {
            fields.iter().flat_map(|(name, field)| numbers(field, format!("{path}/{name}"))).collect()
        }
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::String(_) => Vec::new(),
    }
}
