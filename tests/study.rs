//! Weights alone: each network as a table of measured layers, in scratchpads of several sizes.
//!
//! `cargo test --release --test study -- --ignored --nocapture` prints, for each size, how many of the pairs are proven
//! optimal, and how far the others are above the bound, one by one and on average.

mod common;
#[path = "common/measured.rs"]
mod measured;

use std::io::Write;

use common::{Network, npu, pairs};
use layerweaver::coschedule::{Job, Policy, Weaver};
use layerweaver::units::Bytes;

#[test]
#[ignore = "it reports, and takes seconds"]
fn weights_alone() {
    for mebibytes in [24, 8, 4, 1] {
        let mut npu = npu("paper-like");
        npu.sram.bytes = Bytes(mebibytes << 20);
        let chain = |name: &str| {
            let figures = Network::read(name, &npu).analysis.figures;
            let layers: Vec<_> =
                figures.iter().map(|layer| (layer.weight_bytes.get(), layer.compute_cycles.get())).collect();
            measured::model(name, &npu, &layers)
        };
        let (mut proven, mut count, mut above, mut shorter) = (0, 0, 0, 0);
        for (a, b) in pairs() {
            let models = [chain(a), chain(b)];
            let jobs = models.each_ref().map(|(model, analysis)| Job { model, analysis, requests: 1 });
            let weaver = Weaver::new(&npu, &jobs).expect("it fits");
            let [round_robin, optimal] =
                [Policy::RoundRobin, Policy::Optimal].map(|policy| weaver.weave(policy).expect("it fits"));
            assert!(optimal.bound <= optimal.cycles && optimal.cycles <= round_robin.cycles.min(optimal.serial));
            let millionths = |more: u64, of: u64| more * 1_000_000 / of;
            if optimal.cycles > optimal.bound {
                let ppm = millionths((optimal.cycles - optimal.bound).get(), optimal.bound.get());
                writeln!(std::io::stdout(), "{mebibytes} MiB: {a} + {b} is {ppm} ppm above its bound")
                    .expect("printed");
            }
            count += 1;
            proven += u64::from(optimal.cycles == optimal.bound);
            above += millionths((optimal.cycles - optimal.bound).get(), optimal.bound.get());
            shorter += millionths((round_robin.cycles - optimal.cycles).get(), optimal.cycles.get());
        }
        let line = format!(
            "{mebibytes} MiB: {proven} of {count} proven; on average {} ppm above the bound, round-robin {} ppm longer",
            above / count,
            shorter / count
        );
        writeln!(std::io::stdout(), "{line}").expect("printed");
        assert!(mebibytes < 24 || proven == count, "{line}");
    }
}
