//! Mixtures of experts. Which expert a token goes to is known only at run time: tokens are taken to spread evenly over as
//! many experts as they can reach, and the weights of the first so many stand for those of these.

use super::body::{Body, Wire};
use super::context::{Context, Refusal, product, shown, signed};
use super::{Lowered, lanes};
use crate::frontend::fact::Fact;

/// How tokens spread.
struct Spread {
    tokens: u64,
    /// How many experts each token goes to.
    choices: u64,
    /// How many experts have tokens.
    used: u64,
    /// How many tokens each of them has, the last ones filled up.
    rows: u64,
    /// The width of a token.
    hidden: u64,
}

/// The three products of an expert, each with the input that is its weight, and those behind it: scales where weights are
/// quantised, and a bias.
struct Places {
    weights: [usize; 3],
    scales: Option<[usize; 3]>,
    biases: [usize; 3],
}

/// MoE.
pub(super) fn mixture(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    lower(cx, &Places { weights: [2, 4, 6], scales: None, biases: [3, 5, 7] })
}

/// QMoE: weights of a few bits, packed along the last dimension.
pub(super) fn quantized(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    lower(cx, &Places { weights: [2, 5, 8], scales: Some([3, 6, 9]), biases: [4, 7, 10] })
}

fn lower(cx: &Context<'_>, places: &Places) -> Result<Lowered, Refusal> {
    let (x, router) = (cx.input(0)?, cx.input(1)?);
    let misfit = || {
        let shapes = [0, 1].into_iter().chain(places.weights);
        let shapes: Vec<_> = shapes.filter_map(|input| Some(shown(&cx.optional(input)?.shape))).collect();
        Refusal::new(format!("has tokens, a router and experts {}, which do not fit", shapes.join(", ")))
    };
    let (&hidden, outer) = x.shape.split_last().ok_or_else(misfit)?;
    let tokens = product(outer)?;
    let (&experts, choices) = (router.shape.last().ok_or_else(misfit)?, cx.size("k", 1)?);
    let picked = product(&[tokens, choices])?;
    let used = experts.min(picked);
    if used == 0 || choices > experts || router.elements() != product(&[tokens, experts]).ok() {
        return Err(misfit());
    }
    let spread = Spread { tokens, choices, used, rows: picked.div_ceil(used), hidden };

    let mut body = Body::new(cx.input_count());
    let flat = body.reshape(&Body::input(0), &[tokens, hidden]);
    let router = body.reshape(&Body::input(1), &[tokens, experts]);
    let [chances, indices] = spread.route(&mut body, &router)?;
    let rows = spread.dispatch(&mut body, &flat, &indices);

    let halves = if cx.text("activation_type")? == Some("swiglu") && cx.size("swiglu_fusion", 0)? > 0 { 2 } else { 1 };
    let inner = inner_width(cx, places, hidden, halves).ok_or_else(misfit)?;
    let widths = [(product(&[halves, inner])?, hidden), (hidden, inner), (inner, hidden)];
    let expert = Expert { cx, places, widths, experts, used };
    let first = expert.product(&mut body, 0, &rows).ok_or_else(misfit)?;
    let gate = match cx.optional(places.weights[2]) {
        Some(_) => Some(expert.product(&mut body, 2, &rows).ok_or_else(misfit)?),
        None => None,
    };
    let acted = activated(cx, &mut body, &first, gate, (halves, inner))?;
    let last = expert.product(&mut body, 1, &acted).ok_or_else(misfit)?;
    let combined = spread.combine(&mut body, &last, &indices, &chances);
    let y = body.reshape(&combined, &x.shape);
    body.output(&y);

    let outputs = vec![Fact::at_run_time(x.shape.clone(), x.element)];
    let what = format!(
        "sends each of {tokens} tokens to {choices} of {experts} experts, which the data decides; costed as if they spread \
         evenly over {used}, whose weights are loaded"
    );
    Ok(Lowered::by_element(cx, outputs, lanes::MOVE).within(body).warned(what))
}

impl Spread {
    /// How likely each token's experts are, and which they are.
    fn route(&self, body: &mut Body, router: &Wire) -> Result<[Wire; 2], Refusal> {
        let chances = body.softmax(router);
        let k = body.ints(&[signed(self.choices)?]);
        Ok(body.nodes("", "TopK", &[&chances, &k], Vec::new()))
    }

    /// The tokens of each expert, `[used, rows, hidden]`.
    fn dispatch(&self, body: &mut Body, flat: &Wire, indices: &Wire) -> Wire {
        let picked = self.tokens * self.choices;
        let all = self.used * self.rows;
        let mut places = body.reshape(indices, &[picked]);
        if all > picked {
            places = body.pad(&places, 1, 0, 0, all - picked);
        }
        let places = body.reshape(&places, &[self.used, self.rows]);
        body.node("Gather", &[flat, &places], Vec::new())
    }

