//! What crosses the DRAM channel for a layer, and what is in the scratchpad meanwhile.

use super::{Explained, Sheet, box_formula};
use crate::analysis;
use crate::coschedule::{Alone, Held};
use crate::cost;
use crate::ir::LayerId;
use crate::units::Bytes;

pub(super) fn explain(of: &Explained, id: LayerId, sheet: &mut Sheet) {
    sheet.title("DRAM traffic");
    if let Some(alone) = of.alone {
        tiles(of, alone, id, sheet);
    }
    floor(of, id, sheet);
    let dram = &of.npu.dram;
    sheet.given("clock_hz", of.npu.clock_hz);
    sheet.given("bytes_per_second", dram.bytes_per_second);
    sheet.given("efficiency_permille", dram.efficiency_permille);
    sheet.given("burst_bytes", dram.burst_bytes);
    sheet.given("setup_cycles", dram.setup_cycles);
    match of.alone {
        Some(alone) => transfers(of, alone, id, sheet),
        None => {
            sheet.say("no layout: some layer has no room in the scratchpad; as if all activations stayed on chip");
            sheet.given("dram_bytes", of.figure(id, "dram_bytes"));
        }
    }
    let bytes = of.dram_bytes(id);
    match bytes {
        Bytes::ZERO => sheet.given("dma_cycles", of.figure(id, "dma_cycles")),
        bytes => transfer(of, sheet, "", "dram_bytes", bytes, &of.figure(id, "dma_cycles")),
    }
    sheet.say("what the tiles move beyond each tensor once");
    let (moved, once) = (of.dram_bytes(id).get(), of.floor_bytes(id).get());
    sheet.derived("beyond_floor", "dram_bytes - floor_bytes", i128::from(moved) - i128::from(once));
    least(of, id, sheet);
    if let Some(alone) = of.alone {
        scratchpad(of, alone, id, sheet);
    }
}

/// What the smallest tile holds.
fn least(of: &Explained, id: LayerId, sheet: &mut Sheet) {
    let Some(least) = analysis::least(&of.of.model, of.layer(id), of.npu) else { return };
    sheet.title("Least scratchpad: the smallest tile, with nothing kept for other layers");
    sheet.say(format_args!("the tile {} of {}", least.tile, of.layer(id).whole()));
    sheet.given("alignment_bytes", of.npu.sram.alignment_bytes.get());
    let mut terms = Vec::new();
    for (at, (tensor, part, element_bits)) in least.boxes.iter().enumerate() {
        let tensor = &of.of.model.tensors[*tensor];
        let sums = if *element_bits == tensor.element_bits { "" } else { "partial sums of " };
        sheet.say(format_args!("{sums}'{}' {part}", tensor.name));
        let bytes = Bytes::of_elements(part.volume(), *element_bits);
        terms.push(aligned(of, sheet, &format!("least{at}"), &box_formula(part, *element_bits), bytes));
    }
    match terms.is_empty() {
        true => sheet.given("least_sram_bytes", 0),
        false => sheet.derived("least_sram_bytes", &terms.join(" + "), least.bytes.get()),
    }
}

/// A box rounded up to the alignment; its name.
fn aligned(of: &Explained, sheet: &mut Sheet, name: &str, formula: &str, bytes: Bytes) -> String {
    let formula = format!("ceil({formula} / alignment_bytes) * alignment_bytes");
    sheet.derived(name, &formula, bytes.get().next_multiple_of(of.npu.sram.alignment_bytes.get()));
    name.to_owned()
}

/// How the layer is cut.
fn tiles(of: &Explained, alone: &Alone, id: LayerId, sheet: &mut Sheet) {
    let layer = of.layer(id);
    let tiles = alone.tiling(id).tiles(layer);
    let Some(first) = tiles.first().filter(|_| tiles.len() > 1) else {
        sheet.say("one tile: the whole layer");
        return sheet.given("tiles", 1);
    };
    let cuts = || layer.dims.iter().zip(&first.0).filter(|(dim, span)| span.size() < dim.size);
    let words: Vec<String> =
        cuts().map(|(dim, span)| format!("{} by {} of {}", dim.name, span.size(), dim.size)).collect();
    let loops = alone.tiling(id).loops(layer);
    let loops: Vec<&str> = loops.iter().map(|&dim| layer.dims[dim].name.as_str()).collect();
    sheet.say(format_args!("cut along {}; loops from the outermost: {}", words.join(", "), loops.join(", ")));
    let counts: Vec<String> = cuts().map(|(dim, span)| format!("ceil({} / {})", dim.size, span.size())).collect();
    sheet.derived("tiles", &counts.join(" * "), tiles.len());
}

