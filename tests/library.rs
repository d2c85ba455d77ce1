//! Every network of testdata/ on every NPU of the library: there is a layout, and the best serial stream, alone on the
//! chip, passes `simulate`.

mod common;

use std::fs;
use std::io::Write;
use std::sync::Mutex;

use common::{Network, npu};
use layerweaver::coschedule::{Alone, Policy, Weaver};
use layerweaver::npu::{NAMES, Npu};
use layerweaver::simulate::simulate;
use layerweaver::stream;
use layerweaver::units::Bytes;

/// The names of all networks, in order; the one with symbolic dimensions has a twin without.
fn networks() -> Vec<String> {
    let files = fs::read_dir(common::testdata("")).expect("a folder").map(|entry| entry.expect("an entry").path());
    let models = files.filter(|path| path.extension().is_some_and(|ending| ending == "onnx"));
    let names = models.map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| !name.ends_with("_dynamic")).collect();
    names.sort();
    names
}

/// Hundreds of thousands of tiles: large networks of many equal blocks on a chip of less than a mebibyte.
fn is_long(npu: &Npu, network: &str) -> bool {
    let has_many_blocks = ["bert_large", "xlnet_large", "resnet152", "gpt2_prefill"].contains(&network);
    has_many_blocks && npu.sram.bytes < Bytes(1 << 20)
}

/// What is wrong with a network on an NPU, if anything is.
fn fault(npu: &Npu, network: &Network, with_stream: bool) -> Option<String> {
    let jobs = [network.job(1)];
    let alone = match Alone::new(npu, &jobs[0]) {
        Ok(alone) => alone,
        Err(no_fit) => return Some(no_fit.to_string()),
    };
    let most = alone.sram_bytes().iter().max().copied();
    if most.is_none_or(|most| most > npu.sram.bytes) {
        return Some(format!("{most:?} are held"));
    }
    if !with_stream {
        return None;
    }
    match Weaver::new(npu, &jobs).and_then(|weaver| weaver.weave(Policy::Serial)) {
        Ok(woven) => simulate(&stream::lower(npu, &jobs, &woven)).err().map(|violations| format!("{violations:?}")),
        Err(no_fit) => Some(no_fit.to_string()),
    }
}

/// Asks for a stream of each network on each NPU that the filter lets through, for a layout of all others.
fn run(has_stream: impl Fn(&Npu, &str) -> bool + Sync) {
    let networks = networks();
    let left = Mutex::new(NAMES.iter().flat_map(|npu| networks.iter().map(move |network| (npu, network))));
    let faults = Mutex::new(Vec::new());
    let work = || {
        loop {
            let Some((name, network)) = left.lock().expect("no thread panics").next() else { return };
            let npu = npu(name);
            let of_network = Network::read(network, &npu);
            if let Some(fault) = fault(&npu, &of_network, has_stream(&npu, network)) {
                let _ = writeln!(std::io::stderr(), "{network} on {name}: {fault}");
                faults.lock().expect("no thread panics").push(format!("{network} on {name}: {fault}"));
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
    assert_eq!(faults.into_inner().expect("no thread panics"), Vec::<String>::new());
}

#[test]
fn every_network_runs_on_every_npu() {
    run(|npu, network| !is_long(npu, network));
}

#[test]
#[ignore = "it takes minutes: what the test above leaves out"]
fn long_networks_run_on_small_npus() {
    run(is_long);
}
