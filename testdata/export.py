#!/usr/bin/env python3
"""Make the ONNX test models of this folder: real graphs, without their weights.

Needs Python 3.11, about 8 GiB of memory and 8 GB of disk in /tmp (2 minutes on 2 cores). To run it:

    python3.11 -m venv /tmp/export-venv
    /tmp/export-venv/bin/pip install torch==2.4.1 torchvision==0.19.1 transformers==4.44.2 onnx==1.16.2 numpy==1.26.4 protobuf==5.29.5
    /tmp/export-venv/bin/python testdata/export.py               # all models, then a table
    /tmp/export-venv/bin/python testdata/export.py ncf gpt2_decode   # only these
    /tmp/export-venv/bin/python testdata/export.py --table       # export nothing, describe what is there

CI does not run this; the .onnx files are committed. Nothing is downloaded: each
network is built from its public definition with seeded random weights, so the
graph is that of the real model but its numbers mean nothing.

What happens to each exported file (see `strip`): every tensor of more than 1024
bytes becomes a reference into an external data file "<model>.weights" which is
NOT written (offsets and lengths are right, the tensors lying back to back in file
order); tensors of up to 1024 bytes stay inline, as those hold shapes, axes
and scalars; doc strings, metadata and value_info (inferred shapes of
intermediate tensors) are removed. So read them with
onnx.load(path, load_external_data=False).
"""

import argparse
import collections
import gc
import math
import os
import tempfile
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"  # nothing here may reach for a model hub

import onnx
import torch
import torchvision.models as tv
import transformers as tf
from torch import nn

HERE = os.path.dirname(os.path.abspath(__file__))
INLINE_LIMIT = 1024  # bytes; larger tensors go external
TOTAL_LIMIT = 6 * 1024 * 1024  # all .onnx files together
OPSET = 17


# ---------------------------------------------------------------- export

def make_distinct(model):
    """Give every 1-D parameter and BatchNorm statistic values of its own.

    Fresh networks have many equal vectors (zero biases, LayerNorm weights of
    one). The exporter merges tensors of equal value and puts an Identity node
    wherever a merged one was, which no trained model shows. bert_base_dynamic
    skips this on purpose, so that one file has those Identity nodes.
    """
    with torch.no_grad():
        for p in model.parameters():
            if p.dim() == 1:
                p.add_(0.01 * torch.randn_like(p))
        for m in model.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.running_mean.normal_(0, 0.01)
                m.running_var.uniform_(0.9, 1.1)
    return model


def export(name, model, args, inputs, outputs, training=torch.onnx.TrainingMode.EVAL, dynamic_axes=None):
    """Export `model` (already in eval mode) to HERE/name.onnx, stripped."""
    with tempfile.TemporaryDirectory(prefix="export-") as tmp:
        full = os.path.join(tmp, name + ".onnx")
        with torch.no_grad():
            torch.onnx.export(
                model, args, full, dynamo=False, opset_version=OPSET, do_constant_folding=True,
                training=training, input_names=inputs, output_names=outputs, dynamic_axes=dynamic_axes)
        proto = onnx.load(full)
    if dynamic_axes is None:
        # The exporter cannot see the shape of an Einsum and then invents names for
        # output dimensions (xlnet_large); all is static, so write what torch gives.
        with torch.no_grad():
            kwargs = args[-1] if isinstance(args[-1], dict) else {}
            results = model(*args[:len(args) - bool(kwargs)], **kwargs)
        for value, result in zip(proto.graph.output, [results] if torch.is_tensor(results) else results):
            for dim, size in zip(value.type.tensor_type.shape.dim, result.shape):
                dim.dim_value = size
    strip(proto, name + ".weights")
    with open(os.path.join(HERE, name + ".onnx"), "wb") as f:
        f.write(proto.SerializeToString(deterministic=True))


# ---------------------------------------------------------------- strip

