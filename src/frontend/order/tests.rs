//! Small graphs against every topological order, and some worked by hand.

use std::collections::BTreeSet;

use bytes::Bytes as Text;
use proptest::prelude::*;

use super::super::{Options, build, fingerprint, proto};
use super::*;
use crate::ir::{Access, Affine, Dim, DimId, Layer, NdBox, Op, Operand, Role, Tensor, TensorId, TensorKind};

/// A layer of a small graph: it writes `size` bytes behind what earlier layers wrote of a tensor, and reads what some
/// of the earlier ones wrote.
#[derive(Clone, Debug)]
struct Small {
    tensor: usize,
    size: u64,
    reads: Vec<usize>,
    reads_input: bool,
}

fn affine(offset: u64, dim: usize) -> Option<Access> {
    let terms = vec![(DimId::from(dim), 1)];
    Some(Access(vec![Affine { offset: i64::try_from(offset).unwrap(), terms }]))
}

/// Tensor 0 is an input of 3 bytes. Every second of the others is an output. A part of the same size and place as what
/// the layer writes is read element by element, so that it can be written over.
fn model(layers: &[Small]) -> Model {
    let tensor = |name: String, size, kind| Tensor { name, shape: vec![size], element_bits: 8, kind };
    let written = |layers: &[Small], tensor| layers.iter().filter(|l| l.tensor == tensor).map(|l| l.size).sum::<u64>();
    let begin = |layer: usize| written(&layers[..layer], layers[layer].tensor);
    let of_tensor = |id: usize| {
        let kind = if id.is_multiple_of(2) { TensorKind::Activation } else { TensorKind::Output };
        tensor(format!("t{id}"), written(layers, id), kind)
    };
    let input = tensor("x".into(), 3, TensorKind::Input);
    let of_layer = |(id, small): (usize, &Small)| {
        let mut sizes = vec![small.size];
        let mut read = |tensor: usize, offset, size| {
            let same = (offset, size) == (begin(id), small.size);
            let dim = if same { 0 } else { sizes.len() };
            if !same {
                sizes.push(size);
            }
            Operand { tensor: TensorId::from(tensor), access: affine(offset, dim) }
        };
        let earlier = small.reads.iter().map(|&other| read(layers[other].tensor + 1, begin(other), layers[other].size));
        let mut reads: Vec<Operand> = earlier.collect();
        reads.extend(small.reads_input.then_some(Operand { tensor: TensorId(0), access: None }));
        let dims = sizes.iter().map(|&size| Dim { name: "m".into(), size, role: Role::M }).collect();
        let write = Some(Operand { tensor: TensorId::from(small.tensor + 1), access: affine(begin(id), 0) });
        let (name, kind, nodes) = (format!("l{id}"), "Copy".into(), Vec::new());
        Layer { name, kind, nodes, op: Op::Vector, dims, lane_operations: 1, reads, write }
    };
    let made = (0..2 * layers.len()).map(of_tensor);
    let (name, fingerprint) = ("m".into(), String::new());
    let tensors = std::iter::once(input).chain(made).collect();
    Model { name, fingerprint, tensors, layers: layers.iter().enumerate().map(of_layer).collect() }
}

/// Which box of which tensor.
type Part = (TensorId, NdBox);

fn touched(model: &Model, layer: &Layer, operand: &Operand) -> Part {
    (operand.tensor, operand.touched(&layer.whole(), &model.tensors[operand.tensor].shape).unwrap())
}

/// Whether two parts have an element in common.
fn meet(a: &Part, b: &Part) -> bool {
    a.0 == b.0 && a.1.meets(&b.1)
}

