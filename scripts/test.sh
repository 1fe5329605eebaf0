#!/usr/bin/env bash
#
# The tests, as a person and as the gate run them.
#
#   test.sh all     formats, lints, tests of the set-up, and every test but the long ones
#   test.sh soak    the long tests, which are marked as ignored, and the fuzz target
#
# Quick checks come first. The closing line adds up what cargo's test programs reported one by one,
# and a run in which no test ran has failed.
set -euo pipefail

# A gate builds everything once and debugs nothing: marks for the next build and for a debugger would only cost time.
# What a test panics with says its line all the same.
[[ -z ${CI:-} ]] || export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=none

# Most tests wait for servers and containers, not for a processor.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * $(nproc)))}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib/say.sh
source "$here/lib/say.sh"

cd "$here/.."
log=${CARGO_TARGET_DIR:-target}/test.log
# Above what a cold build and all tests take on two cores, below what a gate would wait for.
limit_minutes=${TEST_LIMIT_MINUTES:-50}

# Without a terminal nobody can interrupt a run that hangs, so it is bounded as a whole.
bound() {
  local status=0
  BOUNDED=1 timeout --kill-after=30 "${limit_minutes}m" "$0" "$@" || status=$?
  ((status != 124 && status != 137)) || die "the tests did not end within $limit_minutes minutes" "raise TEST_LIMIT_MINUTES if the machine is slow"
  exit "$status"
}

# timed NAME COMMAND...: says what starts, and how long it took.
timed() {
  local name=$1 start=$SECONDS
  shift
  say running "$name"
  "$@" || die "$name failed"
  say passed "$name ($((SECONDS - start)) s)"
}

need_component() {
  cargo "$1" --version >/dev/null 2>&1 || die "cargo $1 is missing" "rustup component add $2"
}

# The scripts run as root on other people's machines: a word split by mistake is no small matter.
shellcheck_all() {
  command -v shellcheck >/dev/null || "$here/packages.sh" shellcheck
  shellcheck --external-sources --source-path="$here" "$here"/*.sh "$here"/lib/*.sh .ci/run
}

# Runs cargo's tests and ends the script with their sum, whether they passed or not.
cargo_test() {
  local status=0
  mkdir -p "$(dirname "$log")"
  say running "cargo test"
  cargo test --workspace --no-fail-fast "$@" 2>&1 | tee "$log" || status=$?
  sum "$log" || status=1
  exit "$status"
}

sum() {
  awk '
    /^test result: / {
      for (i = 2; i <= NF; i++) {
        if ($i == "passed;") passed += $(i - 1)
        if ($i == "failed;") failed += $(i - 1)
        if ($i == "ignored;") ignored += $(i - 1)
      }
    }
    END {
      printf "%d passed, %d failed, %d skipped\n", passed, failed, ignored
      exit !(passed > 0 && failed == 0)
    }' "$1"
}

all() {
  need_component fmt rustfmt
  need_component clippy clippy
  timed "cargo fmt --check" cargo fmt --all --check
  timed "shellcheck" shellcheck_all
  timed "tests of the set-up" "$here/tests.sh"
  timed "cargo clippy" cargo clippy --workspace --all-targets -- -D warnings
  timed "cargo build of the tests" cargo test --workspace --no-run
  cargo_test
}

soak() {
  timed "the fuzz target" "$here/fuzz.sh" 120
  cargo_test -- --ignored
}

[[ ${1:-} == all || ${1:-} == soak ]] || die "usage: test.sh all|soak"
if [[ ! -t 0 && -z ${BOUNDED:-} ]]; then
  bound "$@"
fi
# Tests kill and restart servers of their own, so it has to be a program and never a broker in use.
NATS_SERVER=$("$here/broker.sh" path)
export NATS_SERVER
unset NATS_URL
"$1"
