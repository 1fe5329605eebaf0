#!/usr/bin/env bash
#
# The npm packages of the example that follows over GraphQL, pinned by checksum, in the project's own folder.
#
#   node.sh              finds or fetches, and says which
#
# Tests run the example beside what this brought, so they need no network. A person runs npm in the example's folder.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib/say.sh
source "$here/lib/say.sh"

tools=${PATCHWAVE_TOOLS:-$(dirname "$here")/.tools}
example=${PATCHWAVE_NODE_EXAMPLE:-$(dirname "$here")/examples/subscribers/javascript}
installed=$tools/node
oldest=18

# Debian 12's is the oldest on which the example is known to run.
new_enough() {
  local version
  version=$(node --version 2>/dev/null) || return 1
  version=${version#v}
  ((${version%%.*} >= oldest))
}

# The list stands beside what it brought, which is moved to its place once it is whole: another list is made anew.
is_there() {
  [[ -f $installed/package-lock.json && $(<"$installed/package-lock.json") == "$(<"$example/package-lock.json")" ]]
}

# What runs at installing is a package's own program: none of these needs it.
fetch() {
  local work
  work=$(mktemp -d "$tools/node.XXXXXX")
  say fetching "npm packages of $(basename "$example")"
  cp "$example/package.json" "$example/package-lock.json" "$work"
  if ! (cd "$work" && timeout 300 npm ci --ignore-scripts --omit=optional --no-audit --no-fund >"$tools/npm.log" 2>&1 </dev/null); then
    rm -rf "$work"
    show_tail "$tools/npm.log"
    die "the npm packages cannot be fetched" "see above; then try again"
  fi
  rm -f "$tools/npm.log"
  rm -rf "$installed"
  mv "$work" "$installed"
  say installed "npm packages in $installed"
}

new_enough || "$here/packages.sh" nodejs
new_enough || die "node $(node --version) is too old: $oldest or newer is needed" "install a newer one, or take the old one off PATH"
if is_there; then
  say found "node $(node --version), npm packages in $installed"
else
  command -v npm >/dev/null || "$here/packages.sh" npm
  mkdir -p "$tools"
  fetch
fi