/// The most that is held in the model's order, looked up anew for each layer: what was begun and is used from there on.
fn peak(model: &Model) -> Bytes {
    let layers: Vec<&Layer> = model.layers.iter().collect();
    let part = |layer: &Layer, operand: &Operand| touched(model, layer, operand);
    let kind = |part: &Part| model.tensors[part.0].kind;
    let is_read = |of: &Part, by: &[&Layer]| by.iter().any(|l| l.reads.iter().any(|read| meet(&part(l, read), of)));
    let held = |at: usize| {
        let layer = layers[at];
        let mut live: BTreeSet<Part> =
            layers[..at].iter().flat_map(|l| l.write.iter().map(|write| part(l, write))).collect();
        let inputs = model.tensors.iter_with_ids().filter(|(_, tensor)| tensor.kind == TensorKind::Input);
        live.extend(inputs.map(|(id, tensor)| (id, tensor.whole())).filter(|input| is_read(input, &layers[..=at])));
        live.retain(|part| is_read(part, &layers[at..]));
        let write = layer.write.as_ref().unwrap();
        let new = part(layer, write);
        let is_over = |old: &Part| {
            let mut reads = layer.reads.iter().filter(|read| read.tensor == old.0).peekable();
            let is_read_here = reads.peek().is_some();
            kind(old) == TensorKind::Activation
                && is_read_here
                && old.1 == new.1
                && reads.all(|read| read.access == write.access)
                && !is_read(old, &layers[at + 1..])
        };
        if !live.iter().any(is_over) {
            live.insert(new);
        }
        live.iter().map(|(tensor, part)| model.tensors[*tensor].bytes_of(part)).sum()
    };
    (0..layers.len()).map(held).max().unwrap_or(Bytes::ZERO)
}

/// Every order in which the layers can run.
fn every_order(model: &Model) -> Vec<Model> {
    let all: Vec<&Layer> = model.layers.iter().collect();
    let needs = |a: &Layer, b: &Layer| {
        let written = touched(model, b, b.write.as_ref().unwrap());
        a.reads.iter().any(|read| meet(&touched(model, a, read), &written))
    };
    let mut orders: Vec<Vec<usize>> = vec![Vec::new()];
    for _ in &all {
        let with_next = |order: Vec<usize>| {
            let is_ready = |next: usize| {
                !order.contains(&next) && (0..all.len()).all(|i| order.contains(&i) || !needs(all[next], all[i]))
            };
            let next: Vec<usize> = (0..all.len()).filter(|&next| is_ready(next)).collect();
            next.into_iter().map(move |next| [order.clone(), vec![next]].concat()).collect::<Vec<_>>()
        };
        orders = orders.into_iter().flat_map(with_next).collect();
    }
    let reordered =
        |order: Vec<usize>| Model { layers: order.into_iter().map(|i| all[i].clone()).collect(), ..model.clone() };
    orders.into_iter().map(reordered).collect()
}

fn names(model: &Model) -> Vec<&str> {
    model.layers.iter().map(|layer| layer.name.as_str()).collect()
}

fn any_small() -> impl Strategy<Value = Vec<Small>> {
    let layer = |id: usize, of: usize| {
        let reads = proptest::collection::btree_set(0..id.max(1), 0..3);
        (0..of, 1..9u64, reads, any::<bool>()).prop_map(move |(tensor, size, reads, reads_input)| {
            let reads = reads.into_iter().filter(|&read| read < id).collect();
            Small { tensor, size, reads, reads_input }
        })
    };
    (1..8usize).prop_flat_map(move |of| (0..of).map(|id| layer(id, of)).collect::<Vec<_>>())
}

fn small(tensor: usize, size: u64, reads: &[usize]) -> Small {
    Small { tensor, size, reads: reads.to_vec(), reads_input: reads.is_empty() }
}

/// Two branches of an input of 3 bytes: each makes 20 bytes and of those 1. The file has both 20 made first.
///
/// | the file's | l0 | l1 | l2 | l3 | l4 | better | l0 | l2 | l1 | l3 | l4 |
/// |---|---|---|---|---|---|---|---|---|---|---|---|
/// | input | 3 | 3 | | | | | 3 | 3 | 3 | | |
/// | results of 20 | 20 | 40 | 40 | 20 | | | 20 | 20 | 20 | 20 | |
/// | the others | | | 1 | 2 | 4 | | | 1 | 1 | 2 | 4 |
/// | held | 23 | 43 | 41 | 22 | 4 | | 23 | 24 | 24 | 22 | 4 |
#[test]
fn a_branch_that_shrinks_runs_out_before_the_next_begins() {
    let layers = [small(0, 20, &[]), small(2, 20, &[]), small(4, 1, &[0]), small(6, 1, &[1]), small(1, 2, &[2, 3])];
    let file = model(&layers);
    assert_eq!((file.check(), peak(&file)), (Ok(()), Bytes(43)));
    let ordered = for_least_peak(file);
    assert_eq!((names(&ordered), peak(&ordered)), (vec!["l0", "l2", "l1", "l3", "l4"], Bytes(24)));
}

