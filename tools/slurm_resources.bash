# What slurm_train.sh and slurm_test.sh ask srun for, and the environment of their processes; to be sourced after
# `tools` is set. Gives `resources` and `cpus`.
# shellcheck shell=bash
gpus=${GPUS:-8}
if [ "$gpus" -gt 0 ]; then
  gpus_per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
  resources=(--ntasks "$gpus" --ntasks-per-node "$gpus_per_node" --gres "gpu:$gpus_per_node")
else
  resources=(--ntasks "${NTASKS:-1}")
fi
cpus=${CPUS_PER_TASK:-5}
# As many threads as cores were asked for, not as the node has.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$cpus}
# Two jobs may share a node, so not always the same port.
export MASTER_PORT=${MASTER_PORT:-$((20000 + RANDOM % 20000))}
export PYTHONPATH="$(dirname "$tools")${PYTHONPATH:+:$PYTHONPATH}"