def graphs(graph):
    """`graph` and all graphs nested in its nodes (bodies of If, Loop, Scan)."""
    yield graph
    for node in graph.node:
        for a in node.attribute:
            for g in ([a.g] if a.type == onnx.AttributeProto.GRAPH else a.graphs):
                yield from graphs(g)


def tensors(graph):
    """All tensors of a graph: its initializers, then those in node attributes."""
    yield from graph.initializer
    for node in graph.node:
        for a in node.attribute:
            if a.type == onnx.AttributeProto.TENSOR:
                yield a.t
            yield from a.tensors


def payload(tensor):
    """Size in bytes of a tensor's data in ONNX's raw encoding."""
    return math.prod(tensor.dims) * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def strip(model, location):
    """Send the large tensors to the (never written) file `location`; drop notes."""
    del model.metadata_props[:]
    model.doc_string = ""
    offset = 0
    for g in graphs(model.graph):
        del g.value_info[:]
        del g.metadata_props[:]
        g.doc_string = ""
        for item in [*g.node, *g.input, *g.output]:
            item.doc_string = ""
            del item.metadata_props[:]
        for node in g.node:
            for a in node.attribute:
                a.doc_string = ""
        for t in tensors(g):
            t.doc_string = ""
            del t.metadata_props[:]
            size = payload(t)
            assert t.raw_data == b"" or len(t.raw_data) == size, t.name
            if size <= INLINE_LIMIT:
                continue
            for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
                t.ClearField(field)
            t.data_location = onnx.TensorProto.EXTERNAL
            for key, value in (("location", location), ("offset", offset), ("length", size)):
                t.external_data.add(key=key, value=str(value))
            offset += size


# ---------------------------------------------------------------- vision

def vision(name, build, size=224, **kw):
    """A torchvision classifier: eval mode, batch 1, BatchNorm folded into Conv."""
    model = make_distinct(build(weights=None)).eval()
    export(name, model, (torch.randn(1, 3, size, size),), ["input"], ["logits"], **kw)


def inception_v3():
    def build(weights):
        # aux_logits=False: the auxiliary head only runs in training anyway.
        return tv.inception_v3(weights=weights, init_weights=False, transform_input=False, aux_logits=False)
    vision("inception_v3", build, size=299)


def mobilenet_v2():
    vision("mobilenet_v2", tv.mobilenet_v2)


def resnet50():
    vision("resnet50", tv.resnet50)


def resnext50_32x4d():
    # PRESERVE on a model in eval mode: inference semantics, but BatchNorm is not
    # folded, so this file has real BatchNormalization nodes.
    vision("resnext50_32x4d", tv.resnext50_32x4d, training=torch.onnx.TrainingMode.PRESERVE)


def resnet152():
    vision("resnet152", tv.resnet152)


# ---------------------------------------------------------------- BERT

def bert(name, layers, hidden, heads, ffn, distinct=True, dynamic_axes=None):
    config = tf.BertConfig(
        vocab_size=30522, num_hidden_layers=layers, hidden_size=hidden, num_attention_heads=heads,
        intermediate_size=ffn, attn_implementation="eager", return_dict=False)
    model = tf.BertModel(config).eval()
    if distinct:
        make_distinct(model)
    ids = torch.randint(0, 30522, (1, 128))
    export(name, model, (ids, torch.ones_like(ids), torch.zeros_like(ids)),
           ["input_ids", "attention_mask", "token_type_ids"], ["last_hidden_state", "pooler_output"],
           dynamic_axes=dynamic_axes)


def bert_base():
    bert("bert_base", 12, 768, 12, 3072)


def bert_large():
    bert("bert_large", 24, 1024, 16, 4096)


def bert_base_dynamic():
    # No make_distinct here: this file shows the Identity nodes that the exporter
    # makes for parameters of equal value.
    both, batch = {0: "batch", 1: "seq"}, {0: "batch"}
    bert("bert_base_dynamic", 12, 768, 12, 3072, distinct=False, dynamic_axes={
        "input_ids": both, "attention_mask": both, "token_type_ids": both,
        "last_hidden_state": both, "pooler_output": batch})


