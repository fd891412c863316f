#!/usr/bin/env bash
# Puts what `cargo run --release -p larder-rig -- matrix` prints into docs/concepts/redis-faults.md.
# With a file as its argument, takes that as the output instead of running.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
page=docs/concepts/redis-faults.md
output=$(mktemp)
trap 'rm -f "$output" "$output.md"' EXIT
if [ $# -gt 0 ]; then cp "$1" "$output"; else cargo run --release -p larder-rig -- matrix >"$output"; fi
grep -q '^| server' "$output" || { echo "the output holds no table; $page is as it was" >&2; exit 1; }
awk -v output="$output" '
    /<!-- matrix: begin/ { print; print ""; while ((getline line < output) > 0) print line; print ""; skip = 1 }
    /<!-- matrix: end/ { skip = 0 }
    !skip { print }
' "$page" >"$output.md"
cat "$output.md" >"$page"
