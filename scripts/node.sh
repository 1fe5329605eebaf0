#!/usr/bin/env bash
#
# npm packages that tests need, pinned by checksum, in the project's own folder.
#
#   node.sh              finds or fetches, and says which
#
# Tests run a program beside what this brought, so they need no network.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib/say.sh
source "$here/lib/say.sh"

root=$(dirname "$here")
tools=${PATCHWAVE_TOOLS:-$root/.tools}
oldest=18

# What a list of packages brings, and the folder with the list.
lists=("node=$root/examples/subscribers/javascript" "node-provider=$root/services/gateway/tests/provider")
[[ -z ${PATCHWAVE_NODE_EXAMPLE:-} ]] || lists=("node=$PATCHWAVE_NODE_EXAMPLE")

# Debian 12's is the oldest on which they are known to run.
new_enough() {
  local version
  version=$(node --version 2>/dev/null) || return 1
  version=${version#v}
  ((${version%%.*} >= oldest))
}

# The list stands beside what it brought, which is moved to its place once it is whole: another list is made anew.
is_there() {
  local list=$1 installed=$2
  [[ -f $installed/package-lock.json && $(<"$installed/package-lock.json") == "$(<"$list/package-lock.json")" ]]
}

# What runs at installing is a package's own program: none of these needs it.
fetch() {
  local list=$1 installed=$2 work
  work=$(mktemp -d "$tools/node.XXXXXX")
  say fetching "npm packages of ${list#"$root"/}"
  cp "$list/package.json" "$list/package-lock.json" "$work"
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
for entry in "${lists[@]}"; do
  folder=${entry#*=}
  installed=$tools/${entry%%=*}
  if is_there "$folder" "$installed"; then
    say found "node $(node --version), npm packages in $installed"
  else
    command -v npm >/dev/null || "$here/packages.sh" npm
    mkdir -p "$tools"
    fetch "$folder" "$installed"
  fi
done