/// Such branches of 45 bytes hold 45 + 20 + 20 in the file's order and 45 + 20 + 1 in the better one. Where a layer
/// before them makes the 45 of 50, 95 are held in any order, and nothing moves.
#[test]
fn without_gain_the_files_order_stays() {
    let behind = |head: &[Small]| {
        let (from, tensor) = (head.len() - 1, |i| 2 * (head.len() + i));
        let (a, b) = (small(tensor(0), 20, &[from]), small(tensor(1), 20, &[from]));
        let ends = [small(tensor(2), 1, &[from + 1]), small(tensor(3), 1, &[from + 2])];
        model(&[head, &[a, b], &ends, &[small(1, 2, &[from + 3, from + 4])]].concat())
    };
    let free = behind(&[small(0, 45, &[])]);
    assert_eq!((peak(&free), peak(&for_least_peak(free.clone()))), (Bytes(85), Bytes(66)));
    let bound = behind(&[small(0, 50, &[]), small(2, 45, &[0])]);
    assert_eq!((peak(&bound), for_least_peak(bound.clone())), (Bytes(95), bound));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// In full, and with one state to a step, as in the widest of graphs.
    #[test]
    fn small_graphs_have_the_least_peak_of_every_order(layers in any_small()) {
        let file = model(&layers);
        prop_assert_eq!(file.check(), Ok(()));
        let of_file = peak(&file);
        let least = every_order(&file).iter().map(peak).min().unwrap();
        let ordered = for_least_peak(file.clone());
        prop_assert_eq!(ordered.check(), Ok(()));
        prop_assert_eq!(peak(&ordered), least);
        if least == of_file {
            prop_assert_eq!(&ordered, &file);
        }
        let narrow = order(&Lives::of(&file), |_| 1).into_iter().map(|id| file.layers[id].clone()).collect();
        let narrow = Model { layers: narrow, ..file };
        prop_assert_eq!(narrow.check(), Ok(()));
        prop_assert!(peak(&narrow) <= of_file);
    }
}

/// What the order is worth on the networks of testdata/, for `docs/scheduling.md`:
/// `cargo test --lib order_of_networks -- --ignored --nocapture`.
#[test]
#[ignore = "prints a table"]
#[allow(clippy::print_stdout, reason = "that is what it is for")]
fn order_of_networks() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let files = [&root, &root.join("exported")].map(|folder| std::fs::read_dir(folder).unwrap());
    let mut paths: Vec<_> = files.into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "onnx"));
    paths.sort();
    for path in paths {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let proto = proto::decode(Text::from(std::fs::read(&path).unwrap())).unwrap();
        let fingerprint = fingerprint::of(&proto);
        let dims = ["batch", "sequence", "past"].map(|dim| (dim.to_owned(), 8));
        let options = [Options::default(), Options { dims: dims.into(), ..Options::default() }];
        let built = options.iter().find_map(|options| build(proto.clone(), &name, fingerprint.clone(), options).ok());
        let Some(import) = built else {
            println!("{name}: needs sizes");
            continue;
        };
        let file = import.model;
        let lives = Lives::of(&file);
        let start = std::time::Instant::now();
        let ordered = for_least_peak(file.clone());
        let (time, parts) = (start.elapsed(), lives.parts());
        let largest = parts.iter().map(ExactSizeIterator::len).max().unwrap_or(0);
        let (before, after, floor) = (peak(&file), peak(&ordered), lives.floor());
        println!(
            "{name}: {} layers, largest part {largest}, {before} -> {after}, floor {floor}, {time:?}",
            file.layers.len()
        );
    }
}
