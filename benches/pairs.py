#!/usr/bin/env python3
"""Measures all pairs of testdata/, and writes the tables of README.md and docs/scheduling.md anew.

    cargo build --release && python3 benches/pairs.py

Between `<!-- pairs.py NAME -->` and `<!-- end -->` a file's text is replaced. The cycles are exact and the same on every
machine, so a difference is a change of the program. Standard library only; three minutes. Not run by CI.
"""

import json
import pathlib
import re
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = ROOT / "target/release/layerweaver"
CNNS = ["inception_v3", "mobilenet_v2", "resnet50", "resnext50_32x4d"]
OTHERS = ["bert_base", "bert_large", "xlnet_large", "ncf"]
PAIRS = [(a, b) for a in CNNS for b in OTHERS]
MOST = 16  # requests of a model in a mix


def run(*arguments):
    done = subprocess.run([BINARY, *arguments], capture_output=True, text=True, check=True, cwd=ROOT / "testdata")
    return json.loads(done.stdout)


def engines(name):
    """Compute and DMA cycles of one request, each layer in one command."""
    layers = run("analyze", f"{name}.onnx", "--npu", "paper-like", "--format", "json")[0]["layers"]
    return sum(l["compute_cycles"] for l in layers), sum(l["dma_cycles"] for l in layers)


def best_mix(a, b):
    """The requests of each that would gain the most if both engines were always busy: the fewest that do."""
    def gain(mix):
        alone = mix[0] * max(a) + mix[1] * max(b)
        return alone / max(mix[0] * a[e] + mix[1] * b[e] for e in (0, 1)), -sum(mix)
    return max(((i, j) for i in range(1, MOST + 1) for j in range(1, MOST + 1)), key=gain)


def compare(pair, mix, npu="paper-like"):
    """The summaries of all policies, by name."""
    rows = run("compare", *(f"{name}.onnx" for name in pair), "--npu", npu, "--requests", f"{mix[0]},{mix[1]}",
               "--format", "json")
    return {row["policy"]: row for row in rows}


def over(a, b, decimals=1):
    """How much longer a is than b."""
    return f"{(a / b - 1) * 100:+.{decimals}f} %".replace("-0.0 %", "+0.0 %")


def above(a, b, decimals):
    return over(a, b, decimals).lstrip("+")


def table(header, rows):
    lines = [header, ["---"] * 2 + ["---:"] * (len(header) - 2)] + rows
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def mean(values):
    return sum(values) / len(values)


def best_mixes():
    cycles = {name: engines(name) for name in CNNS + OTHERS}
    return {pair: best_mix(*(cycles[name] for name in pair)) for pair in PAIRS}


def mixes(best_of):
    """One request each, and the best mix where that is another: the gain of each policy over serial."""
    rows, gains, proven = [], ([], []), [0, 0]
    for pair in PAIRS:
        best = best_of[pair]
        for which, mix in enumerate([(1, 1), best]):
            by = compare(pair, mix)
            optimal = by["optimal"]
            serial = optimal["serial_cycles"]
            gains[which].append(serial / optimal["cycles"] - 1)
            proven[which] += optimal["cycles"] == optimal["bound_cycles"]
            if which and mix == (1, 1):
                continue
            gain = [over(serial, by[policy]["cycles"]) for policy in ("round-robin", "greedy", "optimal")]
            rows.append(["" if which else " + ".join(pair), f"{mix[0]} : {mix[1]}", f"{serial:,}", *gain[:2], f"**{gain[2]}**",
                         above(optimal["cycles"], optimal["bound_cycles"], 3), above(optimal["cycles"], optimal["floor_cycles"], 2)])
    words = (f"One request each, {proven[0]} of {len(PAIRS)} pairs are proven optimal, and gain {over(1 + mean(gains[0]), 1)} "
             f"on average; at the best mix {proven[1]} of {len(PAIRS)}, and {over(1 + mean(gains[1]), 1)}.")
    header = ["pair", "requests", "serial, cycles", "round-robin", "greedy", "optimal", "bound", "floor"]
    return table(header, rows) + "\n\n" + words


def sizes(best_of):
    """With less and less SRAM: one request each, pair by pair; and the means, also at the best mix."""
    npu = run("npus", "paper-like")
    parts, means = [], ([], [])
    for mib in (32, 16, 8, 4):
        npu["sram"]["bytes"] = mib << 20
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(npu, file)
            file.flush()
            results = {pair: compare(pair, (1, 1), file.name) for pair in PAIRS}
            mixed = {pair: compare(pair, best_of[pair], file.name) for pair in PAIRS}
        rows = []
        for pair, by in results.items():
            optimal = by["optimal"]
            rows.append([" + ".join(pair), *(str(by[p]["cycles"]) for p in ("serial", "round-robin", "greedy", "optimal")),
                         above(optimal["cycles"], optimal["bound_cycles"], 2), above(optimal["cycles"], optimal["floor_cycles"], 2)])
        header = ["pair", "serial", "round-robin", "greedy", "optimal", "above bound", "above floor"]
        parts.append(f"### {mib} MiB\n\n" + table(header, rows))
        for sums, of in zip(means, (results, mixed)):
            sums.append([f"{mib} MiB", *summed_up(of.values())])
    header = ["SRAM", "proven", "above bound", "above floor", "serial longer by", "round-robin longer by", "greedy longer by"]
    for what, sums in zip(("one request each", "the best mix"), means):
        parts.append(f"### Means, {what}\n\n" + table(header, sums))
    return "\n\n".join(parts)


def summed_up(results):
    """How many are proven, and the means over all pairs."""
    optima = [by["optimal"] for by in results]
    proven = sum(optimal["cycles"] == optimal["bound_cycles"] for optimal in optima)
    above = [mean([optimal["cycles"] / optimal[bound] for optimal in optima]) for bound in ("bound_cycles", "floor_cycles")]
    longer = [mean([by[policy]["cycles"] / by["optimal"]["cycles"] for by in results])
              for policy in ("serial", "round-robin", "greedy")]
    return [f"{proven} of {len(optima)}", *(over(ratio, 1, 2) for ratio in above + longer)]


def replace(file, name, text):
    path = ROOT / file
    marks = re.compile(rf"(<!-- pairs.py {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    path.write_text(marks.sub(lambda found: f"{found[1]}\n{text}\n\n{found[2]}", path.read_text()))


def main():
    best_of = best_mixes()
    replace("README.md", "mixes", mixes(best_of))
    replace("docs/scheduling.md", "sizes", sizes(best_of))


if __name__ == "__main__":
    main()
