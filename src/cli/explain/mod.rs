//! `analyze --explain`: each figure of a layer with its formula and this layer's numbers in it.
//!
//! The values are those that the table and the costs have, never worked out again here; a test evaluates each formula
//! and compares.

mod compute;
mod layout;
mod sheet;

use self::sheet::Sheet;
use super::Failure;
use super::input::Analysed;
use crate::coschedule::Alone;
use crate::cost::Product;
use crate::frontend;
use crate::ir::{Layer, LayerId, NdBox, Op, Role, TensorKind};
use crate::npu::Npu;
use crate::report::{LayerTable, Row};
use crate::units::{Bytes, Cycles};

/// A model with what `analyze` shows of it.
pub(super) struct Explained<'a> {
    npu: &'a Npu,
    of: &'a Analysed,
    alone: Option<&'a Alone>,
    /// The table's rows, by layer.
    rows: Vec<Row>,
}

impl<'a> Explained<'a> {
    pub(super) fn new(npu: &'a Npu, of: &'a Analysed, alone: Option<&'a Alone>, table: &LayerTable) -> Self {
        Self { npu, of, alone, rows: table.rows(npu).0 }
    }
}

/// All layers of these models that a user may mean: by name, by the name of an ONNX node in it, or by index.
pub(super) fn explain(models: &[Explained], wanted: &str) -> Result<String, Failure> {
    let mut sheets = Vec::new();
    for model in models {
        sheets.extend(found(model, wanted).into_iter().map(|layer| model.sheet(layer)));
    }
    match sheets.is_empty() {
        true => Err(Failure::Input(unknown(models, wanted))),
        false => Ok(sheets.join("\n")),
    }
}

fn found(model: &Explained, wanted: &str) -> Vec<LayerId> {
    let layers = &model.of.model.layers;
    let all = |is_it: fn(&Layer, &str) -> bool| -> Vec<LayerId> {
        layers.iter_with_ids().filter(|(_, layer)| is_it(layer, wanted)).map(|(id, _)| id).collect()
    };
    let named = all(|layer, wanted| layer.name == wanted);
    if !named.is_empty() {
        return named;
    }
    let of_node = all(|layer, wanted| layer.nodes.iter().any(|node| node == wanted));
    let of_index = wanted.parse().ok().map(LayerId).filter(|id| layers.get(*id).is_some());
    if of_node.is_empty() { of_index.into_iter().collect() } else { of_node }
}

/// A sentence for a layer that no model has.
fn unknown(models: &[Explained], wanted: &str) -> String {
    let names = || models.iter().flat_map(|model| model.of.model.layers.iter()).map(|layer| layer.name.as_str());
    let of: Vec<&str> = models.iter().map(|model| model.of.model.name.as_str()).collect();
    let of = of.join(" and ");
    let holding = names().find(|name| name.to_lowercase().contains(&wanted.to_lowercase()));
    match holding.or_else(|| frontend::nearest(wanted, names())) {
        Some(near) => format!("{of}: there is no layer '{wanted}'; did you mean '{near}'?"),
        None => format!("{of}: there is no layer '{wanted}'; give a name that `analyze` lists, or an index from 0"),
    }
}

