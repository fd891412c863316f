#!/usr/bin/env bash
# Puts what `cargo run --release -p booking` prints into the README. Run it on a machine that does nothing else.
# With a file as its argument, takes that as the output instead of running.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
output=$(mktemp)
trap 'rm -f "$output" "$output.md"' EXIT
if [ $# -gt 0 ]; then cp "$1" "$output"; else cargo run --release -p booking >"$output"; fi
grep -q 'Larder' "$output" || { echo "the output holds no table; README.md is as it was" >&2; exit 1; }
awk -v output="$output" '
    /<!-- booking: begin/ { print; print "```text"; while ((getline line < output) > 0) print line; print "```"; skip = 1 }
    /<!-- booking: end/ { skip = 0 }
    !skip { print }
' README.md >"$output.md"
cat "$output.md" >README.md
