//! What schedules come to: one line, a comparison, a simulation; and the list of NPUs.

use std::io::{self, Write};

use super::table;
use crate::schedule::{Npu, Schedule};
use crate::simulate::Simulation;
use crate::units::{Cycles, Ratio};

/// One line for people.
pub fn summary_line(schedule: &Schedule) -> String {
    let summary = &schedule.summary;
    let models: Vec<String> =
        schedule.models.iter().map(|model| format!("{} × {}", model.requests, model.name)).collect();
    format!(
        "{} on {}, {}: {} in {} commands; {} over serial, {} above the bound, {} above the \
         floor; compute {} busy, DRAM {}",
        models.join(" + "),
        schedule.npu.name,
        summary.policy,
        summary.cycles,
        schedule.commands.len(),
        signed_percent(summary.speedup),
        percent(summary.optimality_gap, 2),
        percent(above_floor(schedule), 2),
        percent(summary.compute_utilization, 1),
        percent(summary.dma_utilization, 1),
    )
}

/// A row for each policy's schedule of the same jobs, of which `alone` says what each takes by itself.
pub fn compare_table(out: &mut impl Write, schedules: &[Schedule], alone: &[Cycles]) -> io::Result<()> {
    let row = |schedule: &Schedule| {
        let summary = &schedule.summary;
        let mut row = vec![
            summary.policy.clone(),
            summary.cycles.get().to_string(),
            signed_percent(summary.speedup),
            percent(summary.optimality_gap, 2),
            percent(above_floor(schedule), 2),
            percent(summary.compute_utilization, 1),
            percent(summary.dma_utilization, 1),
            summary.bound_cycles.get().to_string(),
            summary.floor_cycles.get().to_string(),
        ];
        for (of_model, alone) in summary.finish.iter().zip(alone) {
            let end = of_model.iter().max().map_or(0, |done| done.get());
            row.push(end.to_string());
            row.push(Ratio::of(end, alone.get()).map_or_else(|| "-".into(), |slowdown| format!("{slowdown:.2}")));
        }
        row
    };
    let rows: Vec<Vec<String>> = schedules.iter().map(row).collect();
    let mut header: Vec<String> =
        ["policy", "cycles", "throughput", "above bound", "above floor", "compute", "DRAM", "bound", "floor"]
            .map(String::from)
            .into();
    for model in schedules.first().into_iter().flat_map(|schedule| &schedule.models) {
        header.extend([format!("{} ends", model.name), "× alone".into()]);
    }
    table::write(out, 1, &header.iter().map(String::as_str).collect::<Vec<_>>(), &rows)
}

/// How much more than the floor a schedule takes: unlike the gap to the bound, no smaller for a worse tiling.
fn above_floor(schedule: &Schedule) -> Option<Ratio> {
    let (cycles, floor) = (schedule.summary.cycles, schedule.summary.floor_cycles);
    Ratio::of(cycles.saturating_sub(floor).get(), floor.get())
}

/// What a simulation found.
pub fn simulation(out: &mut impl Write, schedule: &Schedule, simulation: &Simulation) -> io::Result<()> {
    writeln!(out, "valid: {} commands, {}", schedule.commands.len(), simulation.cycles)?;
    let busy = |busy: Cycles| percent(Ratio::of(busy.get(), simulation.cycles.get()), 1);
    writeln!(out, "compute busy {}, {}", simulation.compute_busy, busy(simulation.compute_busy))?;
    writeln!(out, "DRAM busy {}, {}", simulation.dma_busy, busy(simulation.dma_busy))?;
    for (model, finish) in schedule.models.iter().zip(&simulation.finish) {
        let finish: Vec<String> = finish.iter().map(|done| done.get().to_string()).collect();
        writeln!(out, "{} done at {}", model.name, finish.join(", "))?;
    }
    Ok(())
}

/// The library: peak, bandwidth, ridge point, SRAM.
pub fn npu_table(out: &mut impl Write, npus: impl IntoIterator<Item = Npu>) -> io::Result<()> {
    let row = |npu: Npu| {
        let operations = npu.peak_operations();
        let rate = npu.dram.bytes_per_second;
        let shown = |ratio: Option<Ratio>| ratio.map_or_else(|| "-".into(), |ratio| format!("{ratio:.1}"));
        vec![
            npu.name.clone(),
            format!("{} × {} × {}", npu.matrix.arrays, npu.matrix.rows, npu.matrix.columns),
            shown(Ratio::of(operations, 1_000_000_000_000)),
            shown(Ratio::of(rate, 1_000_000_000)),
            shown(Ratio::of(operations, rate)),
            npu.sram.bytes.get().div_ceil(1 << 10).to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = npus.into_iter().map(row).collect();
    table::write(out, 1, &["npu", "arrays", "peak TOPS", "DRAM GB/s", "ridge ops/B", "SRAM KiB"], &rows)
}

fn percent(ratio: Option<Ratio>, decimals: usize) -> String {
    let hundredfold = ratio.and_then(|ratio| Ratio::of(ratio.millionths() * 100, 1_000_000));
    hundredfold.map_or_else(|| "-".into(), |percent| format!("{percent:.decimals$} %"))
}

/// A speedup as what it adds: `+4.2 %`.
fn signed_percent(speedup: Option<Ratio>) -> String {
    let Some(millionths) = speedup.map(Ratio::millionths) else { return "-".into() };
    let (sign, change) =
        if millionths >= 1_000_000 { ("+", millionths - 1_000_000) } else { ("-", 1_000_000 - millionths) };
    format!("{sign}{}", percent(Ratio::of(change, 1_000_000), 1))
}
