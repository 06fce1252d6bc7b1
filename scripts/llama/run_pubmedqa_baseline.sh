#!/usr/bin/env bash
# The PubMedQA job of a model that never gets a prefix.
FAMILY=llama DATASET=pubmedqa_baseline exec bash "$(dirname "${BASH_SOURCE[0]}")/../_run.sh" "$@"
