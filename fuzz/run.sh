#!/bin/sh
# Builds the fuzz targets and runs each for a short time: fuzz/run.sh [SECONDS [TARGET...]]
#
# Needs the stable toolchain and a C++ compiler, nothing else: the coverage that steers libFuzzer comes from flags that
# stable rustc takes. Starts from corpus/, keeps what it finds in target/found/, and fails on the first input that
# breaks a property, printing where that is kept.
set -eu
cd "$(dirname "$0")"
seconds="${1:-12}"
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- envelope keys pattern rule targets

host="$(rustc -vV | sed -n 's/^host: //p')"
# Only for the target: with --target given, build scripts stay as they are. What the caller adds comes last.
RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing ${RUSTFLAGS:-}"
export RUSTFLAGS
cargo build --release --locked --features libfuzzer --target "$host" --target-dir target/libfuzzer --bins

for target; do
    mkdir -p "target/found/$target" "target/artifacts/$target"
    echo "== $target: $seconds s"
    if ! "target/libfuzzer/$host/release/$target" \
        -max_total_time="$seconds" -max_len=1024 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=0 \
        -artifact_prefix="target/artifacts/$target/" "target/found/$target" "corpus/$target" \
        2> "target/$target.log"; then
        cat "target/$target.log"
        echo "FAILED: $target; the input is in fuzz/target/artifacts/$target/, its path stands above." >&2
        echo "Once more: fuzz/target/libfuzzer/$host/release/$target fuzz/target/artifacts/$target/NAME" >&2
        exit 1
    fi
    grep -E 'number_of_executed_units|new_units_added|peak_rss' "target/$target.log" || true
done
