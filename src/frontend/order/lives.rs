//! What is held from when to when, in whatever order the layers run.

use std::ops::Range;

use crate::ir::{IdVec, Layer, LayerId, Model, NdBox, TensorId, TensorKind, entity};
use crate::units::Bytes;

entity! {
    /// Something that is held.
    BufferId, "buffer"
}

/// An input, or what one layer writes of a tensor.
struct Buffer {
    part: NdBox,
    bytes: Bytes,
    /// `None` of an input.
    writer: Option<LayerId>,
    /// In the file's order.
    readers: Vec<LayerId>,
}

/// What a layer uses.
struct Uses {
    write: Option<BufferId>,
    /// Each once.
    reads: Vec<BufferId>,
    /// Those of the reads that the result can be written over, if they die with the layer.
    replaceable: Vec<BufferId>,
}

/// The buffers of a model, and who uses them; layers are named by their places in the file's order.
pub(super) struct Lives {
    buffers: IdVec<BufferId, Buffer>,
    layers: IdVec<LayerId, Uses>,
}

/// What is held while a layer runs, and after.
pub(super) struct Run {
    pub(super) during: Bytes,
    pub(super) after: Bytes,
}

/// The layers that have run: all before a part, and some of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Done {
    begin: usize,
    bits: Vec<u64>,
}

impl Done {
    /// All before a part.
    pub(super) fn new(part: &Range<usize>) -> Self {
        Self { begin: part.start, bits: vec![0; part.len().div_ceil(64)] }
    }

    /// One of the part has run.
    pub(super) fn add(&mut self, layer: LayerId) {
        let at = layer.index() - self.begin;
        self.bits[at / 64] |= 1 << (at % 64);
    }

    fn has(&self, layer: LayerId) -> bool {
        let Some(at) = layer.index().checked_sub(self.begin) else { return true };
        self.bits.get(at / 64).is_some_and(|bits| bits >> (at % 64) & 1 == 1)
    }
}

impl Lives {
    /// Reads them off a model that passes [`Model::check`].
    pub(super) fn of(model: &Model) -> Self {
        let mut lives = Self { buffers: IdVec::new(), layers: IdVec::new() };
        let mut of_tensor: IdVec<TensorId, Vec<BufferId>> = model.tensors.iter().map(|_| Vec::new()).collect();
        for (id, tensor) in model.tensors.iter_with_ids().filter(|(_, tensor)| tensor.kind == TensorKind::Input) {
            let (part, bytes) = (tensor.whole(), tensor.bytes_of(&tensor.whole()));
            of_tensor[id].push(lives.buffers.push(Buffer { part, bytes, writer: None, readers: Vec::new() }));
        }
        for (id, layer) in model.layers.iter_with_ids() {
            lives.add(model, id, layer, &mut of_tensor);
        }
        lives
    }

    fn add(&mut self, model: &Model, id: LayerId, layer: &Layer, of_tensor: &mut IdVec<TensorId, Vec<BufferId>>) {
        let written = layer.write.as_ref().and_then(|write| {
            let tensor = &model.tensors[write.tensor];
            Some((tensor, write.touched(&layer.whole(), &tensor.shape)?))
        });
        let (mut reads, mut replaceable) = (Vec::new(), Vec::new());
        for read in &layer.reads {
            let tensor = &model.tensors[read.tensor];
            let Some(needed) = read.touched(&layer.whole(), &tensor.shape) else { continue };
            for &id_of in &of_tensor[read.tensor] {
                let buffer = &mut self.buffers[id_of];
                if buffer.part.meets(&needed) && buffer.readers.last() != Some(&id) {
                    buffer.readers.push(id);
                    reads.push(id_of);
                    let has_its_size = written.as_ref().is_some_and(|(new, written)| {
                        (&buffer.part, tensor.element_bits) == (written, new.element_bits)
                    });
                    if has_its_size
                        && tensor.kind == TensorKind::Activation
                        && reads_where_it_writes(layer, read.tensor)
                    {
                        replaceable.push(id_of);
                    }
                }
            }
        }
        let write = layer.write.as_ref().zip(written).map(|(write, (tensor, part))| {
            let bytes = tensor.bytes_of(&part);
            let buffer = self.buffers.push(Buffer { part, bytes, writer: Some(id), readers: Vec::new() });
            of_tensor[write.tensor].push(buffer);
            buffer
        });
        self.layers.push(Uses { write, reads, replaceable });
    }

