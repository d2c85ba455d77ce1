#!/bin/sh
# Fetches the node test models of the PyPI package `onnx` and prints the folder that they are in.
# Usage: fetch.sh [FOLDER], by default target/onnx-suite beside the sources; tests/onnx_node_suite.rs looks there, or
# where LAYERWEAVER_ONNX_SUITE says. 1.22.0 is the last version whose wheel carries the models.
set -eu
version=1.22.0
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=${1:-$root/target/onnx-suite}
data=$folder/onnx/backend/test/data
if [ ! -d "$data/node" ]; then
    mkdir -p "$folder"
    [ -x "$folder/venv/bin/pip" ] || python3 -m venv "$folder/venv"
    "$folder/venv/bin/pip" install --quiet --no-deps --only-binary :all: --target "$folder" "onnx==$version" >&2
fi
echo "$data"
