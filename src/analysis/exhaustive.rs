//! Fitted tilings against every tiling: small layers at random, each candidate's tiles walked one by one.

use std::io::Write;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::fit::{Fit, fit, least};
use super::tiling::{choices, cuts_of_packed, cuts_of_role, tiles_cycles, writes_boxes};
use crate::cost;
use crate::ir::{
    Access, Affine, Dim, DimId, IdVec, Layer, Model, NdBox, Op, Operand, Role, Span, Tensor, TensorId, TensorKind,
};
use crate::npu::{Dataflow, Matrix, MatrixKind, Npu, named};
use crate::units::{Bytes, Cycles};

/// A layer on a machine, and the room that it has.
#[derive(Debug)]
struct Case {
    model: Model,
    npu: Npu,
    spilled: IdVec<TensorId, bool>,
    room: Bytes,
}

impl Case {
    fn layer(&self) -> &Layer {
        self.model.layers.iter().next().expect("one layer")
    }

    fn fit(&self) -> Option<Fit> {
        fit(&self.model, self.layer(), &self.npu, None, &self.spilled, self.room)
    }

    fn stays(&self, tensor: TensorId) -> bool {
        self.model.tensors[tensor].kind != TensorKind::Weight && !self.spilled[tensor]
    }
}

/// A grid of tiles, with the order of its loops from the outermost.
struct Grid<'a> {
    chunks: &'a [u64],
    loops: &'a [usize],
}

impl Grid<'_> {
    fn tiles(&self, layer: &Layer) -> Vec<NdBox> {
        let mut tiles = vec![layer.whole()];
        for &d in self.loops {
            let size = layer.dims[d].size;
            let cut = |tile: &NdBox| -> Vec<NdBox> {
                let starts = (0..size).step_by(self.chunks[d] as usize);
                let part = |begin| {
                    let mut part = tile.clone();
                    part.0[d] = Span { begin, end: (begin + self.chunks[d]).min(size) };
                    part
                };
                starts.map(part).collect()
            };
            tiles = tiles.iter().flat_map(cut).collect();
        }
        tiles
    }

    /// What the tiles load, of which each keeps what the one before had; `None` where one needs more than the room.
    fn traffic(&self, case: &Case) -> Option<Bytes> {
        let layer = case.layer();
        let alignment = case.npu.sram.alignment_bytes.get();
        let aligned = |bytes: Bytes| bytes.get().next_multiple_of(alignment);
        let mut traffic = Bytes::ZERO;
        let mut before: Vec<(TensorId, NdBox)> = Vec::new();
        for tile in self.tiles(layer) {
            let mut boxes: Vec<(TensorId, NdBox)> = Vec::new();
            for read in layer.reads.iter().filter(|read| !case.stays(read.tensor)) {
                let tensor = &case.model.tensors[read.tensor];
                let Some(part) = read.touched(&tile, &tensor.shape) else { continue };
                let holds = |(of, held): &&(TensorId, NdBox)| *of == read.tensor && held.contains(&part);
                let held = before.iter().chain(&boxes).find(holds).cloned();
                if held.is_none() {
                    traffic += tensor.bytes_of(&part);
                }
                let kept = held.unwrap_or((read.tensor, part));
                if !boxes.contains(&kept) {
                    boxes.push(kept);
                }
            }
            let mut needs: u64 = boxes.iter().map(|(of, part)| aligned(case.model.tensors[*of].bytes_of(part))).sum();
            if let Some(write) = &layer.write {
                let tensor = &case.model.tensors[write.tensor];
                let elements = write.touched(&tile, &tensor.shape).map_or(0, |part| part.volume());
                let is_cut = layer.dims.iter().zip(self.chunks).any(|(dim, &c)| dim.role == Role::K && c < dim.size);
                if is_cut && tensor.element_bits < 32 {
                    needs += aligned(Bytes::of_elements(elements, 32));
                }
                if case.spilled[write.tensor] {
                    needs += aligned(Bytes::of_elements(elements, tensor.element_bits));
                }
            }
            if needs > case.room.get() {
                return None;
            }
            before = boxes;
        }
        Some(traffic)
    }
}

/// The busier engine's time and the traffic of the best tiling, and the least traffic: in these orders of the roles, of
/// each group of chunks the first that has room.
fn best(case: &Case, groups: &[Vec<Vec<u64>>], orders: &[[Role; 4]]) -> Option<((Cycles, Bytes), Bytes)> {
    let layer = case.layer();
    let of_grid = |chunks: &Vec<u64>, order: &[Role; 4]| {
        let mut loops: Vec<usize> = (0..chunks.len()).filter(|&d| chunks[d] < layer.dims[d].size).collect();
        loops.sort_by_key(|&d| order.iter().position(|role| *role == layer.dims[d].role));
        Grid { chunks, loops: &loops }.traffic(case)
    };
    let mut found: Vec<(Cycles, Bytes)> = Vec::new();
    for group in groups {
        let of_chunks = |chunks: &Vec<u64>| -> Option<Vec<(Cycles, Bytes)>> {
            let compute = tiles_cycles(&case.model, layer, &case.npu, chunks);
            let key = |traffic| (compute.max(cost::transfer_cycles(&case.npu, traffic)), traffic);
            orders.iter().map(|order| of_grid(chunks, order).map(key)).collect()
        };
        let gapless = group.iter().filter(|chunks| writes_boxes(layer, chunks));
        found.extend(gapless.filter_map(of_chunks).next().into_iter().flatten());
    }
    let least = found.iter().map(|(_, traffic)| *traffic).min()?;
    Some((found.into_iter().min()?, least))
}