/// Each tensor once.
fn floor(of: &Explained, id: LayerId, sheet: &mut Sheet) {
    let shares = &of.of.analysis.once[id];
    let tensor = |tensor| &of.of.model.tensors[tensor].name;
    let words: Vec<String> = shares.iter().map(|(of, bytes)| format!("'{}' {bytes}", tensor(*of))).collect();
    if !words.is_empty() {
        sheet.say(format_args!("at least, each tensor once, by the first layer that touches it: {}", words.join(", ")));
    }
    let terms: Vec<String> = shares.iter().map(|(_, bytes)| bytes.get().to_string()).collect();
    of.sum(id, sheet, "floor_bytes", &terms);
}

/// Every transfer for the layer's tiles, those of the same size together.
fn transfers(of: &Explained, alone: &Alone, id: LayerId, sheet: &mut Sheet) {
    let loads = alone.loads(id);
    let loads = loads.iter().map(|boxes| (boxes.iter().map(|held| held.bytes).sum(), boxes.iter().collect::<Vec<_>>()));
    let stores = alone.stores(id);
    let stores = stores.iter().map(|held| (held.bytes, vec![held]));
    let mut terms = Vec::new();
    for (word, transfers) in [("load", loads.collect::<Vec<_>>()), ("store", stores.collect())] {
        for (at, (bytes, boxes, times)) in grouped(transfers).into_iter().enumerate() {
            let first: Vec<String> = boxes.iter().map(|held| of.words(held)).collect();
            let (name, times_name) = (format!("{word}{at}"), format!("{word}{at}_times"));
            sheet.say(format_args!("{word}s of this size, the first of {}", first.join(", ")));
            let sizes: Vec<String> = boxes.iter().map(|held| box_formula(held.part, held.element_bits)).collect();
            sheet.derived(&name, &sizes.join(" + "), bytes.get());
            sheet.given(&times_name, times);
            transfer(
                of,
                sheet,
                &format!("{name}_"),
                &name,
                bytes,
                &cost::transfer_cycles(of.npu, bytes).get().to_string(),
            );
            terms.push(format!("{times_name} * {name}"));
        }
    }
    of.sum(id, sheet, "dram_bytes", &terms);
}

/// Transfers of the same size, from the first of them, with their number.
fn grouped<'a, 'b>(transfers: Vec<(Bytes, Vec<&'b Held<'a>>)>) -> Vec<(Bytes, Vec<&'b Held<'a>>, u64)> {
    let mut groups: Vec<(Bytes, Vec<&Held>, u64)> = Vec::new();
    for (bytes, boxes) in transfers {
        match groups.iter_mut().find(|(known, _, _)| *known == bytes) {
            Some((_, _, times)) => *times += 1,
            None => groups.push((bytes, boxes, 1)),
        }
    }
    groups
}

/// Bursts and cycles of one transfer.
fn transfer(of: &Explained, sheet: &mut Sheet, prefix: &str, moved: &str, bytes: Bytes, cycles: &str) {
    let bursts = format!("{prefix}bursts");
    sheet.derived(&bursts, &format!("ceil({moved} / burst_bytes)"), cost::transfer_cost(of.npu, bytes).bursts);
    let formula = format!(
        "setup_cycles + ceil({bursts} * burst_bytes * clock_hz * 1000 / (bytes_per_second * efficiency_permille))"
    );
    let name = if prefix.is_empty() { "dma_cycles".into() } else { format!("{prefix}cycles") };
    sheet.derived(&name, &formula, cycles);
}

/// What is held while the tile runs that holds the most.
fn scratchpad(of: &Explained, alone: &Alone, id: LayerId, sheet: &mut Sheet) {
    sheet.title("Scratchpad, while the tile runs that holds the most");
    sheet.given("alignment_bytes", of.npu.sram.alignment_bytes.get());
    let mut terms = Vec::new();
    for (at, held) in alone.held(id).iter().enumerate() {
        let is_used = of.layer(id).operands().any(|operand| operand.tensor == held.tensor);
        let kept = if is_used { "" } else { ", kept for a later layer" };
        sheet.say(format_args!("{}{kept}", of.words(held)));
        let formula = box_formula(held.part, held.element_bits);
        terms.push(aligned(of, sheet, &format!("held{at}"), &formula, held.bytes));
    }
    of.sum(id, sheet, "sram_bytes", &terms);
}

impl Explained<'_> {
    fn words(&self, held: &Held) -> String {
        let tensor = &self.of.model.tensors[held.tensor];
        let sums = if held.element_bits == tensor.element_bits { "" } else { "partial sums of " };
        format!("{sums}'{}' {}", tensor.name, held.part)
    }
}
