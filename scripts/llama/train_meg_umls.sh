#!/usr/bin/env bash
# Graph, concept embeddings and phase I on the preferred names of the concepts.
FAMILY=llama DATASET=umls exec bash "$(dirname "${BASH_SOURCE[0]}")/../_run.sh" "$@"
