#!/usr/bin/env bash
#
# Debian packages: finds out what the machine lacks and installs only that.
#
#   packages.sh             all that building, running and testing Patchwave needs
#   packages.sh NAME...     these packages, for the scripts that find a need of their own
#
# What counts is whether the thing works, not which package it came from: a git built by hand or
# Docker's own engine is as good. apt-get is not run at all when nothing is missing.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib/say.sh
source "$here/lib/say.sh"
# shellcheck source=scripts/lib/root.sh
source "$here/lib/root.sh"

tools=${PATCHWAVE_TOOLS:-$(dirname "$here")/.tools}
busybox=${PATCHWAVE_BUSYBOX:-/bin/busybox}
postgres_dir=${PATCHWAVE_POSTGRES:-/usr/lib/postgresql}
missing=()
# Where Debian has dockerd, which is not on an ordinary user's PATH.
PATH=$PATH:/usr/sbin:/sbin

# need WHAT CHECK PACKAGE...: CHECK prints a version, or fails if WHAT must be installed.
need() {
  local what=$1 check=$2 version
  shift 2
  if version=$("$check" 2>/dev/null); then
    say found "$what${version:+ $version}"
  else
    missing+=("$@")
  fi
}

git_version() {
  git --version | awk '{ print $3 }'
}

# Compiling one header tells a compiler apart from a compiler without the C library's headers.
compiler_version() {
  printf '#include <stdio.h>\n' | cc -E -x c - >/dev/null && cc -dumpfullversion
}

# An engine that answers needs no dockerd here: it may be another machine's, or another package's.
docker_version() {
  { command -v dockerd || "$here/engine.sh" version; } >/dev/null \
    && docker --version | awk '{ sub(/,$/, "", $3); print $3 }'
}

# The example's image holds nothing but this file: it must not need the host's libraries.
static_busybox() {
  [[ -x $busybox ]] && ! ldd "$busybox"
}

# Debian keeps the server's programs off PATH, one folder a major version.
postgres_version() {
  local found=("$postgres_dir"/*/bin/postgres)
  [[ -x ${found[-1]} ]] || return 1
  "${found[-1]}" --version | awk '{ print $3 }'
}

registry_version() {
  docker-registry --version | awk '{ print $3 }'
}

certificates() {
  [[ -s ${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt} ]]
}

# A kernel with AppArmor makes the engine load a profile for each container, with this program.
apparmor_parser_if_used() {
  [[ $(cat /sys/module/apparmor/parameters/enabled 2>/dev/null) != Y ]] || command -v apparmor_parser >/dev/null
}

look_for_all() {
  need git git_version git
  need "C compiler" compiler_version gcc libc6-dev
  need "certificate authorities" certificates ca-certificates
  need docker docker_version docker.io
  apparmor_parser_if_used || missing+=(apparmor)
  need "static busybox" static_busybox busybox-static
  need "PostgreSQL server" postgres_version postgresql
  need "image registry" registry_version docker-registry
}

install() {
  local log=$tools/apt.log
  command -v apt-get >/dev/null \
    || die "missing: $*" "this machine has no apt-get: install these with its own package manager"
  mkdir -p "$tools"
  say installing "$* (apt-get, log in $log)"
  # A third-party list that cannot be reached must not stop what Debian's own lists can install.
  apt update >"$log" 2>&1 || say warning "apt-get update reported errors, see $log"
  if ! apt install -y --no-install-recommends "$@" >>"$log" 2>&1; then
    show_tail "$log"
    die "apt-get could not install $*" "see above; then try again"
  fi
  # Tests start registries of their own; the package's would serve everybody on port 5000.
  if [[ " $* " == *" docker-registry "* ]] && command -v systemctl >/dev/null; then
    as_root systemctl disable --now docker-registry >>"$log" 2>&1 || true
  fi
  say installed "$*"
}

# The lock is waited for: a new machine may be running its unattended upgrades.
apt() {
  local command=$1
  shift
  as_root env DEBIAN_FRONTEND=noninteractive apt-get "$command" -q \
    -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" </dev/null
}

if (($# > 0)); then
  missing=("$@")
else
  look_for_all
fi
if ((${#missing[@]} > 0)); then
  install "${missing[@]}"
fi
