#!/usr/bin/env bash
#
# The fuzz target of definitions and templates: texts that nobody thought of, led by the code that they reach.
#
#   fuzz.sh [SECONDS]          looks for a text that breaks a property; 60 seconds
#   fuzz.sh FILE               runs a text that did again
#
# libFuzzer needs marks in the code and no more. The stable compiler makes them when it is asked with LLVM's own options,
# which are those that cargo-fuzz passes; without a sanitizer, because there is no unsafe code to watch.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib/say.sh
source "$here/lib/say.sh"

root=$here/..
target=${CARGO_TARGET_DIR:-$root/target}/fuzz
corpus=$target/corpus
host=$(rustc --version --verbose | sed -n 's/^host: //p')
command -v g++ >/dev/null || "$here/packages.sh" g++

marks="-Cpasses=sancov-module"
for option in level=4 inline-8bit-counters pc-table trace-compares; do
  marks+=" -Cllvm-args=-sanitizer-coverage-$option"
done
# With a target, what runs while it is built is left without marks.
RUSTFLAGS="$marks --cfg fuzzing" CARGO_TARGET_DIR=$target CARGO_INCREMENTAL=0 \
  cargo build --release --manifest-path "$root/spec/fuzz/Cargo.toml" --target "$host"
program=$target/$host/release/any_text

if [[ -f ${1:-} ]]; then
  exec "$program" "$1"
fi
# What is known to be right is where the search begins.
mkdir -p "$corpus" "$target/found"
find "$root/spec/tests" "$root/examples" -name '*.yaml' -size -64k -exec cp -n -t "$corpus" {} +
"$program" "$corpus" -max_total_time="${1:-60}" -timeout=5 -rss_limit_mb=1024 -max_len=4096 \
  -artifact_prefix="$target/found/" -print_final_stats=1 -verbosity=1
