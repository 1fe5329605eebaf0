# shellcheck shell=bash
#
# Runs a command as root, through sudo where the caller is somebody else. Needs say.sh.

as_root() {
  if ((EUID == 0)); then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo -- "$@"
  else
    die "this needs root: $*" "run it as root, or install sudo and try again"
  fi
}
