# Runs tools/$tool.py with torchrun. dist_train.sh and dist_test.sh set `tool` and `operands`, its own arguments, and
# then source this file.
# shellcheck shell=bash
usage="usage: tools/dist_$tool.sh ${operands[*]} PROCESSES [arguments of tools/$tool.py]

Runs tools/$tool.py with PROCESSES processes on this machine, one for each GPU, or without GPUs on the CPU (gloo).
On several machines, run it on each with NNODES, NODE_RANK (0, 1, ...), MASTER_ADDR (of the first) and PORT (29500).
PYTHON is the interpreter ('python')."

case "${1:-}" in -h | --help) echo "$usage"; exit ;; esac
count=${#operands[@]}
if [ $# -le "$count" ]; then echo "$usage" >&2; exit 2; fi
values=("${@:1:count}")
shift "$count"
processes=$1
shift
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if [ -z "${NNODES:-}${PORT:-}" ]; then
  rendezvous=(--standalone)  # takes a free port, so that runs on one machine do not collide
else
  rendezvous=(--nnodes "${NNODES:-1}" --node-rank "${NODE_RANK:-0}" \
    --master-addr "${MASTER_ADDR:-127.0.0.1}" --master-port "${PORT:-29500}")
fi
export PYTHONPATH="$(dirname "$tools")${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python}" -m torch.distributed.run "${rendezvous[@]}" --nproc-per-node "$processes" \
  "$tools/$tool.py" "${values[@]}" --launcher pytorch "$@"
