#!/usr/bin/env python3
"""The same two chains of tiles for Google OR-Tools' CP-SAT, to compare with `layerweaver compile`.

    pip install ortools==9.15.6755
    layerweaver compile a.json b.json --npu paper-like -o schedule.json
    python3 benches/cpsat.py schedule.json --seconds 60 --workers 2

Reads the tiles, their loads and the chip from a schedule file. Asked for: starts of all loads and tiles; both engines
one at a time; the tiles of a model in its order; a load's data `latency_cycles` after its end; the bytes of a load held
from its start to the end of the last tile that reads them, within the SRAM. What tiles write, stores and addresses are
left out: so for models of measured layers with weights alone it is the same problem, for all others an easier one.
Not run by CI. OR-Tools: https://developers.google.com/optimization
"""

import argparse
import json
import time

from ortools.sat.python import cp_model


def chains(schedule):
    """For each model its tiles in order, as (cycles, [load]); and all loads, as (cycles, bytes, model, last tile)."""
    load_of, loads, tiles = {}, [], {}
    for command in schedule["commands"]:
        if command["engine"] == "dma" and command["op"] == "load":
            for buffer in command["buffers"]:
                load_of[buffer] = len(loads)
            loads.append([command["cycles"], command["bytes"], None, None])
        elif command["engine"] == "compute":
            of_model = tiles.setdefault(command["model"], [])
            needed = sorted({load_of[buffer] for buffer in command["reads"] if buffer in load_of})
            for load in needed:
                loads[load][2:] = [command["model"], len(of_model)]
            of_model.append((command["cycles"], needed))
    return tiles, loads


def solve(schedule, seconds, workers):
    tiles, loads = chains(schedule)
    sram, latency = schedule["npu"]["sram"]["bytes"], schedule["npu"]["dram"].get("latency_cycles", 0)
    horizon = schedule["summary"]["serial_cycles"] * 2
    model = cp_model.CpModel()
    end = model.new_int_var(0, horizon, "end")
    load_starts = [model.new_int_var(0, horizon, f"l{i}") for i in range(len(loads))]
    model.add_no_overlap(
        model.new_fixed_size_interval_var(start, load[0], f"dma{i}")
        for i, (start, load) in enumerate(zip(load_starts, loads))
    )
    computing, tile_ends = [], {}
    for job, of_model in tiles.items():
        before = None
        for i, (cycles, needed) in enumerate(of_model):
            start = model.new_int_var(0, horizon, f"t{job}.{i}")
            computing.append(model.new_fixed_size_interval_var(start, cycles, f"c{job}.{i}"))
            tile_ends[job, i] = start + cycles
            for load in needed:
                model.add(start >= load_starts[load] + loads[load][0] + latency)
            if before is not None:
                model.add(start >= before)
            before = start + cycles
        model.add(end >= before)
    model.add_no_overlap(computing)
    held = []
    for i, (start, (_, _, job, last)) in enumerate(zip(load_starts, loads)):
        length = model.new_int_var(0, horizon, f"held{i}")
        held.append(model.new_interval_var(start, length, tile_ends[job, last], f"sram{i}"))
    model.add_cumulative(held, [load[1] for load in loads], sram)
    model.minimize(end)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = seconds
    solver.parameters.num_workers = workers
    solver.parameters.random_seed = 0
    began = time.monotonic()
    status = solver.solve(model)
    took = time.monotonic() - began
    counts = " + ".join(str(len(of_model)) for of_model in tiles.values())
    found = solver.objective_value if status in (cp_model.OPTIMAL, cp_model.FEASIBLE) else None
    summary = schedule["summary"]
    print(f"{counts} tiles; CP-SAT {solver.status_name(status)} in {took:.2f} s: {found}, bound {solver.best_objective_bound}")
    print(f"layerweaver {summary['policy']}: {summary['cycles']}, bound {summary['bound_cycles']}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("schedule")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with open(arguments.schedule, encoding="utf-8") as file:
        solve(json.load(file), arguments.seconds, arguments.workers)


if __name__ == "__main__":
    main()