impl Explained<'_> {
    fn layer(&self, id: LayerId) -> &Layer {
        &self.of.model.layers[id]
    }

    /// A figure as the CSV has it.
    fn figure(&self, id: LayerId, column: &str) -> String {
        self.rows[id.index()].exact(column)
    }

    fn dram_bytes(&self, id: LayerId) -> Bytes {
        self.rows[id.index()].figures.dram_bytes
    }

    fn floor_bytes(&self, id: LayerId) -> Bytes {
        self.of.analysis.once[id].iter().map(|(_, bytes)| *bytes).sum()
    }

    fn sheet(&self, id: LayerId) -> String {
        let (layer, model) = (self.layer(id), &self.of.model);
        let mut sheet = Sheet::default();
        let op = match layer.op {
            Op::Gemm => "a matrix product",
            Op::Vector => "work of the vector unit",
            Op::Measured => "measured",
        };
        sheet.title(format_args!("{}: {id} of {} on {}, {}, {op}", layer.name, model.name, self.npu.name, layer.kind));
        if layer.nodes.iter().any(|node| *node != layer.name) {
            sheet.say(format_args!("ONNX nodes: {}", layer.nodes.join(", ")));
        }
        self.sizes(id, &mut sheet);
        self.operands(id, &mut sheet);
        compute::explain(self, id, &mut sheet);
        layout::explain(self, id, &mut sheet);
        self.roofline(id, &mut sheet);
        sheet.finish()
    }

    /// The loop nest, and what it counts.
    fn sizes(&self, id: LayerId, sheet: &mut Sheet) {
        let layer = self.layer(id);
        let Product { m, n, k, groups, bits: _ } = Product::of(&self.of.model, layer, &layer.whole());
        sheet.title("Iterations");
        for (name, role, size) in
            [("groups", Role::Group, groups), ("m", Role::M, m), ("n", Role::N, n), ("k", Role::K, k)]
        {
            let dims = layer.dims.iter().filter(|dim| dim.role == role);
            let (names, sizes): (Vec<_>, Vec<_>) = dims.map(|dim| (dim.name.as_str(), dim.size.to_string())).unzip();
            if names.is_empty() {
                sheet.given(name, size);
            } else {
                sheet.say(format_args!("along {name}: {}", names.join(", ")));
                sheet.derived(name, &sizes.join(" * "), size);
            }
        }
        match layer.op {
            Op::Gemm => sheet.derived("macs", "groups * m * n * k", self.figure(id, "macs")),
            Op::Vector | Op::Measured => {
                sheet.derived("points", "groups * m * n * k", layer.whole().volume());
                sheet.given("lane_operations", layer.lane_operations);
            }
        }
    }

    /// What the layer touches, box by box.
    fn operands(&self, id: LayerId, sheet: &mut Sheet) {
        let (layer, model) = (self.layer(id), &self.of.model);
        sheet.title("Operands");
        let mut sums: [Vec<String>; 3] = Default::default();
        let mut seen = Vec::new();
        for (at, operand) in layer.operands().enumerate() {
            let tensor = &model.tensors[operand.tensor];
            let Some(part) = operand.touched(&layer.whole(), &tensor.shape) else { continue };
            let is_write = at == layer.reads.len();
            let verb = if is_write { "writes" } else { "reads" };
            sheet.say(format_args!(
                "{verb} {} '{}' {part}, {} bits",
                kind_name(tensor.kind),
                tensor.name,
                tensor.element_bits
            ));
            if !is_write && seen.contains(&(operand.tensor, part.clone())) {
                sheet.say("which is counted above");
                continue;
            }
            let name = if is_write { "write".to_owned() } else { format!("read{at}") };
            let formula = box_formula(&part, tensor.element_bits);
            sheet.derived(&name, &formula, tensor.bytes_of(&part).get());
            let sum = match tensor.kind {
                _ if is_write => 2,
                TensorKind::Weight => 0,
                TensorKind::Input | TensorKind::Output | TensorKind::Activation => 1,
            };
            sums[sum].push(name);
            seen.push((operand.tensor, part));
        }
        for (name, terms) in ["weight_bytes", "input_bytes", "output_bytes"].into_iter().zip(sums) {
            self.sum(id, sheet, name, &terms);
        }
    }

    /// A figure that is the sum of others.
    fn sum(&self, id: LayerId, sheet: &mut Sheet, name: &str, terms: &[String]) {
        match terms {
            [] => sheet.given(name, self.figure(id, name)),
            terms => sheet.derived(name, &terms.join(" + "), self.figure(id, name)),
        }
    }

    /// Which engine is busy the longer, and what it could do.
    fn roofline(&self, id: LayerId, sheet: &mut Sheet) {
        let layer = self.layer(id);
        sheet.title("Bound, share and roofline");
        let bound = self.figure(id, "bound");
        let sign = if bound == "compute" { ">=" } else { "<" };
        let (compute, dma) = (self.figure(id, "compute_cycles"), self.figure(id, "dma_cycles"));
        sheet.say(format_args!("bound by {bound}, for compute_cycles {sign} dma_cycles: {compute} {sign} {dma}"));
        let row = &self.rows[id.index()];
        sheet.derived("longer", "max(compute_cycles, dma_cycles)", row.longer.get());
        sheet.given("longer_of_all_layers", row.of_all.get());
        if row.of_all > Cycles::ZERO {
            sheet.derived("share", "longer / longer_of_all_layers", self.figure(id, "share"));
        }
        let is_product = layer.op == Op::Gemm;
        if is_product && !self.figure(id, "array_utilization").is_empty() {
            let formula = "macs / (arrays * rows * columns * compute_cycles)";
            sheet.derived("array_utilization", formula, self.figure(id, "array_utilization"));
        }
        if self.figure(id, "attainable_ops").is_empty() {
            return;
        }
        let (operations, peak) = match is_product {
            true => ("2 * macs", "2 * arrays * rows * columns * clock_hz"),
            false => ("points * lane_operations", "lanes * clock_hz"),
        };
        let roof = row.roof;
        sheet.derived("operations", operations, roof.operations);
        sheet.derived("peak", peak, roof.peak);
        if self.figure(id, "arithmetic_intensity").is_empty() {
            sheet.derived("attainable_ops", "peak", self.figure(id, "attainable_ops"));
            return;
        }
        sheet.derived("arithmetic_intensity", "operations / dram_bytes", self.figure(id, "arithmetic_intensity"));
        sheet.derived("bandwidth", "floor(bytes_per_second * efficiency_permille / 1000)", roof.bytes_per_second);
        let formula = "min(peak, floor(operations * bandwidth / dram_bytes))";
        sheet.derived("attainable_ops", formula, self.figure(id, "attainable_ops"));
    }
}

const fn kind_name(kind: TensorKind) -> &'static str {
    match kind {
        TensorKind::Weight => "weight",
        TensorKind::Input => "input",
        TensorKind::Output => "output",
        TensorKind::Activation => "activation",
    }
}

/// The bytes of a box, packed.
fn box_formula(part: &NdBox, bits: u64) -> String {
    let sizes = part.0.iter().map(|span| span.size().to_string()).chain([bits.to_string()]);
    format!("ceil({} / 8)", sizes.collect::<Vec<_>>().join(" * "))
}