    /// Runs a layer where `held` is held.
    pub(super) fn run(&self, layer: LayerId, done: &Done, held: Bytes) -> Run {
        let uses = &self.layers[layer];
        let dies =
            |&&id: &&BufferId| self.buffers[id].readers.iter().rev().all(|&reader| reader == layer || done.has(reader));
        let begins = |&&id: &&BufferId| {
            let buffer = &self.buffers[id];
            buffer.writer.is_none() && !buffer.readers.iter().any(|&reader| done.has(reader))
        };
        let loaded = self.bytes(uses.reads.iter().filter(begins));
        let written = self.bytes(&uses.write);
        let beside = if uses.replaceable.iter().any(|id| dies(&id)) { Bytes::ZERO } else { written };
        let ends = self.bytes(uses.reads.iter().chain(&uses.write).filter(dies));
        Run { during: held + loaded + beside, after: held + loaded + written - ends }
    }

    /// The most that a layer holds of its own: no order holds less.
    pub(super) fn floor(&self) -> Bytes {
        let own = |uses: &Uses| {
            let beside = uses.write.iter().filter(|_| uses.replaceable.is_empty());
            self.bytes(&uses.reads) + self.bytes(beside)
        };
        self.layers.iter().map(own).max().unwrap_or(Bytes::ZERO)
    }

    /// Whether all that a layer reads is there.
    fn is_ready(&self, layer: LayerId, done: &Done) -> bool {
        self.writers(layer).all(|writer| done.has(writer))
    }

    /// Those layers of a part that can run first.
    pub(super) fn sources(&self, part: &Range<usize>, done: &Done) -> Vec<LayerId> {
        part.clone().map(LayerId::from).filter(|&layer| self.is_ready(layer, done)).collect()
    }

    /// The layers that can run now that one has, and could not before.
    pub(super) fn made_ready(&self, layer: LayerId, done: &Done) -> impl Iterator<Item = LayerId> {
        self.readers(layer).filter(|&reader| self.is_ready(reader, done))
    }

    /// The parts whose layers run before all of the next part's in each order.
    pub(super) fn parts(&self) -> Vec<Range<usize>> {
        let layers = self.layers.len();
        // Those behind which all layers are descendants: each reads from the layer or from one behind it.
        let mut earliest = Some(layers);
        let mut ends: Vec<bool> = Vec::with_capacity(layers);
        for id in self.layers.ids().rev() {
            ends.push(earliest >= Some(id.index()));
            earliest = earliest.min(self.writers(id).max().map(LayerId::index));
        }
        ends.reverse();
        // Of those the ones before which all are ancestors: each is read by the layer or by one before it.
        let (mut latest, mut begin, mut parts) = (0, 0, Vec::new());
        for id in self.layers.ids() {
            let end = id.index() + 1;
            if ends[id.index()] && latest < end || end == layers {
                parts.push(begin..end);
                begin = end;
            }
            latest = latest.max(self.readers(id).next().map_or(layers, LayerId::index));
        }
        parts
    }

    fn writers(&self, layer: LayerId) -> impl Iterator<Item = LayerId> {
        self.layers[layer].reads.iter().filter_map(|&id| self.buffers[id].writer)
    }

    fn readers(&self, layer: LayerId) -> impl Iterator<Item = LayerId> {
        self.layers[layer].write.iter().flat_map(|&id| self.buffers[id].readers.iter().copied())
    }

    fn bytes<'a>(&self, buffers: impl IntoIterator<Item = &'a BufferId>) -> Bytes {
        buffers.into_iter().map(|&id| self.buffers[id].bytes).sum()
    }
}

/// Whether each iteration reads of a tensor just the element at the place that it writes.
fn reads_where_it_writes(layer: &Layer, tensor: TensorId) -> bool {
    let written = layer.write.as_ref().and_then(|write| write.access.as_ref());
    let mut reads = layer.reads.iter().filter(|read| read.tensor == tensor);
    written.is_some() && reads.all(|read| read.access.as_ref() == written)
}
