#!/usr/bin/env python3
"""Make the small models of this folder: what PyTorch's exporter and ONNX Runtime's tools write, as they write it.

Unlike the networks of ../, whose normalisations are operators of their own, these
have them in pieces, or have been quantised or optimised. One block of each
transformer, seeded random weights. To run it, with the environment of
../export.py and ONNX Runtime beside it:

    /tmp/export-venv/bin/pip install onnxruntime==1.18.1
    /tmp/export-venv/bin/python testdata/exported/export.py

CI does not run this. Weights of more than 64 bytes become references into a file
that is not written, as `strip` of ../export.py makes them.
"""

import os
import sys
import tempfile
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

import export
import numpy as np
import onnx
import torch
import transformers as tf
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers import optimizer
from torch import nn

export.INLINE_LIMIT = 64
SIZES = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=4, vocab_size=100)
IDS = torch.ones(1, 16, dtype=torch.long)


class Cnn(nn.Module):
    """Convolutions with a normalisation, a residual addition, a concatenation, pools, groups, a gate and a head."""

    def __init__(self):
        super().__init__()
        self.first, self.normal = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.residual = nn.Conv2d(16, 16, 3, padding=1)
        self.narrow, self.wide = nn.Conv2d(16, 8, 1), nn.Conv2d(16, 24, 3, padding=1)
        self.depthwise = nn.Conv2d(32, 32, 3, padding=1, groups=32)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        x = torch.relu(self.normal(self.first(x)))
        x = torch.relu(self.residual(x) + x)
        x = torch.cat([torch.relu(self.narrow(x)), torch.relu(self.wide(x))], 1)
        x = nn.functional.hardswish(self.depthwise(torch.max_pool2d(x, 2)))
        x = x * torch.sigmoid(x.mean((2, 3), keepdim=True))
        return self.head(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


class Calibration(CalibrationDataReader):
    def __init__(self):
        self.images = [{"x": np.random.default_rng(0).standard_normal((1, 3, 32, 32), np.float32)}]

    def get_next(self):
        return self.images.pop() if self.images else None


def main():
    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    folder = tempfile.mkdtemp()
    path = lambda name: os.path.join(folder, name + ".onnx")

    def torch_export(name, model, inputs, opset, names):
        torch.onnx.export(model.eval(), inputs, path(name), opset_version=opset, input_names=names)

    torch_export("cnn", Cnn(), (torch.randn(1, 3, 32, 32),), 13, ["x"])
    quant_pre_process(path("cnn"), path("cnn_prepared"), skip_symbolic_shape=True)
    for form in QuantFormat:
        types = dict(weight_type=QuantType.QInt8, activation_type=QuantType.QUInt8)
        name = "cnn_" + form.name.lower()
        quantize_static(path("cnn_prepared"), path(name), Calibration(), quant_format=form, **types)

    bert = tf.BertModel(tf.BertConfig(intermediate_size=64, **SIZES))
    torch_export("bert", bert, (IDS, torch.ones_like(IDS)), 14, ["ids", "mask"])
    quantize_dynamic(path("bert"), path("bert_dynamic"))
    optimizer.optimize_model(path("bert"), "bert", num_heads=4, hidden_size=32).save_model_to_file(path("bert_optimized"))
    gpt2 = tf.GPT2Model(tf.GPT2Config(n_embd=32, n_layer=1, n_head=4, vocab_size=100, use_cache=False))
    torch_export("gpt2", gpt2, (IDS,), 14, ["ids"])
    llama = tf.LlamaModel(tf.LlamaConfig(intermediate_size=64, num_key_value_heads=2, use_cache=False, **SIZES))
    torch_export("llama_half", llama.half(), (IDS,), 14, ["ids"])

    for name in ["cnn", "cnn_qdq", "cnn_qoperator", "bert", "bert_dynamic", "bert_optimized", "gpt2", "llama_half"]:
        model = onnx.load(path(name))
        export.strip(model, name)
        onnx.save(model, os.path.join(HERE, name + ".onnx"))


main()
