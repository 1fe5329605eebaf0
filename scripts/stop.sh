#!/usr/bin/env bash
#
# Stops what the set-up and the demo left running, by pid: the demo's `patchwave up`, then the
# Docker Engine if it was started by hand. An engine that was there before, or is systemd's, stays.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
"$here/demo.sh" stop
"$here/engine.sh" down