    /// What a token's experts made of it, weighted and summed.
    fn combine(&self, body: &mut Body, made: &Wire, indices: &Wire, chances: &Wire) -> Wire {
        let all = body.reshape(made, &[self.used * self.rows, self.hidden]);
        let parts = body.node("Gather", &[&all, indices], Vec::new());
        let chances = body.reshape(chances, &[self.tokens, self.choices, 1]);
        let weighted = body.node("Mul", &[&parts, &chances], Vec::new());
        body.sum(&weighted, 1)
    }
}

/// The experts that are used.
struct Expert<'a> {
    cx: &'a Context<'a>,
    places: &'a Places,
    /// Columns and rows of each weight.
    widths: [(u64, u64); 3],
    experts: u64,
    used: u64,
}

impl Expert<'_> {
    /// A product of each expert's tokens by its weight, and its bias.
    fn product(&self, body: &mut Body, which: usize, x: &Wire) -> Option<Wire> {
        let Self { cx, places, used, .. } = *self;
        let (n, k) = self.widths[which];
        let weight = match places.scales {
            Some(scales) => self.quantized(body, which, scales[which])?,
            None => {
                let shape = &cx.optional(places.weights[which])?.shape;
                let some = body.slice_along(&Body::input(places.weights[which]), 0, 0, used);
                // Before ORT 1.20 weights were the other way round.
                match shape[..] {
                    [experts, columns, rows] if (experts, columns, rows) == (self.experts, n, k) => {
                        body.transpose(&some, &[0, 2, 1])
                    }
                    [experts, rows, columns] if (experts, columns, rows) == (self.experts, n, k) => some,
                    _ => return None,
                }
            }
        };
        let y = body.node("MatMul", &[x, &weight], Vec::new());
        let bias = places.biases[which];
        let Some(_) = cx.optional(bias) else { return Some(y) };
        let some = body.slice_along(&Body::input(bias), 0, 0, used);
        let some = body.reshape(&some, &[used, 1, n]);
        Some(body.node("Add", &[&y, &some], Vec::new()))
    }

    /// A weight of a few bits, `[used, rows, columns]`. A scale for each block is read with it.
    fn quantized(&self, body: &mut Body, which: usize, scales: usize) -> Option<Wire> {
        let (n, k) = self.widths[which];
        let fact = self.cx.optional(self.places.weights[which])?;
        let packed = *fact.shape.get(2).filter(|_| fact.shape[..2] == [self.experts, n])?;
        let in_byte = k.checked_div(packed).filter(|in_byte| in_byte * packed == k)?;
        let data_type = match in_byte {
            1 => 3,
            2 => 22,
            4 => 26,
            _ => return None,
        };
        let weight = body.unpacked(&format!("fc{}_experts_weights", which + 1), &[self.used, n, k], data_type);
        let scale = match self.cx.optional(scales).map(|scales| &scales.shape[..]) {
            Some(&[_, _, blocks]) if blocks > 1 => body.slice_along(&Body::input(scales), 0, 0, self.used),
            Some(_) | None => body.number(),
        };
        let block = match self.cx.size("block_size", 0).ok()? {
            0 => k,
            block => block,
        };
        let weight = body.dequantized(&weight, &scale, 2, block);
        Some(body.transpose(&weight, &[0, 2, 1]))
    }
}

/// The width between the two products: that of the second weight, of which a byte may hold several elements.
fn inner_width(cx: &Context<'_>, places: &Places, hidden: u64, halves: u64) -> Option<u64> {
    let shape = &cx.optional(places.weights[0])?.shape;
    let columns = match shape[..] {
        [_, columns, rows] if places.scales.is_some() || rows == hidden => columns,
        [_, rows, columns] if rows == hidden => columns,
        _ => return None,
    };
    columns.checked_div(halves).filter(|inner| inner * halves == columns)
}

/// What is done between the products: with a gate that is half of the first one, or a product of its own.
fn activated(
    cx: &Context<'_>,
    body: &mut Body,
    first: &Wire,
    gate: Option<Wire>,
    (halves, inner): (u64, u64),
) -> Result<Wire, Refusal> {
    let name = cx.text("activation_type")?.unwrap_or("relu");
    if halves == 2 {
        let parts = [0, inner].map(|from| body.slice(first, from, from.saturating_add(inner)));
        return Ok(body.node("SwiGLU", &parts.each_ref(), Vec::new()));
    }
    let op = match name {
        "relu" => "Relu",
        "gelu" => "Gelu",
        "silu" | "swiglu" => "Swish",
        "identity" => "Identity",
        other => return Err(Refusal::new(format!("has the activation '{other}'"))),
    };
    let acted = if op == "Identity" { first.clone() } else { body.node(op, &[first], Vec::new()) };
    Ok(match gate {
        Some(gate) => body.node("Mul", &[&acted, &gate], Vec::new()),
        None => acted,
    })
}
