//! A model's weights cost nothing: neither memory nor time beyond those of its graph, wherever the file has them.
//!
//! The files have holes where the payloads are, so that 1.9 GiB take no room on the disk. Each is read by a process of
//! its own, which says the most memory that it ever had, pages of the mapped file among it.

#![cfg(target_os = "linux")]

mod frontend_models;

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;

use frontend_models::Graph;
use layerweaver::frontend::{Options, read};
use layerweaver::ir::TensorKind;
use onnx_protobuf::tensor_proto::DataLocation;
use onnx_protobuf::{Message, ModelProto, TensorProto};
use tempfile::NamedTempFile;

const MIB: u64 = 1 << 20;

/// What a process may have at its peak, whatever the weights are.
const MOST: u64 = 64 * MIB;

/// How many weights a model has: just below the 2 GiB that a protobuf may have.
const WEIGHTS: usize = 30;

/// The bytes that each takes in the file.
const PAYLOAD: u64 = 64 * MIB;

/// The first size of each.
const ROWS: i64 = 1 << 12;

/// Tells the processes which file they are to read.
const FILE: &str = "LAYERWEAVER_TEST_FILE";

#[test]
fn embedded_weights_are_not_read() {
    // The field of TensorProto, the element type, and the elements that the payload has: zeros of 4 bytes; of 1 byte
    // where they are varints, though a half would take 2.
    for (name, field, data_type, elements) in [
        ("raw_data", 9, 1, PAYLOAD / 4),
        ("float_data", 4, 1, PAYLOAD / 4),
        ("int32_data", 5, 10, PAYLOAD),
        ("int64_data", 7, 7, PAYLOAD),
        ("double_data", 10, 11, PAYLOAD / 8),
        ("uint64_data", 11, 13, PAYLOAD),
    ] {
        let shape = [ROWS, elements as i64 / ROWS];
        let weights = (0..WEIGHTS).map(|i| {
            let head = weight(i, data_type, shape).write_to_bytes().unwrap();
            [vec![Piece::Bytes(head)], nested(field, vec![Piece::Hole(PAYLOAD)])].concat()
        });
        let file = file(&model(weights, shape));
        assert!(file.as_file().metadata().unwrap().len() > WEIGHTS as u64 * PAYLOAD, "{name}");
        let peak = peak_of("a_process_reads_a_model", file.path());
        assert!(peak < MOST, "{} KiB for weights in {name}", peak / 1024);
    }
}

/// 30 weights of 128 GiB in a file that is not there.
#[test]
fn external_weights_are_not_looked_for() {
    let shape = [1 << 15, 1 << 20];
    let weights = (0..WEIGHTS).map(|i| {
        let tensor = TensorProto { data_location: DataLocation::EXTERNAL.into(), ..weight(i, 1, shape) };
        vec![Piece::Bytes(tensor.write_to_bytes().unwrap())]
    });
    let peak = peak_of("a_process_reads_a_model", file(&model(weights, shape)).path());
    assert!(peak < MOST, "{} KiB", peak / 1024);
}

/// The measure itself: who touches a map has it.
#[test]
fn the_peak_counts_pages_that_are_read() {
    let file = file(&[Piece::Hole(2 * MOST)]);
    assert!(peak_of("a_process_reads_every_page", file.path()) > 2 * MOST);
}

/// What the tests above run as a process of its own.
#[test]
#[ignore = "is run by the others"]
fn a_process_reads_a_model() {
    let import = read(Path::new(&std::env::var_os(FILE).unwrap()), &Options::default()).unwrap();
    let weights = import.model.tensors.iter().filter(|tensor| tensor.kind == TensorKind::Weight);
    assert_eq!((import.model.layers.len(), weights.count()), (WEIGHTS, WEIGHTS));
    say_peak();
}

/// Likewise.
#[test]
#[ignore = "is run by the others"]
#[expect(unsafe_code, reason = "mapping a file is unsafe in Rust")]
fn a_process_reads_every_page() {
    // SAFETY: Nobody else knows of the file.
    let map = unsafe { memmap2::Mmap::map(&File::open(std::env::var_os(FILE).unwrap()).unwrap()) }.unwrap();
    assert_eq!(map.iter().map(|&byte| u64::from(byte)).sum::<u64>(), 0);
    say_peak();
}

/// The most memory that this process has had so far.
#[expect(clippy::print_stdout, reason = "how one process tells another")]
fn say_peak() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", status.lines().find(|line| line.starts_with(PEAK)).unwrap());
}

/// What the system calls it, in KiB.
const PEAK: &str = "VmHWM:";

/// The most memory that a process has which runs one of the tests above on a file, in bytes.
fn peak_of(test: &str, file: &Path) -> u64 {
    let mut process = Command::new(std::env::current_exe().unwrap());
    let output = process.args(["--ignored", "--exact", "--nocapture", test]).env(FILE, file).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let peak = said.lines().find_map(|line| line.split_once(PEAK)?.1.trim().strip_suffix("kB")).unwrap();
    1024 * peak.trim().parse::<u64>().unwrap()
}

/// One product for each weight.
fn model(weights: impl Iterator<Item = Vec<Piece>>, shape: [i64; 2]) -> Vec<Piece> {
    let mut graph = Graph::new().input("x", &[1, shape[0]]);
    for i in 0..WEIGHTS {
        let (weight, output) = (format!("w{i}"), format!("y{i}"));
        graph = graph.node("MatMul", &["x", &weight], &[&output], vec![]).output(&output, &[1, shape[1]]);
    }
    let whole = graph.model();
    let head = ModelProto { graph: None.into(), ..whole.clone() };
    // Fields of a message may come in any order, and in parts.
    let mut graph = vec![Piece::Bytes(whole.graph.write_to_bytes().unwrap())];
    graph.extend(weights.flat_map(|weight| nested(5, weight)));
    [vec![Piece::Bytes(head.write_to_bytes().unwrap())], nested(7, graph)].concat()
}

fn weight(i: usize, data_type: i32, shape: [i64; 2]) -> TensorProto {
    TensorProto { name: format!("w{i}"), dims: shape.to_vec(), data_type, ..Default::default() }
}

/// A part of a file.
#[derive(Clone)]
enum Piece {
    Bytes(Vec<u8>),
    /// So many zeros, which take no room.
    Hole(u64),
}

/// A field of a message whose value is a message, or packed elements.
fn nested(field: u8, pieces: Vec<Piece>) -> Vec<Piece> {
    let size = |piece: &Piece| match piece {
        Piece::Bytes(bytes) => bytes.len() as u64,
        Piece::Hole(size) => *size,
    };
    let mut rest: u64 = pieces.iter().map(size).sum();
    let mut head = vec![field << 3 | 2];
    while rest >= 0x80 {
        head.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    head.push(rest as u8);
    [vec![Piece::Bytes(head)], pieces].concat()
}

/// A file of its own.
fn file(pieces: &[Piece]) -> NamedTempFile {
    let named = NamedTempFile::new().unwrap();
    let mut file = named.as_file();
    for piece in pieces {
        match piece {
            Piece::Bytes(bytes) => file.write_all(bytes).unwrap(),
            Piece::Hole(size) => drop(file.seek(SeekFrom::Current(*size as i64)).unwrap()),
        }
    }
    let end = file.stream_position().unwrap();
    file.set_len(end).unwrap();
    named
}