# ---------------------------------------------------------------- NCF

class NeuMF(nn.Module):
    """Neural matrix factorisation (He et al. 2017) in MLPerf's size.

    From memory (no network here to check against): MLPerf Training v0.5's
    recommendation benchmark runs NeuMF on MovieLens-20M (138493 users, 26744
    items) with "--factors 64 --layers 256 256 128 64". Its reference model makes
    each MLP embedding layers[0] // 2 = 128 wide, one Linear + ReLU per following
    layer, and a last Linear on concat(GMF, MLP) = 64 + 64. This class is the
    same, its forward ending in the sigmoid that the reference applies for
    scoring (in training it is inside the loss).
    """

    def __init__(self, users=138493, items=26744, factors=64, layers=(256, 256, 128, 64)):
        super().__init__()
        self.gmf_user, self.gmf_item = nn.Embedding(users, factors), nn.Embedding(items, factors)
        self.mlp_user, self.mlp_item = nn.Embedding(users, layers[0] // 2), nn.Embedding(items, layers[0] // 2)
        self.mlp = nn.Sequential(*[m for i, o in zip(layers, layers[1:]) for m in (nn.Linear(i, o), nn.ReLU())])
        self.final = nn.Linear(factors + layers[-1], 1)

    def forward(self, user, item):
        gmf = self.gmf_user(user) * self.gmf_item(item)
        mlp = self.mlp(torch.cat((self.mlp_user(user), self.mlp_item(item)), dim=1))
        return torch.sigmoid(self.final(torch.cat((gmf, mlp), dim=1)))


def ncf():
    export("ncf", NeuMF().eval(), (torch.tensor([1]), torch.tensor([2])), ["user", "item"], ["score"])


# ---------------------------------------------------------------- XLNet

def xlnet_large():
    # The configuration of xlnet-large-cased; its relative attention is written
    # with torch.einsum, which the exporter keeps as Einsum nodes.
    config = tf.XLNetConfig(
        vocab_size=32000, d_model=1024, n_layer=24, n_head=16, d_inner=4096,
        use_mems_eval=False, return_dict=False)  # no memory outputs
    model = make_distinct(tf.XLNetModel(config).eval())
    ids = torch.randint(0, 32000, (1, 128))
    kwargs = {"attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    export("xlnet_large", model, (ids, kwargs),
           ["input_ids", "attention_mask", "token_type_ids"], ["last_hidden_state"])


# ---------------------------------------------------------------- GPT-2

GPT2_LAYERS = 12


class Gpt2(nn.Module):
    """transformers' GPT-2 with the key/value cache as plain tensors.

    `past` is key and value of layer 0, of layer 1, ... each [1, 12, past, 64].
    Returns the logits, then the whole cache (past and new tokens) in that order.
    """

    def __init__(self):
        super().__init__()
        # GPT2Config's defaults are GPT-2 small: 12 layers, 768, 12 heads, vocab 50257.
        self.lm = tf.GPT2LMHeadModel(tf.GPT2Config(attn_implementation="eager"))

    def forward(self, input_ids, attention_mask, position_ids, *past):
        out = self.lm(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids,
            past_key_values=tuple(zip(past[0::2], past[1::2])) or None, use_cache=True, return_dict=False)
        return (out[0], *[t for layer in out[1] for t in layer])


def gpt2(name, tokens, past):
    model = make_distinct(Gpt2().eval())
    cache = [torch.randn(1, 12, past, 64) for _ in range(2 * GPT2_LAYERS)] if past else []
    names = [f"{i}.{kv}" for i in range(GPT2_LAYERS) for kv in ("key", "value")]
    export(name, model,
           (torch.randint(0, 50257, (1, tokens)), torch.ones(1, past + tokens, dtype=torch.int64),
            torch.arange(past, past + tokens).unsqueeze(0), *cache),
           ["input_ids", "attention_mask", "position_ids"] + ([f"past.{n}" for n in names] if past else []),
           ["logits"] + [f"present.{n}" for n in names])


def gpt2_prefill():
    gpt2("gpt2_prefill", tokens=128, past=0)


def gpt2_decode():
    gpt2("gpt2_decode", tokens=1, past=128)


# ---------------------------------------------------------------- tiny

class TinyCnn(nn.Module):
    """A residual block, a pooled classifier: a whole stream of it fits on a screen."""

    def __init__(self):
        super().__init__()
        self.stem, self.inner = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = torch.relu(self.inner(x) + x)
        return self.head(x.mean(dim=(2, 3)))


def tiny_cnn():
    export("tiny_cnn", make_distinct(TinyCnn().eval()), (torch.randn(1, 3, 16, 16),), ["image"], ["scores"])


def tiny_mlp():
    model = nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 64), nn.Softmax(dim=-1))
    export("tiny_mlp", make_distinct(model.eval()), (torch.randn(4, 256),), ["features"], ["classes"])


