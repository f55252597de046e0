#!/usr/bin/env bash
set -euo pipefail

usage="usage: tools/dist_train.sh CONFIG PROCESSES [arguments of tools/train.py]

Trains with PROCESSES processes on this machine, one for each GPU, or without GPUs on the CPU (torchrun, gloo).
On several machines, run it on each with NNODES, NODE_RANK (0, 1, ...), MASTER_ADDR (of the first) and PORT (29500).
PYTHON is the interpreter ('python')."

case "${1:-}" in -h | --help) echo "$usage"; exit ;; esac
if [ $# -lt 2 ]; then echo "$usage" >&2; exit 2; fi
config=$1 processes=$2
shift 2
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if [ -z "${NNODES:-}${PORT:-}" ]; then
  rendezvous=(--standalone)  # takes a free port, so that runs on one machine do not collide
else
  rendezvous=(--nnodes "${NNODES:-1}" --node-rank "${NODE_RANK:-0}" \
    --master-addr "${MASTER_ADDR:-127.0.0.1}" --master-port "${PORT:-29500}")
fi
export PYTHONPATH="$(dirname "$tools")${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python}" -m torch.distributed.run "${rendezvous[@]}" --nproc-per-node "$processes" \
  "$tools/train.py" "$config" --launcher pytorch "$@"
