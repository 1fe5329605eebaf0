# shellcheck shell=bash
#
# Which Python can fetch packages.

# Debian's own Python is asked too: that is where its pip goes, whichever python3 stands first on PATH.
python_with_pip() {
  local python
  for python in python3 /usr/bin/python3; do
    if "$python" -m pip --version >/dev/null 2>&1; then
      printf '%s\n' "$python"
      return
    fi
  done
  return 1
}
