#!/usr/bin/env bash
#
# The Python packages of the example subscriber, pinned by checksum, in the project's own folder.
#
#   python.sh            finds or fetches, and says which
#
# Tests put the folder on Python's path, so they need no network. A person makes a virtual environment instead.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib/say.sh
source "$here/lib/say.sh"
# shellcheck source=scripts/lib/pip.sh
source "$here/lib/pip.sh"

tools=${PATCHWAVE_TOOLS:-$(dirname "$here")/.tools}
requirements=${PATCHWAVE_PYTHON_REQUIREMENTS:-$(dirname "$here")/examples/subscribers/requirements.txt}
installed=$tools/python

named() {
  sed -n 's/^\([a-z][^ ]*\) .*/\1/p' "$requirements"
}

# The list stands beside what it brought, and is written last: another list, or half an installation, is made anew.
is_there() {
  [[ -f $installed/requirements.txt && $(<"$installed/requirements.txt") == "$(<"$requirements")" ]]
}

fetch() {
  local work
  work=$(mktemp -d "$tools/python.XXXXXX")
  say fetching "$(named) for Python"
  if ! timeout 300 "$(python_with_pip)" -m pip install --quiet --no-deps --require-hashes --only-binary :all: \
    --target "$work" --requirement "$requirements" >"$tools/pip.log" 2>&1 </dev/null; then
    rm -rf "$work"
    show_tail "$tools/pip.log"
    die "$(named) cannot be fetched" "see above; then try again"
  fi
  rm -f "$tools/pip.log"
  cat "$requirements" >"$work/requirements.txt"
  rm -rf "$installed"
  mv "$work" "$installed"
  say installed "$(named) in $installed"
}

if is_there; then
  say found "$(named) in $installed"
else
  python_with_pip >/dev/null || "$here/packages.sh" python3-pip
  mkdir -p "$tools"
  fetch
fi
