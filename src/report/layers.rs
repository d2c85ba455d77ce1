//! The layers of a model with their figures, as a table or as CSV.

use std::io::{self, Write};

use super::table;
use crate::schedule::{Bound, LayerRow, Npu, ScheduledModel};
use crate::units::{Bytes, Cycles, Macs, Ratio};

const COLUMNS: [&str; 11] =
    ["layer", "kind", "MACs", "weight B", "input B", "output B", "DRAM B", "compute cyc", "DMA cyc", "ops/B", "bound"];

/// A table for each model, with totals and the NPU's ridge point.
pub fn layer_tables(out: &mut impl Write, npu: &Npu, models: &[ScheduledModel]) -> io::Result<()> {
    for (i, model) in models.iter().enumerate() {
        if i > 0 {
            writeln!(out)?;
        }
        writeln!(out, "{} on {}: {} layers", model.name, npu.name, model.layers.len())?;
        let mut rows: Vec<Vec<String>> = model.layers.iter().map(cells).collect();
        rows.push(totals(model));
        table::write(out, 2, &COLUMNS, &rows)?;
        // Operations a second at the peak over bytes a second at the peak: where the roofline bends.
        let operations = npu.peak_macs_per_cycle() * 2 * npu.clock_hz;
        let bytes = npu.dram.bytes_per_second / 1000 * npu.dram.efficiency_permille;
        if let Some(ridge) = Ratio::of(operations, bytes) {
            writeln!(out, "ridge point of {}: {ridge:.1} operations per byte", npu.name)?;
        }
    }
    Ok(())
}

/// One header, and a row for each layer of each model.
pub fn layer_csv(out: &mut impl Write, models: &[ScheduledModel]) -> io::Result<()> {
    writeln!(
        out,
        "model,layer,kind,macs,weight_bytes,input_bytes,output_bytes,dram_bytes,compute_cycles,dma_cycles,\
         arithmetic_intensity,bound"
    )?;
    for model in models {
        for row in &model.layers {
            let mut line = vec![quoted(&model.name), quoted(&row.layer.name), quoted(&row.layer.kind)];
            line.extend(cells(row).into_iter().skip(2));
            writeln!(out, "{}", line.join(","))?;
        }
    }
    Ok(())
}

fn cells(row: &LayerRow) -> Vec<String> {
    let figures = &row.figures;
    let bound = match figures.bound {
        Bound::Compute => "compute",
        Bound::Memory => "memory",
    };
    vec![
        row.layer.name.clone(),
        row.layer.kind.clone(),
        figures.macs.get().to_string(),
        figures.weight_bytes.get().to_string(),
        figures.input_bytes.get().to_string(),
        figures.output_bytes.get().to_string(),
        figures.dram_bytes.get().to_string(),
        figures.compute_cycles.get().to_string(),
        figures.dma_cycles.get().to_string(),
        figures.arithmetic_intensity.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
        bound.to_owned(),
    ]
}

/// The sums; the bound of the whole is that of the longer engine.
fn totals(model: &ScheduledModel) -> Vec<String> {
    let figures = || model.layers.iter().map(|row| &row.figures);
    let bytes = |of: fn(&crate::schedule::Figures) -> Bytes| figures().map(of).sum::<Bytes>().get().to_string();
    let macs: Macs = figures().map(|figures| figures.macs).sum();
    let compute: Cycles = figures().map(|figures| figures.compute_cycles).sum();
    let dma: Cycles = figures().map(|figures| figures.dma_cycles).sum();
    let dram: Bytes = figures().map(|figures| figures.dram_bytes).sum();
    vec![
        "total".into(),
        String::new(),
        macs.get().to_string(),
        bytes(|figures| figures.weight_bytes),
        bytes(|figures| figures.input_bytes),
        bytes(|figures| figures.output_bytes),
        dram.get().to_string(),
        compute.get().to_string(),
        dma.get().to_string(),
        Ratio::of(macs.get() * 2, dram.get()).map_or_else(String::new, |ratio| format!("{ratio:.2}")),
        if compute >= dma { "compute" } else { "memory" }.into(),
    ]
}

/// A CSV field (RFC 4180).
fn quoted(text: &str) -> String {
    match text.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}
