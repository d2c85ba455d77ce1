//! LSTM, GRU and RNN: steps one after the other, each a product with the input and one with the state.

use super::context::{Context, Refusal, shown, signed};
use super::nest::{Nest, Read, Source};
use super::{Form, Lowered};
use crate::frontend::fact::{ElementType, Fact};
use crate::frontend::view::combine;
use crate::ir::{Access, Role};

/// Input `[steps, batch, in]`, weights `[directions, gates·hidden, in]` and `[directions, gates·hidden, hidden]`, output
/// `[steps, directions, batch, hidden]`; the batch comes first in layout 1.
pub(super) fn recurrent(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let sizes = Sizes::of(cx, cx.input(1)?, cx.input(2)?)?;
    Ok(sizes.lowered(sizes.nest(cx)?))
}

/// DynamicQuantizeLSTM: the last two dimensions of the weights are turned round.
pub(super) fn quantized(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let mut weights = [cx.input(1)?.clone(), cx.input(2)?.clone()];
    weights.iter_mut().filter(|weight| weight.rank() == 3).for_each(|weight| weight.shape.swap(1, 2));
    let sizes = Sizes::of(cx, &weights[0], &weights[1])?;
    let mut nest = sizes.nest(cx)?;
    nest.reads[1..3].iter_mut().filter_map(|read| read.access.as_mut()).for_each(|access| access.0.swap(1, 2));
    Ok(sizes.lowered(nest))
}

struct Sizes {
    element: ElementType,
    is_batch_first: bool,
    steps: u64,
    batch: u64,
    directions: u64,
    gates: u64,
    /// Of the input.
    width: u64,
    hidden: u64,
}

impl Sizes {
    fn of(cx: &Context<'_>, w: &Fact, r: &Fact) -> Result<Self, Refusal> {
        let x = cx.input(0)?;
        let misfit = || {
            let (x, w, r) = (shown(&x.shape), shown(&w.shape), shown(&r.shape));
            Refusal::new(format!("has input {x} and weights {w} and {r}, which do not fit"))
        };
        let gates = match cx.op() {
            "LSTM" | "DynamicQuantizeLSTM" => 4,
            "GRU" => 3,
            _ => 1,
        };
        let (&[first, second, width], &[directions, rows, w_width], &[_, _, hidden]) =
            (&x.shape[..], &w.shape[..], &r.shape[..])
        else {
            return Err(misfit());
        };
        if w_width != width || hidden.checked_mul(gates) != Some(rows) {
            return Err(misfit());
        }
        let is_batch_first = cx.flag("layout", false)?;
        let (steps, batch) = if is_batch_first { (second, first) } else { (first, second) };
        Ok(Self { element: x.element, is_batch_first, steps, batch, directions, gates, width, hidden })
    }

    /// One loop nest for both products: `k` runs over the input and then the state, for each gate. Steps are groups, for
    /// none can share the array with the next; the weights do not depend on them, so that they are loaded once.
    fn nest(&self, cx: &Context<'_>) -> Result<Nest, Refusal> {
        let mut nest = Nest::product();
        let direction = nest.dim("direction", self.directions, Role::Group);
        let step = nest.dim("step", self.steps, Role::Group);
        let row = nest.dim("batch", self.batch, Role::M);
        let out = nest.dim("hidden", self.hidden, Role::N);
        let gate = nest.dim("gate", self.gates, Role::K);
        let inner = nest.dim("k", self.width.saturating_add(self.hidden), Role::K);
        let weight = combine(0, [(&gate, signed(self.hidden)?), (&out, 1)])?;
        let behind_input = combine(-signed(self.width)?, [(&inner, 1)])?;
        let (lead, mut output) = match self.is_batch_first {
            true => (vec![row.clone(), step.clone()], vec![row, step, direction.clone()]),
            false => (vec![step.clone(), row.clone()], vec![step, direction.clone(), row]),
        };
        output.push(out);
        nest.read(0, Access([lead, vec![inner.clone()]].concat()));
        nest.read(1, Access(vec![direction.clone(), weight.clone(), inner]));
        nest.read(2, Access(vec![direction, weight, behind_input]));
        nest.reads.extend((3..cx.input_count()).map(|i| Read { source: Source::Input(i), access: None }));
        nest.write = Access(output);
        Ok(nest)
    }

    fn lowered(&self, nest: Nest) -> Lowered {
        let &Self { element, is_batch_first, steps, batch, directions, gates: _, width: _, hidden } = self;
        let fact = |shape: &[u64]| Fact::at_run_time(shape.to_vec(), element);
        let (whole, last) = match is_batch_first {
            true => (fact(&[batch, steps, directions, hidden]), fact(&[batch, directions, hidden])),
            false => (fact(&[steps, directions, batch, hidden]), fact(&[directions, batch, hidden])),
        };
        let lowered = Lowered::new(vec![whole, last.clone(), last], Form::Nest(nest));
        lowered.warned("has its steps costed one by one; the state between them is taken to stay on chip")
    }
}
