//! Schedules as JSON, to change and to run.

use layerweaver::schedule::Schedule;
use layerweaver::simulate::{Simulation, Violation, simulate};
use layerweaver::units::Ratio;
use serde_json::{Value, json};

pub(crate) const EXAMPLE: &str = include_str!("../../testdata/schedules/example.json");
pub(crate) const RESIDUAL: &str = include_str!("../../testdata/schedules/residual.json");

pub(crate) fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// What the checker says; `None` where the file is not even read. Format and NPU are left to the checker.
pub(crate) fn verdict(file: &Value) -> Option<Result<Simulation, Vec<Violation>>> {
    serde_json::from_value::<Schedule>(file.clone()).ok().map(|schedule| simulate(&schedule))
}

pub(crate) fn set(file: &mut Value, path: &str, value: Value) {
    *file.pointer_mut(path).unwrap_or_else(|| panic!("{path} exists")) = value;
}

pub(crate) fn list<'a>(file: &'a mut Value, path: &str) -> &'a mut Vec<Value> {
    file.pointer_mut(path).and_then(Value::as_array_mut).unwrap_or_else(|| panic!("{path} is a list"))
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a whole number")
}

fn ids(value: &Value) -> impl Iterator<Item = usize> {
    value.as_array().into_iter().flatten().map(|id| number(id) as usize)
}

/// Splits the second half of the residual schedule's product in two along its rows: partial sums of four rows are then
/// passed on to two tiles of two rows each, 8 + 2 and `command_cycles` 1 cycles long, and 30 of drain.
pub(crate) fn split_second_half(file: &mut Value) {
    let mut lower = file["commands"][3].clone();
    let mut measured = file["commands"][7].clone();
    for (tile, rows, cycles) in [(&mut file["commands"][3], [0, 2], 11), (&mut lower, [2, 4], 41)] {
        tile["box"][0] = json!(rows);
        tile["cycles"] = json!(cycles);
    }
    measured["box"] = json!([[0, 4]]);
    measured["cycles"] = json!(101);
    file["commands"][7] = std::mem::replace(&mut file["commands"][6], lower);
    file["commands"][9] = measured;
    set(file, "/commands/5/waits", json!([6]));
}

/// Makes the times and the summary right again after a change to cycles, waits or the stream: the machine in brief.
/// `None`, and a file half changed, where the stream can't run.
pub(crate) fn retime(file: &mut Value) -> Option<()> {
    let commands = file["commands"].as_array().expect("a list").clone();
    let latency = number(&file["npu"]["dram"]["latency_cycles"]);
    let mut done: Vec<Option<u64>> = vec![None; commands.len()];
    let (mut free, mut busy) = ([0; 2], [0; 2]);
    while done.contains(&None) {
        let (mut blocked, before) = ([false; 2], done.clone());
        for (i, command) in commands.iter().enumerate().filter(|(i, _)| done[*i].is_none()).collect::<Vec<_>>() {
            let engine = usize::from(command["engine"] == "dma");
            let waits: Option<Vec<u64>> =
                ids(&command["waits"]).map(|wait| done.get(wait).copied().flatten()).collect();
            blocked[engine] |= waits.is_none();
            let Some(waits) = waits.filter(|_| !blocked[engine]) else { continue };
            let start = waits.into_iter().fold(free[engine], u64::max);
            free[engine] = start + number(&command["cycles"]);
            busy[engine] += number(&command["cycles"]);
            let end = free[engine] + latency * engine as u64;
            done[i] = Some(end);
            set(file, &format!("/commands/{i}/start"), json!(start));
            set(file, &format!("/commands/{i}/done"), json!(end));
        }
        if done == before {
            return None;
        }
    }
    let done: Vec<u64> = done.into_iter().flatten().collect();
    summarise(file, &commands, &done, busy)
}

fn summarise(file: &mut Value, commands: &[Value], done: &[u64], [compute, dma]: [u64; 2]) -> Option<()> {
    let cycles = *done.iter().max()?;
    let bound = number(&file["summary"]["bound_cycles"]);
    let serial = number(&file["summary"]["serial_cycles"]);
    let ratio = |part, whole| json!(Ratio::of(part, whole));
    let figures = [
        ("cycles", json!(cycles)),
        ("compute_busy_cycles", json!(compute)),
        ("dma_busy_cycles", json!(dma)),
        ("optimality_gap", ratio(cycles.saturating_sub(bound), bound)),
        ("speedup", ratio(serial, cycles)),
        ("compute_utilization", ratio(compute, cycles)),
        ("dma_utilization", ratio(dma, cycles)),
        ("finish", finish(file, commands, done)?),
    ];
    for (field, value) in figures {
        file["summary"][field] = value;
    }
    Some(())
}

fn finish(file: &Value, commands: &[Value], done: &[u64]) -> Option<Value> {
    let models = file["models"].as_array().expect("a list");
    let mut finish: Vec<_> = models.iter().map(|model| vec![0; number(&model["requests"]) as usize]).collect();
    for (command, &done) in commands.iter().zip(done) {
        let owners: Vec<&Value> = match command["op"].as_str() {
            Some("load") => Vec::new(),
            Some("store") => {
                ids(&command["buffers"]).map(|buffer| file["buffers"].get(buffer)).collect::<Option<_>>()?
            }
            _ => vec![command],
        };
        for owner in owners {
            if let Some(request) = owner["request"].as_u64() {
                let last = finish.get_mut(number(&owner["model"]) as usize)?.get_mut(request as usize)?;
                *last = done.max(*last);
            }
        }
    }
    Some(json!(finish))
}
