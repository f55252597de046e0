#!/usr/bin/env bash
# Trains with several processes, see dist.bash.
set -euo pipefail
tool=train operands=(CONFIG)
source "$(dirname "${BASH_SOURCE[0]}")/dist.bash"
