#!/usr/bin/env bash
set -euo pipefail

usage="usage: tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [arguments of tools/test.py]

Tests with PROCESSES processes on this machine, one for each GPU, or without GPUs on the CPU (torchrun, gloo).
On several machines, run it on each with NNODES, NODE_RANK (0, 1, ...), MASTER_ADDR (of the first) and PORT (29500).
PYTHON is the interpreter ('python')."

case "${1:-}" in -h | --help) echo "$usage"; exit ;; esac
if [ $# -lt 3 ]; then echo "$usage" >&2; exit 2; fi
config=$1 checkpoint=$2 processes=$3
shift 3
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if [ -z "${NNODES:-}${PORT:-}" ]; then
  rendezvous=(--standalone)  # takes a free port, so that runs on one machine do not collide
else
  rendezvous=(--nnodes "${NNODES:-1}" --node-rank "${NODE_RANK:-0}" \
    --master-addr "${MASTER_ADDR:-127.0.0.1}" --master-port "${PORT:-29500}")
fi
export PYTHONPATH="$(dirname "$tools")${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python}" -m torch.distributed.run "${rendezvous[@]}" --nproc-per-node "$processes" \
  "$tools/test.py" "$config" "$checkpoint" --launcher pytorch "$@"
