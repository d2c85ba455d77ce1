"""Runs SCALE-Sim 2.0.2 on the products below and writes products.csv, the table that tests/scalesim.rs compares.

    python3 -m venv venv && venv/bin/pip install -r requirements.txt && venv/bin/python run.py

Each product is a line of a GEMM topology, run through SCALE-Sim's own front end. The bandwidth mode is CALC, in which
operands are always there in time; the script stops if SCALE-Sim reports a stall all the same. `cycles` is the number of
lines in the trace of the array's outputs, one a cycle. SCALE-Sim's own "Total Cycles" is the number of the last line,
counted from 0 (single_layer_sim.py takes it from double_buffered_scratchpad_mem.py), so one less; the script checks it.
"""

import contextlib
import csv
import io
import tempfile
from collections import defaultdict
from pathlib import Path

from scalesim.scale_sim import scalesim

CONFIG = """
[general]
run_name = run

[architecture_presets]
ArrayHeight = {rows}
ArrayWidth = {columns}
IfmapSramSzkB = 65536
FilterSramSzkB = 65536
OfmapSramSzkB = 65536
IfmapOffset = 0
FilterOffset = 100000000
OfmapOffset = 200000000
Dataflow = {dataflow}

[run_presets]
InterfaceBandwidth = CALC
"""

DATAFLOWS = ("ws", "os", "is")

# Rows and columns of the array, then m, n, k: each is run under every dataflow.
EVERY_DATAFLOW = [
    # Tiny, and arrays of one cell, one row, one column.
    (1, 1, 1, 1, 2),
    (1, 1, 3, 4, 5),
    (1, 8, 5, 17, 9),
    (8, 1, 5, 17, 9),
    (2, 2, 2, 2, 2),
    (4, 4, 1, 1, 1),
    # Exactly one fold, one more than a fold, one less.
    (8, 8, 8, 8, 8),
    (8, 8, 9, 9, 9),
    (8, 8, 7, 7, 7),
    (16, 16, 16, 16, 16),
    # Vectors: m = 1, n = 1, k = 1.
    (16, 16, 1, 64, 64),
    (16, 16, 64, 1, 64),
    (16, 16, 64, 64, 1),
    (32, 32, 1, 100, 333),
    # Nothing a multiple of the array.
    (16, 16, 50, 70, 90),
    (32, 32, 97, 131, 61),
    (32, 32, 196, 45, 100),
    # Arrays that are not square: one taller, one wider, Eyeriss' 12 x 14.
    (64, 16, 40, 50, 150),
    (16, 64, 40, 50, 150),
    (12, 14, 29, 31, 37),
    (4, 32, 33, 65, 9),
    (128, 8, 20, 24, 300),
    # Large arrays with a product smaller, and one larger.
    (128, 128, 3, 5, 7),
    (128, 128, 196, 256, 300),
    (256, 256, 10, 300, 260),
]

# Layers of ResNet-50 and BERT on a 128 x 128 array: rows, columns, m, n, k.
WEIGHT_STATIONARY = [
    (128, 128, 49, 2048, 512),
    (128, 128, 1, 1000, 2048),
    (128, 128, 49, 512, 1024),
    (128, 128, 196, 256, 1024),
    (128, 128, 784, 128, 512),
    (128, 128, 3136, 64, 64),
    (128, 128, 128, 768, 768),
    (128, 128, 128, 128, 64),
]


def cycles_of(rows, columns, dataflow, products):
    """SCALE-Sim's cycles of each product on one array."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        config, topology = folder / "array.cfg", folder / "products.csv"
        config.write_text(CONFIG.format(rows=rows, columns=columns, dataflow=dataflow))
        lines = [f"product{i},{m},{n},{k},\n" for i, (m, n, k) in enumerate(products)]
        topology.write_text("Layer,M,N,K,\n" + "".join(lines))
        simulation = scalesim(
            save_disk_space=True, verbose=False, config=str(config), topology=str(topology), input_type_gemm=True
        )
        with contextlib.redirect_stdout(io.StringIO()):
            simulation.run_scale(top_path=str(folder / "out"))
        with open(folder / "out" / "run" / "COMPUTE_REPORT.csv") as report:
            results = list(csv.DictReader(report, skipinitialspace=True))
    assert len(results) == len(products)
    cycles = []
    for product, result, layer in zip(products, results, simulation.runner.single_layer_sim_object_list):
        assert float(result["Stall Cycles"]) == 0, f"{product} stalls"
        lines = len(layer.compute_system.get_ofmap_demand_mat())
        assert int(result["Total Cycles"]) == lines - 1, f"{product}: {result} for {lines} lines"
        cycles.append(lines)
    return cycles


def main():
    runs = defaultdict(list)
    for dataflow in DATAFLOWS:
        for rows, columns, *product in EVERY_DATAFLOW:
            runs[dataflow, rows, columns].append(product)
    for rows, columns, *product in WEIGHT_STATIONARY:
        runs["ws", rows, columns].append(product)
    with open(Path(__file__).parent / "products.csv", "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["rows", "columns", "dataflow", "m", "n", "k", "cycles"])
        for (dataflow, rows, columns), products in runs.items():
            for product, cycles in zip(products, cycles_of(rows, columns, dataflow, products)):
                table.writerow([rows, columns, dataflow, *product, cycles])


if __name__ == "__main__":
    main()
