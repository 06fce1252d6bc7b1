#!/usr/bin/env bash
# From the graph to PubMedQA: both phases, controls, evaluation, report.
FAMILY=mistral DATASET=pubmedqa exec bash "$(dirname "${BASH_SOURCE[0]}")/../_run.sh" "$@"
