#!/usr/bin/env bash
#
# Makes the demo's repositories in a folder: five that the example changes and one that it does not.
#
# Authors, dates and contents are fixed, so the commits are the same on every machine. A repository
# that is already there is left alone.
set -euo pipefail

target=${1:?usage: demo-repositories.sh FOLDER}

# The user's own settings (signing, hooks, other line ends) would make other commits.
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME="Ada Example" GIT_AUTHOR_EMAIL=ada@example.com GIT_AUTHOR_DATE=2024-05-01T12:00:00Z
export GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL GIT_COMMITTER_DATE=$GIT_AUTHOR_DATE

# file PATH: what comes in on stdin, in the repository being made.
file() {
  mkdir -p "$(dirname "$work/$1")"
  cat >"$work/$1"
}

commit() {
  git -C "$work" init --quiet --initial-branch=main
  git -C "$work" add --all
  git -C "$work" commit --quiet --message="$1"
}

almanac() {
  file README.md <<<'# almanac

Sunrise and sunset for a place, from http://example.com/ephemeris.'
  file almanac.py <<<'def daylight(sunrise, sunset):
    return sunset - sunrise'
  commit "Compute daylight"
}

beacon() {
  file README.md <<<'# beacon

Rings when a page stops answering. Documented at http://example.com/beacon.'
  file docs/operations.md <<<'# Operations

- Status: http://status.example.com
- Runbook: http://wiki.example.com/beacon'
  # shellcheck disable=SC2016  # it is the script's own argument
  file bin/beacon <<<'#!/bin/sh
exec wget -q -O /dev/null "$1"'
  chmod +x "$work/bin/beacon"
  commit "Ring once"
}

cartographer() {
  file README.md <<<'# cartographer

Draws maps. It links to nothing.'
  file src/main.c <<<'int main(void) { return 0; }'
  commit "Draw an empty map"
}

dispatch() {
  file README.md <<<'# dispatch

See [the protocol](http://example.com/dispatch).'
  file .editorconfig <<<'root = true'
  file package.json <<<'{ "name": "dispatch", "version": "1.0.0" }'
  commit "Dispatch in order"
}

estuary() {
  file guide/one.md <<<'Start at http://example.com/one.'
  file guide/two.md <<<'Go on to http://example.com/two, then http://example.com/three.'
  file guide/three.md <<<'The end: https://example.com/end.'
  commit "Write the guide"
}

# Follows both rules already: its job succeeds and has nothing to propose.
foundry() {
  file README.md <<<'# foundry

Casts parts: https://example.com/foundry.'
  file .editorconfig <<<'root = true'
  commit "Cast the first part"
}

mkdir -p "$target"
for name in almanac beacon cartographer dispatch estuary foundry; do
  [[ ! -e $target/$name ]] || continue
  # Made beside the folder and moved in whole: an interrupted run leaves no half repository to run over.
  work=$(mktemp -d "$target.XXXXXX")
  "$name"
  chmod 755 "$work"
  mv "$work" "$target/$name"
  printf 'made       repository %s\n' "$target/$name" >&2
done
