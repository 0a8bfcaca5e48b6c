#!/usr/bin/env bash
# Scans one model and keeps what later steps hand on. Like lsa-onnx it ends with 0 or with the code of an error, but a
# gate that failed (1) is left to gate.sh: its results are to be uploaded first.
#
# Takes from the environment: MODEL; DATA, BASELINE (files, may be empty); FAIL_ON, ARGUMENTS (one gate, or one word of
# the command line, on each line); OUTPUT (a folder). Tells GitHub "code", "sarif" and "folder".
set -euo pipefail

: "${MODEL:?is empty; name the model to scan}"
output=${OUTPUT:-lsa-onnx}
mkdir -p -- "$output"
# What an earlier run left there is none of this run's results.
rm -f -- "$output"/report.{json,html,sarif,md} "$output/code"

arguments=(--json "$output/report.json" --html "$output/report.html" --sarif "$output/report.sarif"
           --markdown "$output/report.md")
if [ -n "${DATA:-}" ]; then arguments+=(--data "$DATA"); fi
if [ -n "${BASELINE:-}" ]; then arguments+=(--baseline "$BASELINE"); fi
while IFS= read -r gate; do
    if [ -n "$gate" ]; then arguments+=(--fail-on "$gate"); fi
done <<<"${FAIL_ON:-}"
while IFS= read -r word; do
    if [ -n "$word" ]; then arguments+=("$word"); fi
done <<<"${ARGUMENTS:-}"

code=0
lsa-onnx scan "${arguments[@]}" -- "$MODEL" || code=$?
if [ "$code" -gt 1 ]; then exit "$code"; fi

echo "$code" >"$output/code"
{
    echo "code=$code"
    echo "folder=$output"
    # A scan that stopped at --expect-accuracy has no report.
    if [ -e "$output/report.sarif" ]; then echo "sarif=$output/report.sarif"; fi
} >>"${GITHUB_OUTPUT:-/dev/null}"
if [ -e "$output/report.md" ]; then cat "$output/report.md" >>"${GITHUB_STEP_SUMMARY:-/dev/null}"; fi
