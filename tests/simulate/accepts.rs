//! Sound schedules, and two figures of each worked out by hand.

use layerweaver::schedule::{CommandId, ModelId, Schedule};
use layerweaver::simulate::{Simulation, simulate};
use layerweaver::units::{Cycles, Ratio};

use crate::support::{EXAMPLE, RESIDUAL, parse, retime, split_second_half, verdict};

fn simulated(text: &str) -> Simulation {
    simulate(&Schedule::from_json(text.as_bytes()).expect("it is read")).expect("it is sound")
}

/// cmd6 is the second half of the convolution, and its last tile: m = 8 · 16 = 128 rows stream, k = 8 · 3 · 3 = 72 is
/// ⌈72/16⌉ = 5 folds on 16 rows, n = 16 is one. A fill of 16, then 4 folds of max(128, 16), the last of 128, and
/// 16 + 16 − 2 of drain: 16 + 4 · 128 + 128 + 30 = 686. cmd1 has no drain: 656.
///
/// cmd4 moves 1152 B: 18 bursts of 64 B, each 4 cycles at 16 B a cycle: 72. It starts when cmd1, whose operand it
/// overwrites, is done at 900, and is done at 900 + 72 + 100 = 1072. There cmd6 starts, and is done at 1758.
#[test]
fn the_example_comes_to_what_is_known_of_it() {
    let simulation = simulated(EXAMPLE);
    let run = |command| (simulation.start[CommandId(command)].get(), simulation.done[CommandId(command)].get());
    assert_eq!((run(1), run(4), run(6)), ((244, 900), (900, 1072), (1072, 1758)));
    assert_eq!(simulation.cycles, Cycles(1986));
    assert_eq!((simulation.compute_busy, simulation.dma_busy), (Cycles(1501), Cycles(608)));
    assert_eq!(simulation.compute_utilization.map(Ratio::millionths), Some(755_791));
    assert_eq!(simulation.dma_utilization.map(Ratio::millionths), Some(306_143));
    assert_eq!(simulation.finish[ModelId(0)], [Cycles(1986)]);
    assert_eq!(simulation.finish[ModelId(1)], [Cycles(1204)]);
}

/// cmd2, half of k: 2 folds on 16 rows, 4 rows stream, the fill takes 16/2 = 8. Two arrays take a fold each:
/// 8 + 4 and `command_cycles` 1 are 13 cycles. cmd3 ends the layer and drains 30 more: 43.
///
/// cmd5 spills 64 B: one burst of 64/(16 · 0.8) = 5 cycles after a setup of 3. It starts when cmd3 is done at 169 and is
/// done at 169 + 8 + 20 = 197. cmd8, which loads that again, starts there.
#[test]
fn a_spill_and_an_add_in_place_are_sound() {
    let simulation = simulated(RESIDUAL);
    let run = |command| (simulation.start[CommandId(command)].get(), simulation.done[CommandId(command)].get());
    assert_eq!((run(2), run(3), run(5), run(8)), ((83, 96), (126, 169), (169, 197), (197, 225)));
    assert_eq!(simulation.finish[ModelId(1)], [Cycles(285), Cycles(396)]);
}

#[test]
fn partial_sums_may_pass_on_to_other_boxes() {
    let mut file = parse(RESIDUAL);
    split_second_half(&mut file);
    retime(&mut file).expect("it runs");
    verdict(&file).expect("it is read").expect("it is sound");
}

/// What the tests of the rules build upon.
#[test]
fn to_retime_a_sound_schedule_changes_nothing() {
    for text in [EXAMPLE, RESIDUAL] {
        let mut file = parse(text);
        retime(&mut file).expect("it runs");
        assert_eq!(file, parse(text));
        assert!(verdict(&file).is_some_and(|verdict| verdict.is_ok()));
    }
}

/// The convolution's tiles make 16 · 8 · 16 results from 72 rows on 16: 8192 bytes of sums.
#[test]
fn sums_may_fill_the_accumulators() {
    let mut file = parse(EXAMPLE);
    file["npu"]["matrix"]["accumulator_bytes"] = 8192.into();
    assert!(verdict(&file).expect("it is read").is_ok());
}
