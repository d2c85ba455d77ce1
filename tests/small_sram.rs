//! Scratchpads that do not hold a model's activations: layers are cut for the room that they have, the rest is spilled.

mod common;

use common::{Network, npu, schedules};
use layerweaver::npu::{NAMES, Npu};
use layerweaver::report;
use layerweaver::schedule::{Command, Direction, Schedule};
use layerweaver::simulate::{Violation, simulate};
use layerweaver::units::Bytes;

fn sound(npu: &Npu, a: &str, b: &str) -> Vec<Schedule> {
    let schedules = schedules(npu, &Network::read(a, npu), &Network::read(b, npu), [1, 1]);
    for schedule in &schedules {
        let faults = simulate(schedule).err();
        assert_eq!(faults, None, "{a} {b} on {}: {}", npu.name, schedule.summary.policy);
    }
    schedules
}

fn stored(schedule: &Schedule) -> Bytes {
    let store = |command: &Command| match command {
        Command::Dma(transfer) if transfer.op == Direction::Store => Some(transfer.bytes),
        Command::Dma(_) | Command::Compute(_) => None,
    };
    schedule.commands.iter().filter_map(store).sum()
}

/// From 48 KiB to hundreds of megabytes.
#[test]
fn a_small_pair_fits_every_npu_of_the_library() {
    for name in NAMES {
        sound(&npu(name), "tiny_cnn", "tiny_mlp");
    }
}

/// 512 KiB hold neither MobileNet's activations of 2.4 MB nor BERT's weights of 4.7 MB a layer.
#[test]
fn what_does_not_fit_is_spilled_and_counted() {
    let mut small = npu("nvdla-full");
    small.sram.bytes = Bytes(512 << 10);
    let serial = &sound(&small, "mobilenet_v2", "bert_base")[0];
    let outputs = Bytes(1000 + 128 * 768 + 768);
    assert!(stored(serial) > outputs, "{} stored, and the outputs are {outputs}", stored(serial));
    let counted: Bytes = serial.models.iter().flat_map(|model| &model.layers).map(|row| row.figures.dram_bytes).sum();
    let moved = serial.commands.iter().map(|command| match command {
        Command::Dma(transfer) => transfer.bytes,
        Command::Compute(_) => Bytes::ZERO,
    });
    assert_eq!(counted, moved.sum());
}

/// 1 KiB of accumulators on 16 × 16 cells: a fold's columns with 16 rows of results.
#[test]
fn sums_that_accumulators_do_not_hold_are_cut() {
    let mut small = npu("gemmini");
    let mut wide = sound(&small, "tiny_cnn", "tiny_mlp");
    small.matrix.accumulator_bytes = Some(Bytes(1 << 10));
    sound(&small, "tiny_cnn", "tiny_mlp");
    wide[0].npu = small;
    let faults = simulate(&wide[0]).unwrap_err();
    assert!(faults.iter().all(|fault| matches!(fault, Violation::AccumulatorsFull { .. })), "{faults:?}");
}

/// 16 KiB: the stem's output (8 KiB) is read twice by the residual block, whose own output has no room beside it.
#[test]
fn stream_of_a_spilled_network() {
    let mut small = npu("paper-like");
    small.sram.bytes = Bytes(16 << 10);
    let serial = &sound(&small, "tiny_cnn", "tiny_cnn")[0];
    common::assert_snapshot("stream", "tiny_cnn+tiny_cnn.spilled", &report::stream_text(serial));
}
