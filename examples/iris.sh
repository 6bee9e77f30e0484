#!/bin/sh
# The main job, end to end: build an image of a function, deploy it, ask it over REST.
set -eu
cd "$(dirname "$0")/.."

base=$(imagesmith base build --python 3.11)
echo "base:     $base"

image=$(imagesmith build fixtures/iris/model.py:predict --name iris --version 1 \
    --input-type doubles --samples fixtures/iris/samples.json --output oci:dist/iris)
echo "image:    $image"

trap 'imagesmith clipper down >/dev/null' EXIT
imagesmith clipper up --query-port 0 --management-port 0 --rpc-port 0 >/dev/null
imagesmith deploy oci:dist/iris >/dev/null

query=$(imagesmith clipper status | sed -n 's/^query: //p')
python examples/ask.py "$query/iris/predict" '{"input": [5.1, 3.5, 1.4, 0.2]}'
