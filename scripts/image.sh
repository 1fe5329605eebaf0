#!/usr/bin/env bash
#
# The image that the example's steps run in: a shell and the usual small tools.
#
# Alpine under a local name where a registry can be reached, else Debian's static busybox and
# nothing more. The example names only the local tag, so it reads the same on both.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib/say.sh
source "$here/lib/say.sh"

export DOCKER_HOST=${DOCKER_HOST:-unix:///var/run/docker.sock}
tag=${PATCHWAVE_EXAMPLE_IMAGE:-patchwave-example:busybox}
source=alpine:3
busybox=${PATCHWAVE_BUSYBOX:-/bin/busybox}

pull() {
  # A registry that is blocked rather than absent lets a pull hang; twenty seconds is enough for 4 MB.
  timeout 20 docker pull --quiet "$source" >/dev/null 2>&1 && docker tag "$source" "$tag"
}

# A root file system of one program, and a link to it for each of its tools.
fill() {
  local root=$1 tool
  mkdir -p "$root"/{bin,etc,tmp,root,sbin,usr/bin,usr/sbin}
  cp "$busybox" "$root/bin/busybox"
  chmod 755 "$root/bin/busybox"
  "$busybox" --list-full | while read -r tool; do
    [[ $tool != */* || $tool == bin/busybox ]] || ln -sf /bin/busybox "$root/$tool"
  done
  printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/tmp:/bin/false\n' >"$root/etc/passwd"
  printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
  chmod 1777 "$root/tmp"
  chmod 700 "$root/root"
}

import() {
  local work
  [[ -x $busybox ]] || die "$busybox is missing" "run 'make setup', or install Debian's busybox-static"
  work=$(mktemp -d)
  # shellcheck disable=SC2064  # the folder of this very call
  trap "rm -rf '$work'" EXIT
  fill "$work/root"
  tar --create --directory "$work/root" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner . \
    | docker import --change 'ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin' --change 'CMD ["/bin/sh"]' - "$tag" >/dev/null
}

if docker image inspect "$tag" >/dev/null 2>&1; then
  say found "image $tag"
elif pull; then
  say pulled "$source as $tag"
else
  import
  say imported "image $tag from $busybox, since $source cannot be pulled"
fi
