#!/usr/bin/env bash
# Runs fuzz targets with a stable toolchain, each for some seconds, and ends with 1 when one finds something.
#
#   fuzz/run.sh [SECONDS] [TARGET...]     default: 60 seconds of each
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-60}
targets=("${@:2}")
[ "${#targets[@]}" -gt 0 ] || targets=(authorization token key_set scopes htpasswd)
RUSTC_WRAPPER=$PWD/instrument.sh cargo build --bins
for target in "${targets[@]}"; do
    mkdir -p "corpus/$target" "artifacts/$target"
    printf '== %s\n' "$target"
    "${CARGO_TARGET_DIR:-target}/debug/$target" -max_total_time="$seconds" -max_len=8192 -timeout=10 -print_final_stats=1 \
        -verbosity=0 -artifact_prefix="artifacts/$target/" "corpus/$target"
done
