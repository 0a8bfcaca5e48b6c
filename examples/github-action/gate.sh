#!/usr/bin/env bash
# Ends with the code that scan.sh kept: 1 where a gate failed. Takes OUTPUT from the environment.
set -euo pipefail

code=$(cat -- "${OUTPUT:-lsa-onnx}/code")
if [ "$code" -ne 0 ]; then echo "a gate failed; the summary of the job and its report say which" >&2; fi
exit "$code"
