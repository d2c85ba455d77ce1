//! Snapshots of what is right: each was read, and the tiny pair's stream worked through by hand, before it was accepted.

mod common;

use common::{NPUS, Network, alone, assert_snapshot, npu, pairs, schedules};
use layerweaver::report::{self, Selection};
use layerweaver::simulate;

/// The layers of each network on paper-like, to the last digit; and of a tiny one as people see them.
#[test]
fn layers_of_each_network() {
    let npu = npu("paper-like");
    for name in common::CNNS.into_iter().chain(common::OTHERS).chain(["resnet152", "tiny_cnn", "tiny_mlp"]) {
        let table = [Network::read(name, &npu).layer_table(&npu)];
        let mut csv = Vec::new();
        report::layer_csv(&mut csv, &npu, &table, Selection::default()).expect("memory takes all");
        assert_snapshot("analysis", name, &String::from_utf8(csv).expect("text"));
    }
    let table = [Network::read("tiny_cnn", &npu).layer_table(&npu)];
    let mut shown = Vec::new();
    report::layer_tables(&mut shown, &npu, &table, Selection::default()).expect("memory takes all");
    assert_snapshot("analysis", "tiny_cnn.table", &String::from_utf8(shown).expect("text"));
}

/// Every pair under every policy: what it comes to, and what must hold of it.
#[test]
fn summary_of_each_pair() {
    for (a, b) in pairs() {
        let mut text = String::new();
        for name in NPUS {
            let npu = npu(name);
            let (of_a, of_b) = (Network::read(a, &npu), Network::read(b, &npu));
            let schedules = schedules(&npu, &of_a, &of_b, [1, 1]);
            let mut table = Vec::new();
            report::compare_table(&mut table, &schedules, &alone(&npu, &of_a, &of_b)).expect("memory takes all");
            text += &format!("{name}\n{}", String::from_utf8(table).expect("text"));
            for schedule in &schedules {
                let summary = &schedule.summary;
                let simulated = simulate::simulate(schedule).unwrap_or_else(|faults| panic!("{a} {b}: {faults:?}"));
                assert_eq!(simulated.cycles, summary.cycles);
                assert!(summary.floor_cycles <= summary.bound_cycles && summary.bound_cycles <= summary.cycles);
                assert!(summary.policy == "round-robin" || summary.cycles <= summary.serial_cycles);
            }
            let optimal = schedules.last().expect("optimal is the last policy").summary.cycles;
            assert!(schedules.iter().all(|schedule| optimal <= schedule.summary.cycles), "{a} {b} on {name}");
        }
        assert_snapshot("summary", &format!("{a}+{b}"), &text);
    }
}

/// A whole stream, command by command.
#[test]
fn stream_of_the_tiny_pair() {
    let npu = npu("paper-like");
    let (a, b) = (Network::read("tiny_cnn", &npu), Network::read("tiny_mlp", &npu));
    for schedule in schedules(&npu, &a, &b, [1, 1]) {
        let name = format!("tiny_cnn+tiny_mlp.{}", schedule.summary.policy);
        assert_snapshot("stream", &name, &report::stream_text(&schedule));
    }
}
