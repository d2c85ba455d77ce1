//! The cycles of one command over a whole layer.

use super::{Explained, Sheet};
use crate::cost::{self, Product, ProductCost};
use crate::ir::{LayerId, Op};
use crate::npu::{Dataflow, MatrixKind, Npu};

pub(super) fn explain(of: &Explained, id: LayerId, sheet: &mut Sheet) {
    let layer = of.layer(id);
    let cycles = of.figure(id, "compute_cycles");
    sheet.title("Compute");
    match (of.of.analysis.measured[id], layer.op) {
        (Some(_), _) => {
            sheet.say("the cycles are given in the layer table; the tiles share them by volume");
            if layer.op == Op::Gemm {
                arrays(of.npu, sheet);
            } else {
                sheet.given("lanes", of.npu.vector.lanes);
            }
            sheet.given("compute_cycles", cycles);
        }
        (None, Op::Gemm) => product(of.npu, Product::of(&of.of.model, layer, &layer.whole()), &cycles, sheet),
        (None, Op::Vector | Op::Measured) => {
            sheet.given("lanes", of.npu.vector.lanes);
            sheet.given("command_cycles", of.npu.command_cycles);
            let formula = "ceil(points * lane_operations / lanes) + command_cycles";
            sheet.derived("compute_cycles", formula, cycles);
        }
    }
}

fn arrays(npu: &Npu, sheet: &mut Sheet) {
    sheet.given("arrays", npu.matrix.arrays);
    sheet.given("rows", npu.matrix.rows);
    sheet.given("columns", npu.matrix.columns);
}

fn product(npu: &Npu, product: Product, cycles: &str, sheet: &mut Sheet) {
    let ProductCost { stream, sharing_folds, sharing_stream, cycles: _ } = cost::product_cost(npu, product, true);
    arrays(npu, sheet);
    let (name, along) = match npu.matrix.dataflow() {
        Dataflow::WeightStationary => ("weight-stationary", ["k", "n", "m"]),
        Dataflow::OutputStationary => ("output-stationary", ["m", "n", "k"]),
        Dataflow::InputStationary => ("input-stationary", ["k", "m", "n"]),
    };
    let [on_rows, on_columns, streamed] = along;
    sheet.say(format_args!("{name}: {on_rows} lies on the rows, {on_columns} on the columns, {streamed} streams"));
    if stream.packed > 1 {
        sheet.derived("packed", "min(groups, min(floor(rows / k), floor(columns / n)))", stream.packed);
    } else {
        sheet.given("packed", stream.packed);
    }
    let formula = format!("ceil(groups / packed) * ceil({on_rows} / rows) * ceil({on_columns} / columns)");
    sheet.derived("folds", &formula, stream.folds);
    match npu.matrix.rate(product.bits).filter(|_| npu.matrix.precision_rate.is_some()) {
        Some(rate) => {
            sheet.say(format_args!("operands of {} bits: so many products of a cell in a cycle", product.bits));
            sheet.given("rate", rate);
            sheet.derived("s", &format!("ceil({streamed} / rate)"), stream.length);
        }
        None => sheet.derived("s", streamed, stream.length),
    }
    sheet.say("of the arrays a share the folds, each with b that share the stream: the cheapest a * b");
    sheet.given("a", sharing_folds);
    sheet.given("b", sharing_stream);
    sheet.derived("f", "ceil(folds / a)", stream.folds.div_ceil(sharing_folds));
    sheet.derived("t", "ceil(s / b)", stream.length.div_ceil(sharing_stream));
    let formula = match npu.matrix.kind {
        MatrixKind::AdderTree => "f * t + command_cycles",
        MatrixKind::Systolic { dataflow: _, double_buffered_weights, fill_rows_per_cycle } => {
            sheet.given("fill_rows_per_cycle", fill_rows_per_cycle);
            sheet.derived("fill", "ceil(rows / fill_rows_per_cycle)", npu.matrix.rows.div_ceil(fill_rows_per_cycle));
            sheet.derived("drain", "rows + columns - 2", npu.matrix.rows + npu.matrix.columns - 2);
            match double_buffered_weights {
                true => "fill + (f - 1) * max(t, fill) + t + drain + command_cycles",
                false => "f * (fill + t + drain) + command_cycles",
            }
        }
    };
    sheet.given("command_cycles", npu.command_cycles);
    sheet.derived("compute_cycles", formula, cycles);
}