# ---------------------------------------------------------------- command line

MODELS = {f.__name__: f for f in (
    inception_v3, mobilenet_v2, resnet50, resnext50_32x4d, resnet152, bert_base, bert_large, ncf,
    xlnet_large, bert_base_dynamic, gpt2_prefill, gpt2_decode, tiny_cnn, tiny_mlp)}


def shape(value):
    t = value.type.tensor_type
    dims = ",".join(d.dim_param or str(d.dim_value) for d in t.shape.dim)
    return f"{value.name}:{onnx.TensorProto.DataType.Name(t.elem_type).lower()}[{dims}]"


def describe(path):
    """Print one model's size, inputs and outputs, and count of each op type."""
    model = onnx.load(path, load_external_data=False)
    every = list(graphs(model.graph))
    ops = collections.Counter(n.op_type for g in every for n in g.node)
    stored = [t for g in every for t in tensors(g)]
    big = [t for t in stored if t.data_location == onnx.TensorProto.EXTERNAL]
    assert all((t.data_location == onnx.TensorProto.EXTERNAL) == (payload(t) > INLINE_LIMIT) for t in stored)
    print(f"{os.path.basename(path)}: {os.path.getsize(path)} bytes, {sum(ops.values())} nodes, "
          f"{len(model.graph.initializer)} initializers, {len(big)} external tensors "
          f"({sum(payload(t) for t in big)} bytes), {len(every) - 1} nested graphs")
    print("  in :", " ".join(map(shape, model.graph.input)))
    print("  out:", " ".join(map(shape, model.graph.output)))
    print("  ops:", " ".join(f"{op}={n}" for op, n in sorted(ops.items(), key=lambda x: (-x[1], x[0]))))


def main():
    cli = argparse.ArgumentParser(description="Make the ONNX test models.")
    cli.add_argument("models", nargs="*", metavar="model", help="any of: " + ", ".join(MODELS))
    cli.add_argument("--table", action="store_true", help="only describe the files that exist")
    opts = cli.parse_args()
    for name in opts.models:
        if name not in MODELS:
            cli.error(f"unknown model {name}")
    warnings.filterwarnings("ignore")  # tracer warnings about shapes that are static here
    if not opts.table:
        for name in opts.models or MODELS:
            print("export", name, flush=True)
            torch.manual_seed(0)
            MODELS[name]()
            gc.collect()
    paths = sorted(os.path.join(HERE, f) for f in os.listdir(HERE) if f.endswith(".onnx"))
    for path in paths:
        describe(path)
    total = sum(map(os.path.getsize, paths))
    print(f"total: {len(paths)} files, {total} bytes")
    assert total < TOTAL_LIMIT, "the files must stay below 6 MiB together"


if __name__ == "__main__":
    main()
