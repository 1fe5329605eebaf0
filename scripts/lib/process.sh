# shellcheck shell=bash
#
# Background processes remembered by a pid file: is it still the one, and stop it.
#
# A pid alone proves nothing (the kernel hands numbers out again), so every check also asks
# whether the process still has the name that it was started under. Needs say.sh and root.sh.

# Prints the pid in FILE if that process lives and is called NAME.
live_pid() {
  local file=$1 name=$2 pid comm
  pid=$(cat "$file" 2>/dev/null) || return 1
  [[ $pid =~ ^[0-9]+$ ]] || return 1
  comm=$(cat "/proc/$pid/comm" 2>/dev/null) || return 1
  [[ $comm == "$name" ]] || return 1
  printf '%s\n' "$pid"
}

# Asks the process of a pid file to end and waits for SECONDS at most; kills it after that.
stop_pid() {
  local file=$1 name=$2 seconds=$3 pid
  if ! pid=$(live_pid "$file" "$name"); then
    rm -f "$file"
    return 1
  fi
  signal TERM "$pid"
  if ! ended "$pid" "$seconds"; then
    say killing "$name (pid $pid): it did not end within $seconds seconds"
    signal KILL "$pid"
    ended "$pid" 5 || die "$name (pid $pid) cannot be ended" "look at it with: ps -p $pid"
  fi
  rm -f "$file"
  say stopped "$name (pid $pid)"
}

# Root only where it must be: a process of one's own needs no password. The shell's own kill, since
# the program of that name is not on every machine.
signal() {
  local name=$1 pid=$2
  # shellcheck disable=SC2016  # expanded by the inner shell
  local send=(sh -c 'kill -s "$0" "$1"' "$name" "$pid")
  if [[ -O /proc/$pid ]]; then
    "${send[@]}" || true
  else
    as_root "${send[@]}" || true
  fi
}

# ended PID SECONDS: whether a process is gone within that time; one that only waits to be collected counts as gone.
ended() {
  local pid=$1 deadline=$((SECONDS + $2))
  until [[ ! -d /proc/$pid || $(awk '/^State:/ { print $2 }' "/proc/$pid/status" 2>/dev/null) == Z ]]; do
    ((SECONDS < deadline)) || return 1
    sleep 0.1
  done
}
