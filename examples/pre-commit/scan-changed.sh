#!/usr/bin/env bash
# Scans the models that a commit changes, each held to its baseline:
#
#   scan-changed.sh [OPTION OF lsa-onnx scan]... -- [MODEL]...
#
# The baseline of model.onnx is model.onnx.baseline.json beside it, the JSON of a scan with the same options; a model
# without one is held to the gates alone. Ends with the largest code of all scans: 1 where a gate failed.
set -euo pipefail

options=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    options+=("$1")
    shift
done
if [ $# -eq 0 ]; then
    echo "no -- before the models; write args: [--data, images.npz, --fail-on, 'mvl>3', --]" >&2
    exit 2
fi
shift
if ! command -v lsa-onnx >/dev/null; then
    echo "lsa-onnx is not installed here; run: pip install lsa-onnx" >&2
    exit 2
fi

worst=0
for model in "$@"; do
    held=()
    if [ -e "$model.baseline.json" ]; then held=(--baseline "$model.baseline.json"); fi
    code=0
    # Older shells take an empty array for an unset one. What failed is said on stderr.
    lsa-onnx scan --quiet ${options[@]+"${options[@]}"} ${held[@]+"${held[@]}"} -- "$model" >/dev/null || code=$?
    if [ "$code" -eq 0 ]; then echo "$model: passed"; else echo "$model: exit code $code"; fi
    if [ "$code" -gt "$worst" ]; then worst=$code; fi
done
exit "$worst"
