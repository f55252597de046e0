#!/usr/bin/env bash
# Trains as a Slurm job, see slurm.bash.
set -euo pipefail
tool=train operands=(CONFIG)
source "$(dirname "${BASH_SOURCE[0]}")/slurm.bash"
