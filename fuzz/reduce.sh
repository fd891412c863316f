#!/bin/sh
# Takes what fuzz/run.sh found into the corpus, reduced to the smallest inputs that reach something the seeds do not:
# at most so many for each target: fuzz/reduce.sh [COUNT]
set -eu
cd "$(dirname "$0")"
count="${1:-24}"
host="$(rustc -vV | sed -n 's/^host: //p')"
for target in envelope keys pattern rule targets; do
    merged="target/merged/$target"
    rm -rf "$merged" "target/seeds/$target"
    mkdir -p "$merged" "target/seeds/$target" "target/found/$target"
    find "corpus/$target" -type f ! -name 'seed-*' -exec mv {} "target/found/$target/" \;
    cp "corpus/$target"/seed-* "target/seeds/$target/"
    # The seeds first: they are kept as they are, and what they reach counts as reached.
    cp "target/seeds/$target"/seed-* "$merged/"
    "target/libfuzzer/$host/release/$target" -merge=1 -max_len=256 -verbosity=0 "$merged" "target/found/$target" 2> "target/$target.log"
    # Of what is left, those that are short: they are read by people.
    find "$merged" -type f ! -name 'seed-*' -printf '%s %p\n' | sort -n | head -n "$count" | while read -r _ path; do
        cp "$path" "corpus/$target/"
    done
    echo "$target: $(ls "corpus/$target" | wc -l) inputs"
done
