#!/usr/bin/env bash
# Puts the summary of scan.sh on a pull request, in place of that of an earlier run. Takes OUTPUT and PULL_REQUEST (its
# number) from the environment, and what gh needs: GH_TOKEN and GH_REPO.
set -euo pipefail

summary=${OUTPUT:-lsa-onnx}/report.md
if [ -z "${PULL_REQUEST:-}" ] || [ ! -e "$summary" ]; then
    echo "no pull request, or no summary: nothing to say"
    exit 0
fi
# Every summary begins with the same line, which readers do not see. Others use the same account.
mark=$(head -n 1 -- "$summary")
export mark
comments="repos/$GH_REPO/issues/$PULL_REQUEST/comments"
ids=$(gh api --paginate "$comments" --jq '.[] | select(.body | startswith(env.mark)) | .id')
if [ -n "$ids" ]; then
    gh api --method PATCH "repos/$GH_REPO/issues/comments/${ids%%$'\n'*}" --field "body=@$summary" --silent
else
    gh api --method POST "$comments" --field "body=@$summary" --silent
fi
