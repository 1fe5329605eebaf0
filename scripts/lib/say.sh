# shellcheck shell=bash
#
# How the scripts speak: one line for each thing found or done.
#
# Lines go to stderr, so that a script's stdout is its result and nothing else.

# Prints what happened to what, e.g. `say found "git 2.39.5"`.
say() {
  printf '%-10s %s\n' "$1" "$2" >&2
}

# Ends the script with what went wrong and what to do about it.
die() {
  printf 'error: %s\n' "$1" >&2
  if (($# > 1)); then
    printf '  hint: %s\n' "$2" >&2
  fi
  exit 1
}

# Shows the end of a log that explains a failure; nothing if there is no log.
show_tail() {
  local log=$1
  [[ -s $log ]] || return 0
  printf -- '--- the last lines of %s\n' "$log" >&2
  tail -n 15 "$log" >&2
  printf -- '---\n' >&2
}
