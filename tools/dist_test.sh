#!/usr/bin/env bash
# Tests with several processes, see dist.bash.
set -euo pipefail
tool=test operands=(CONFIG CHECKPOINT)
source "$(dirname "${BASH_SOURCE[0]}")/dist.bash"
