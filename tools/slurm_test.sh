#!/usr/bin/env bash
# Tests as a Slurm job, see slurm.bash.
set -euo pipefail
tool=test operands=(CONFIG CHECKPOINT)
source "$(dirname "${BASH_SOURCE[0]}")/slurm.bash"
