#!/usr/bin/env bash
#
# Makes this machine ready to build, run and test Patchwave; quick when there is nothing to do.
#
# Each part looks before it acts, so it can be run again at any time and after any failure. What is
# Debian's goes where Debian puts it; everything else stays in the project's own .tools folder.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib/say.sh
source "$here/lib/say.sh"

tools=${PATCHWAVE_TOOLS:-$(dirname "$here")/.tools}

check_rust() {
  local version
  version=$(cargo --version 2>/dev/null) \
    || die "cargo is missing" "install a Rust toolchain first, for instance with rustup"
  say found "$version"
}

mkdir -p "$tools"
# Two at a time would install twice and start two engines. Descriptor 9 is closed for what stays running.
exec 9>"$tools/setup.lock"
flock 9

check_rust
"$here/packages.sh"
"$here/broker.sh"
"$here/python.sh"
"$here/node.sh"
"$here/engine.sh" up
"$here/image.sh"