/// The space that `fit` searches: for each cut of groups, n and k those of m, from the coarsest.
fn searched(case: &Case) -> Vec<Vec<Vec<u64>>> {
    let of = |role, chunks: &Vec<u64>| choices(case.layer(), &case.npu, role, chunks);
    let whole: Vec<u64> = case.layer().dims.iter().map(|dim| dim.size).collect();
    let outer = [Role::Group, Role::N, Role::K]
        .into_iter()
        .fold(vec![whole], |all, role| all.iter().flat_map(|chunks| of(role, chunks)).collect());
    outer.iter().map(|chunks| of(Role::M, chunks)).collect()
}

/// Every size of chunk that is whole folds, in each dimension apart.
fn every(case: &Case) -> Vec<Vec<Vec<u64>>> {
    let layer = case.layer();
    let mut all = vec![layer.dims.iter().map(|dim| dim.size).collect::<Vec<_>>()];
    let packed = cuts_of_packed(layer, &case.npu);
    let of_k = if packed.is_empty() { cuts_of_role(layer, &case.npu, Role::K) } else { packed };
    let others = [Role::Group, Role::N, Role::M].into_iter().flat_map(|role| cuts_of_role(layer, &case.npu, role));
    for cut in others.chain(of_k) {
        let size = layer.dims[cut.dim].size;
        let sizes: Vec<u64> = (1..).map(|i| i * cut.quantum).take_while(|&c| c < size).chain([size]).collect();
        let with = |chunks: &Vec<u64>| {
            let (chunks, dim) = (chunks.clone(), cut.dim);
            sizes.clone().into_iter().map(move |size| {
                let mut chunks = chunks.clone();
                chunks[dim] = size;
                chunks
            })
        };
        all = all.iter().flat_map(with).collect();
    }
    all.into_iter().map(|chunks| vec![chunks]).collect()
}

const SEARCHED_ORDERS: [[Role; 4]; 2] =
    [[Role::Group, Role::N, Role::M, Role::K], [Role::Group, Role::M, Role::N, Role::K]];

/// What is summed stays on chip, so k is the innermost.
const EVERY_ORDER: [[Role; 4]; 6] = [
    [Role::Group, Role::N, Role::M, Role::K],
    [Role::Group, Role::M, Role::N, Role::K],
    [Role::N, Role::Group, Role::M, Role::K],
    [Role::N, Role::M, Role::Group, Role::K],
    [Role::M, Role::Group, Role::N, Role::K],
    [Role::M, Role::N, Role::Group, Role::K],
];

fn index(offset: i64, terms: &[(u32, i64)]) -> Affine {
    Affine { offset, terms: terms.iter().map(|&(dim, stride)| (DimId(dim), stride)).collect() }
}

/// A tensor's shape, and where iterations touch it.
type Accessed = (Vec<u64>, Vec<Affine>);

/// A product `[g, m, k] × [g?, k, n]`, or a convolution of `m` positions with a window of three.
fn any_layer() -> impl Strategy<Value = (Vec<Dim>, Vec<Accessed>)> {
    let sizes = (1..4u64, 1..14u64, 1..11u64, 1..9u64, any::<bool>(), any::<bool>(), 1..3u64);
    sizes.prop_map(|(g, m, n, k, is_window, is_shared, stride)| {
        let dim = |name: &str, size, role| Dim { name: name.into(), size, role };
        let mut dims = vec![dim("g", g, Role::Group), dim("m", m, Role::M), dim("n", n, Role::N), dim("k", k, Role::K)];
        let (at, one) = (|d| index(0, &[(d, 1)]), index(0, &[]));
        let rows = if is_window {
            dims.push(dim("w", 3, Role::K));
            (m * stride, index(-1, &[(1, stride as i64), (4, 1)]))
        } else {
            (m, at(1))
        };
        let window = if is_window { (3, at(4)) } else { (1, one.clone()) };
        let group = if is_shared { (1, one) } else { (g, at(0)) };
        let tensor = |of: &[(u64, Affine)]| of.iter().cloned().unzip();
        let tensors = vec![
            tensor(&[(g, at(0)), rows, (k, at(3))]),
            tensor(&[group, (k, at(3)), window, (n, at(2))]),
            tensor(&[(g, at(0)), (m, at(1)), (n, at(2))]),
        ];
        (dims, tensors)
    })
}

