//! `optimal` against every order, on jobs small enough to try them all on the real machine.

use proptest::prelude::*;

use super::*;
use crate::coschedule::testing::{Plain, any_tiles, chain, npu};
use crate::npu::Npu;

/// The least cycles of any order, stores early or late; without bounds, or cutting what the sums of cycles rule out.
fn least(npu: &Npu, layouts: &Layouts, cut: bool) -> Option<u64> {
    let chains = layouts.chains(&[0, 0]);
    let mut best = None;
    for stores_late in [false, true] {
        let machine = Machine::new(npu, &chains, &layouts.requests).storing_late(stores_late);
        visit(&machine, layouts, cut, &mut best);
    }
    best
}

fn visit(machine: &Machine, layouts: &Layouts, cut: bool, best: &mut Option<u64>) {
    let chains = layouts.chains(&[0, 0]);
    let left = |job: usize| &chains[job].tiles[usize::try_from(machine.progress(job).0).expect("few")..];
    let sum = |of: fn(&crate::coschedule::chain::ChainTile) -> Cycles| -> Cycles {
        left(0).iter().chain(left(1)).map(of).sum()
    };
    let bound = (machine.compute_free + sum(|tile| tile.cycles)).max(machine.dma_free + sum(|tile| tile.load_cycles));
    if cut && best.is_some_and(|best| best <= bound.get()) {
        return;
    }
    if left(0).is_empty() && left(1).is_empty() {
        let cycles = machine.clone().finish().1.get();
        *best = Some(best.map_or(cycles, |best| best.min(cycles)));
    }
    for job in 0..2 {
        if machine.has_next(job)
            && let Ok(step) = machine.probe(job)
        {
            let mut after = machine.clone();
            after.take(step);
            visit(&after, layouts, cut, best);
        }
    }
}

/// The bound is no more than the least, and what is found no less.
fn check(a: &[Plain], b: &[Plain], sram: u64, latency: u64, cut: bool) -> Result<(), TestCaseError> {
    let npu = npu(sram, latency);
    let layouts = Layouts::of_chains(&npu, &[chain(a), chain(b)]);
    let Ok(Some(serial)) = layouts.best(&Way::Serial, None) else { return Ok(()) };
    let least = least(&npu, &layouts, cut).expect("a serial order has room");
    prop_assert!(layouts.bound(&[0, 0]).get() <= least, "bound {} > {least}", layouts.bound(&[0, 0]));
    let found = search(&layouts, serial, Effort::NORMAL);
    prop_assert_eq!(found.cycles.get(), least);
    let replayed = layouts.race(&found.layouts, &found.order).cycles(&found.way, found.stores_late, None);
    prop_assert_eq!(replayed, Ok(Some(found.cycles)));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]
    #[test]
    fn optimal_is_the_best_of_all_orders(
        a in any_tiles(4),
        b in any_tiles(4),
        sram in prop_oneof![8..24u64, Just(1000)],
        latency in 0..3u64,
    ) {
        check(&a, &b, sram, latency, false)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]
    /// Loads at the channel's own rate, so that what the scratchpad lets pass counts.
    #[test]
    fn the_bound_holds_where_space_is_short(a in any_tiles(5), b in any_tiles(3), sram in 6..14u64) {
        let at_rate = |plain: &Plain| Plain { load: plain.load.map(|(bytes, _)| (bytes, bytes)), ..*plain };
        let (a, b): (Vec<_>, Vec<_>) = (a.iter().map(at_rate).collect(), b.iter().map(at_rate).collect());
        check(&a, &b, sram, 0, true)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn optimal_is_the_best_of_seven_and_seven(
        a in any_tiles(7),
        b in any_tiles(7),
        sram in prop_oneof![10..30u64, Just(1000)],
        latency in 0..3u64,
    ) {
        check(&a, &b, sram, latency, true)?;
    }
}

/// Orders of longer jobs, too many to try: the search by counts is never below the bound, nor above the policies, and
/// finds the same again.
#[test]
fn longer_jobs() {
    let tile =
        |i: u64| Plain { load: Some((1 + i * 7 % 5, 1 + i * 5 % 13)), compute: 1 + i * 11 % 17, ..Plain::default() };
    let (a, b): (Vec<_>, Vec<_>) = ((0..60).map(tile).collect(), (100..150).map(tile).collect());
    for sram in [10, 14, 20, 40, 1000] {
        let npu = npu(sram, 2);
        let layouts = Layouts::of_chains(&npu, &[chain(&a), chain(&b)]);
        let of = |way| layouts.best(&way, None).expect("it fits").expect("no limit");
        let serial = of(Way::Serial);
        let found = search(&layouts, serial.clone(), Effort::NORMAL);
        assert!(layouts.bound(&[0, 0]) <= found.cycles);
        assert!(found.cycles <= serial.cycles.min(of(Way::RoundRobin).cycles).min(of(Way::Greedy).cycles));
        assert_eq!(found.way, search(&layouts, serial, Effort::NORMAL).way);
    }
}

/// By hand, latency 0, a byte a cycle, room for 10 bytes: A computes 20, then loads 10 and computes 1; B loads 5 and
/// computes 1 twice. When A's first tile is done, at 20 or later, at most 10 of the 10 + 10 bytes are there or on
/// their way. By the bound, over B's own j: 20 + 10 for A, at least 2 for B, less 10 that fit and 1 for rounding: 21.
#[test]
fn what_the_scratchpad_lets_pass() {
    let tile = |load, compute| Plain { load, compute, ..Plain::default() };
    let (a, b) = ([tile(None, 20), tile(Some((10, 10)), 1)], [tile(Some((5, 5)), 1); 2]);
    let bound = |sram| {
        let npu = npu(sram, 0);
        let of = Layouts::of_chains(&npu, &[chain(&a), chain(&b)]);
        of.bound(&[0, 0]).get()
    };
    assert_eq!(bound(1000), 23);
    assert_eq!(bound(10), 23);
    assert_eq!(bound(5), 20 + 10 + 2 - 5 - 1);
}

/// How far the bound is from the optimum: `cargo test --lib -- --ignored --nocapture how_far`.
#[test]
#[ignore = "it reports"]
fn how_far_the_bound_is() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    use std::io::Write;
    for range in [1000..1001u64, 16..24, 8..16] {
        let mut runner = TestRunner::deterministic();
        let (mut count, mut met, mut above) = (0, 0, 0);
        for _ in 0..4000 {
            let instance = (any_tiles(4), any_tiles(4), range.clone(), 0..3u64);
            let (a, b, sram, latency) = instance.new_tree(&mut runner).expect("a value").current();
            let npu = npu(sram, latency);
            let layouts = Layouts::of_chains(&npu, &[chain(&a), chain(&b)]);
            let Some(least) = least(&npu, &layouts, true).filter(|&least| least > 0) else { continue };
            let bound = layouts.bound(&[0, 0]).get();
            count += 1;
            met += u64::from(bound == least);
            above += (least - bound) * 1_000_000 / least;
        }
        let line =
            format!("SRAM {range:?}: {count} instances, {met} bounds met, {} ppm below on average", above / count);
        writeln!(std::io::stdout(), "{line}").expect("printed");
    }
}
