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
  local deadline=$((SECONDS + seconds))
  while [[ -d /proc/$pid ]]; do
    if ((SECONDS >= deadline)); then
      say killing "$name (pid $pid): it did not end within $seconds seconds"
      signal KILL "$pid"
      deadline=$((SECONDS + 5))
    fi
    sleep 0.1
  done
  rm -f "$file"
  say stopped "$name (pid $pid)"
}

# Root only where it must be: a process of one's own needs no password.
signal() {
  local name=$1 pid=$2
  if [[ -O /proc/$pid ]]; then
    kill -s "$name" "$pid" 2>/dev/null || true
  else
    as_root kill -s "$name" "$pid" 2>/dev/null || true
  fi
}
