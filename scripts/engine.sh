#!/usr/bin/env bash
#
# Docker Engine: uses the one that answers, else starts one, and stops only what it started.
#
#   engine.sh up         an engine answers to this user when it returns
#   engine.sh down       stops the engine that `up` started by hand, if any
#   engine.sh version    prints the version of the engine that answers, or fails
#
# DOCKER_HOST says which engine, as everywhere. A socket where nothing listens is one to start an
# engine on; a remote engine that does not answer is an error. DOCKERD names another program to
# start, DOCKERD_FLAGS are passed to it.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib/say.sh
source "$here/lib/say.sh"
# shellcheck source=scripts/lib/root.sh
source "$here/lib/root.sh"
# shellcheck source=scripts/lib/process.sh
source "$here/lib/process.sh"

default_host=unix:///var/run/docker.sock
export DOCKER_HOST=${DOCKER_HOST:-$default_host}
socket=${DOCKER_HOST#unix://}
state=${PATCHWAVE_TOOLS:-$(dirname "$here")/.tools}/docker
pidfile=$state/dockerd.pid
log=$state/dockerd.log
# A first start on a slow disk takes some seconds; what takes a minute has failed without saying so.
patience_seconds=60
# Not on an ordinary user's PATH in Debian, and dockerd looks for iptables there.
PATH=$PATH:/usr/sbin:/sbin

# version [as_root]: the version of the engine that answers, to this user or to root.
version() {
  "$@" timeout 10 docker --host "$DOCKER_HOST" version --format '{{.Server.Version}}' 2>/dev/null
}

up() {
  local found verb=found
  command -v docker >/dev/null || die "the docker command is missing" "run 'make setup', or install Debian's docker.io"
  if found=$(version); then
    say found "Docker Engine $found at $DOCKER_HOST"
    return
  fi
  [[ $DOCKER_HOST == unix://* ]] \
    || die "no Docker Engine answers at DOCKER_HOST=$DOCKER_HOST" "start that engine, or unset DOCKER_HOST to use one on this machine"
  if ! closed_to_user; then
    start
    verb=started
  fi
  if closed_to_user; then
    open_to_user
  fi
  found=$(version) || die "the Docker Engine at $DOCKER_HOST stopped answering" "look at $log"
  say "$verb" "Docker Engine $found at $DOCKER_HOST"
}

# Answers root, but refuses this user.
closed_to_user() {
  [[ -S $socket && ! -w $socket ]] && version as_root >/dev/null
}

# An access list entry opens the socket at once and until the engine's next start; membership of
# the docker group would be for ever and would need a new login.
open_to_user() {
  command -v setfacl >/dev/null || "$here/packages.sh" acl
  as_root setfacl --modify "user:$(id -un):rw" "$socket"
  say opened "$socket to $(id -un), until the engine starts again"
}

start() {
  if [[ $DOCKER_HOST == "$default_host" && -d /run/systemd/system ]]; then
    say starting "docker.service (systemctl)"
    as_root systemctl start docker.service \
      || die "systemd could not start docker.service" "see: journalctl -u docker.service"
    await running_service "journalctl -u docker.service"
  elif [[ $DOCKER_HOST == "$default_host" ]] && live_pid /var/run/docker.pid dockerd >/dev/null; then
    say waiting "for the Docker Engine that is starting"
    await running_foreign "the engine's own log"
  else
    spawn
    await running_own "$log"
  fi
}

running_service() { systemctl is-active --quiet docker.service; }
running_foreign() { live_pid /var/run/docker.pid dockerd >/dev/null; }
# By its pid alone: for an instant it still has the name of the shell that becomes dockerd.
running_own() { [[ ! -s $pidfile ]] || ! ended "$(<"$pidfile")" 0; }

spawn() {
  local program
  program=$(command -v "${DOCKERD:-dockerd}") || die "${DOCKERD:-dockerd} is missing" "run 'make setup', or install Debian's docker.io"
  mkdir -p "$state"
  rm -f "$pidfile"
  local flags=()
  # shellcheck disable=SC2206  # a list of options is what it is
  flags=(${DOCKERD_FLAGS:-})
  # Root keeps the group that the engine gives its socket; anybody else could not open it then.
  ((EUID == 0)) || flags+=(--group "$(id -g)")
  say starting "dockerd (log in $log)"
  # In a session of its own, an interrupt or the end of the terminal does not take the engine along.
  # shellcheck disable=SC2016  # expanded by the inner shell, whose pid becomes dockerd's
  as_root setsid --fork sh -c 'echo $$ >"$0"; exec "$@"' "$pidfile" \
    "$program" --host "$DOCKER_HOST" "${flags[@]}" >"$log" 2>&1 </dev/null 9>&-
}

# await STILL_RUNNING WHERE: until the engine answers root; ends the script if it died or takes too long.
await() {
  local still_running=$1 where=$2 deadline=$((SECONDS + patience_seconds))
  until version as_root >/dev/null; do
    if ! "$still_running"; then
      give_up "the Docker Engine did not start" "$where"
    elif ((SECONDS >= deadline)); then
      give_up "the Docker Engine does not answer after $patience_seconds seconds" "$where"
    fi
    sleep 0.2
  done
}

give_up() {
  local what=$1 where=$2
  show_tail "$log"
  rm -f "$pidfile"
  die "$what (see $where)" "$(advice)"
}

# The failures that machines without a full kernel or with two kinds of iptables are known for.
advice() {
  if grep -qi 'iptables' "$log" 2>/dev/null; then
    printf '%s' "its iptables does not fit this kernel: try 'update-alternatives --set iptables /usr/sbin/iptables-legacy' " \
      "(or -nft), or do without a network for containers: DOCKERD_FLAGS='--bridge=none --iptables=false'"
  elif grep -qi 'bridge' "$log" 2>/dev/null; then
    printf '%s' "the kernel makes no bridge: do without a network for containers, DOCKERD_FLAGS='--bridge=none --iptables=false'"
  elif grep -qi 'cgroup' "$log" 2>/dev/null; then
    printf '%s' "no control groups are mounted: install Debian's cgroupfs-mount and run 'cgroupfs-mount' as root"
  else
    printf '%s' "mend what the log names, or set DOCKER_HOST to an engine that runs"
  fi
}

down() {
  stop_pid "$pidfile" dockerd "${STOP_PATIENCE_SECONDS:-30}" || say found "no Docker Engine that was started from here"
}

case ${1:-} in
  up | down | version) "$1" ;;
  *) die "usage: engine.sh up|down|version" ;;
esac