fn any_case() -> impl Strategy<Value = Case> {
    let dataflow = prop_oneof![4 => Just(Dataflow::WeightStationary), 1 => Just(Dataflow::OutputStationary), 1 => Just(Dataflow::InputStationary)];
    let matrix = (1..3u64, 1..5u64, 1..5u64, dataflow).prop_map(|(arrays, rows, columns, dataflow)| {
        let kind = MatrixKind::Systolic { dataflow, double_buffered_weights: true, fill_rows_per_cycle: 1 };
        Matrix::new(arrays, rows, columns, kind)
    });
    let machine = (matrix, prop_oneof![Just(1u64), Just(4), Just(16)], 1..9u64);
    let spilled = prop::array::uniform3(prop::bool::weighted(0.7));
    (any_layer(), machine, spilled, 8..600u64).prop_map(|((dims, tensors), machine, spilled, room)| {
        let (matrix, alignment, bytes_per_cycle) = machine;
        let mut npu = named("paper-like").expect("built in");
        (npu.matrix, npu.sram.alignment_bytes, npu.dram.burst_bytes) = (matrix, Bytes(alignment), 1);
        npu.dram.bytes_per_second = npu.clock_hz * bytes_per_cycle / 2;
        let kinds = [TensorKind::Activation, TensorKind::Weight, TensorKind::Activation];
        let tensor = |((shape, _), kind): (&Accessed, TensorKind)| Tensor {
            name: "t".into(),
            shape: shape.clone(),
            element_bits: 8,
            kind,
        };
        let operand = |at: usize| Operand { tensor: TensorId::from(at), access: Some(Access(tensors[at].1.clone())) };
        let layer = Layer {
            name: "l".into(),
            kind: "MatMul".into(),
            nodes: Vec::new(),
            op: Op::Gemm,
            dims,
            lane_operations: 0,
            reads: vec![operand(0), operand(1)],
            write: Some(operand(2)),
        };
        let model = Model {
            name: "m".into(),
            fingerprint: String::new(),
            tensors: tensors.iter().zip(kinds).map(tensor).collect(),
            layers: [layer].into_iter().collect(),
        };
        let [a, _, c] = spilled;
        Case { model, npu, spilled: [a, false, c].into_iter().collect(), room: Bytes(room) }
    })
}

fn key(fit: &Fit) -> (Cycles, Bytes) {
    (fit.tiling.compute.max(fit.transfers), fit.traffic)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]
    /// No tiling of the space that is searched is better, and what is predicted is what its tiles load.
    #[test]
    fn the_fit_is_the_best_of_its_space(case in any_case()) {
        let all = searched(&case);
        // Parts of a window at the edge can lie within each other, which the prediction does not know.
        if all.iter().flatten().any(|chunks| chunks.get(4).is_some_and(|&window| window < 3)) {
            return Ok(());
        }
        let best = best(&case, &all, &SEARCHED_ORDERS).map(|(best, _)| best);
        prop_assert_eq!(case.fit().as_ref().map(key), best);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    /// In the least room there is a tiling, and with a byte less there is none; and its boxes are what it counts.
    #[test]
    fn less_than_the_least_room_is_too_little(case in any_case()) {
        let Case { model, npu, .. } = &case;
        let least = least(model, case.layer(), npu).expect("some tile");
        let spilled = model.tensors.iter().map(|_| true).collect();
        let has_fit = |room| fit(model, case.layer(), npu, None, &spilled, Bytes(room)).is_some();
        prop_assert!(has_fit(least.bytes.get()) && !has_fit(least.bytes.get() - 1));
        let aligned = |bytes: Bytes| bytes.get().next_multiple_of(npu.sram.alignment_bytes.get());
        let boxes = least.boxes.iter().map(|(_, part, bits)| aligned(Bytes::of_elements(part.volume(), *bits)));
        prop_assert_eq!(boxes.sum::<u64>(), least.bytes.get());
    }
}

/// How far the fit is from the best of all tilings, in the busier engine's time and in traffic, in thousandths.
#[test]
fn every_tiling_is_hardly_better() {
    let mut runner = TestRunner::deterministic();
    let (mut cases, mut slower, mut more, mut worst, mut equal) = (0u64, 0, 0, 0, 0);
    for _ in 0..400 {
        let case = any_case().new_tree(&mut runner).expect("a case").current();
        let best = best(&case, &every(&case), &EVERY_ORDER);
        let (Some((best, least)), Some(fit)) = (best, case.fit()) else {
            assert!(best.is_none() && case.fit().is_none(), "{case:?}");
            continue;
        };
        let of_fit = key(&fit);
        assert!(best <= of_fit, "{case:?}");
        cases += 1;
        let above = (of_fit.0.get() - best.0.get()) * 1000 / best.0.get().max(1);
        slower += above;
        worst = worst.max(above);
        equal += u64::from(of_fit.0 == best.0);
        more += (of_fit.1.get() - least.get()) * 1000 / least.get().max(1);
    }
    let line = format!(
        "{cases} layers: {equal} as fast as the best, on average {} ‰ slower, at most {worst} ‰; {} ‰ above the least traffic",
        slower / cases,
        more / cases
    );
    writeln!(std::io::stdout(), "{line}").expect("printed");
    assert!(equal * 100 > cases * 98 && slower < cases && more < 10 * cases, "{line}");
}
