#!/usr/bin/env bash
# The same, with instructions of several concepts each as well.
FAMILY=mistral DATASET=umls_extended exec bash "$(dirname "${BASH_SOURCE[0]}")/../_run.sh" "$@"
