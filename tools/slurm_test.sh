#!/usr/bin/env bash
set -euo pipefail

usage="usage: tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of tools/test.py]

Tests as a Slurm job. Environment:
  GPUS            in all; one process each (8); 0 runs on CPUs alone
  GPUS_PER_NODE   GPUS, at most 8
  NTASKS          processes where GPUS is 0 (1)
  CPUS_PER_TASK   cores of each process (5)
  SRUN_ARGS       further arguments of srun, e.g. '--time 8:00:00 --account lab'
  MASTER_PORT     where the processes meet (a random one)
  PYTHON          the interpreter ('python')"

case "${1:-}" in -h | --help) echo "$usage"; exit ;; esac
if [ $# -lt 4 ]; then echo "$usage" >&2; exit 2; fi
partition=$1 job_name=$2 config=$3 checkpoint=$4
shift 4
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$tools/slurm_resources.bash"

# SRUN_ARGS is several words.
# shellcheck disable=SC2086
exec srun --partition "$partition" --job-name "$job_name" "${resources[@]}" --cpus-per-task "$cpus" \
  --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
  "${PYTHON:-python}" -u "$tools/test.py" "$config" "$checkpoint" --launcher slurm "$@"
