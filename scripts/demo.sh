#!/usr/bin/env bash
#
# The main job, shown: an example action over small repositories becomes a plan.
#
#   demo.sh          builds, starts `patchwave up` unless it runs, runs the example, shows the plan
#   demo.sh stop     stops that `patchwave up`
#
# All that the demo makes is in .demo, and nothing else is touched. What it ran stays up, so that the
# commands printed at the end can be tried.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib/say.sh
source "$here/lib/say.sh"
# shellcheck source=scripts/lib/root.sh
source "$here/lib/root.sh"
# shellcheck source=scripts/lib/process.sh
source "$here/lib/process.sh"

cd "$here/.."
demo=.demo
data=$demo/data
pidfile=$demo/up.pid
log=$demo/up.log
gateway=${PATCHWAVE_GATEWAY:-127.0.0.1:7300}
example=examples/house-rules.batch.yaml
patchwave=${CARGO_TARGET_DIR:-target}/debug/patchwave
patience_seconds=60

build() {
  say building "patchwave (the first build takes some minutes)"
  cargo build --package cli
}

up() {
  local pid
  if pid=$(live_pid "$pidfile" patchwave); then
    if [[ $(readlink "/proc/$pid/exe") == "$(realpath "$patchwave")" ]]; then
      say found "patchwave up (pid $pid, log in $log)"
      return
    fi
    say replacing "the running patchwave: it was built anew"
    stop
  fi
  mkdir -p "$demo"
  say starting "patchwave up (data in $data, log in $log)"
  local server
  server=$("$here/broker.sh" path)
  # Jobs with a network need root, and the example's have no use for one.
  local network=egress
  ((EUID == 0)) || network=none
  # In a session of its own, so that an interrupt of the demo leaves it running.
  setsid "$patchwave" up --data-dir "$data" --gateway "$gateway" --nats-server "$server" --network "$network" \
    >"$log" 2>&1 </dev/null &
  printf '%s\n' "$!" >"$pidfile"
  await "$!"
}

await() {
  local pid=$1 deadline=$((SECONDS + patience_seconds))
  until "$patchwave" execution list --data-dir "$data" >/dev/null 2>&1; do
    if ended "$pid" 0; then
      show_tail "$log"
      rm -f "$pidfile"
      die "patchwave up ended at once" "see above and $log; another address: make demo PATCHWAVE_GATEWAY=127.0.0.1:7301"
    fi
    if ((SECONDS >= deadline)); then
      show_tail "$log"
      die "patchwave up does not answer after $patience_seconds seconds" "see above and $log"
    fi
    sleep 0.1
  done
}

# newest KIND COMMAND...: the first id of a kind in what a command prints; listings begin with the newest.
newest() {
  local kind=$1 listing
  shift
  listing=$("$patchwave" "$@" --data-dir "$data")
  [[ $listing =~ ${kind}_[0-9A-Za-z]+ ]] || die "no $kind in the output of: patchwave $*" "look at $log"
  printf '%s\n' "${BASH_REMATCH[0]}"
}

show() {
  local execution plan
  execution=$(newest execution execution list)
  plan=$(newest plan execution show "$execution")
  printf '\nThe first change that %s proposes:\n\n' "$plan"
  "$patchwave" plan diff "$plan" --data-dir "$data" | awk '/^diff --git/ { n++ } n <= 1'
  cat <<TEXT

Patchwave runs on at http://$gateway. Try next:

  export PATH=$(dirname "$(realpath "$patchwave")"):\$PATH PATCHWAVE_DATA=$PWD/$data
  patchwave execution show $execution
  patchwave plan show $plan
  patchwave plan export $plan /tmp/patches
  patchwave run $PWD/$example --repo $PWD/$demo/repos/almanac

make stop ends it, make clean-demo also removes $demo.
TEXT
}

stop() {
  # Longer than a drain of small jobs takes, and than a container's grace period.
  stop_pid "$pidfile" patchwave 40 || say found "no patchwave up of the demo"
}

main() {
  build
  up
  "$here/demo-repositories.sh" "$demo/repos"
  printf '\n' >&2
  "$patchwave" run "$example" --repos-from "$demo/repos" --data-dir "$data"
  show
}

case ${1:-} in
  '') main ;;
  stop) stop ;;
  *) die "usage: demo.sh [stop]" ;;
esac
