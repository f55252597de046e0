# Runs tools/$tool.py as a Slurm job. slurm_train.sh and slurm_test.sh set `tool` and `operands`, its own arguments,
# and then source this file.
# shellcheck shell=bash
usage="usage: tools/slurm_$tool.sh PARTITION JOB_NAME ${operands[*]} [arguments of tools/$tool.py]

Runs tools/$tool.py as a Slurm job. Environment:
  GPUS            in total; one process each (8); 0 runs on CPUs only
  GPUS_PER_NODE   GPUS, at most 8
  NTASKS          processes where GPUS is 0 (1)
  CPUS_PER_TASK   cores of each process (5)
  SRUN_ARGS       further arguments of srun, e.g. '--time 8:00:00 --account lab'
  MASTER_PORT     where the processes meet (a random one)
  PYTHON          the interpreter ('python')"

case "${1:-}" in -h | --help) echo "$usage"; exit ;; esac
count=${#operands[@]}
if [ $# -lt $((count + 2)) ]; then echo "$usage" >&2; exit 2; fi
partition=$1 job_name=$2 values=("${@:3:count}")
shift $((count + 2))
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

gpus=${GPUS:-8}
if [ "$gpus" -gt 0 ]; then
  gpus_per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
  resources=(--ntasks "$gpus" --ntasks-per-node "$gpus_per_node" --gres "gpu:$gpus_per_node")
else
  resources=(--ntasks "${NTASKS:-1}")
fi
cpus=${CPUS_PER_TASK:-5}
# Use as many threads as requested cores, not as the node has.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$cpus}
# Two jobs may share a node, so the port varies.
export MASTER_PORT=${MASTER_PORT:-$((20000 + RANDOM % 20000))}
export PYTHONPATH="$(dirname "$tools")${PYTHONPATH:+:$PYTHONPATH}"

# SRUN_ARGS is several words.
# shellcheck disable=SC2086
exec srun --partition "$partition" --job-name "$job_name" "${resources[@]}" --cpus-per-task "$cpus" \
  --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
  "${PYTHON:-python}" -u "$tools/$tool.py" "${values[@]}" --launcher slurm "$@"
