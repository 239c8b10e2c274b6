#!/usr/bin/env bash
# Measures garbage-collect beside that of CNCF distribution 3, on copies of one store that `load generate` writes: time, peak
# memory, and on Garage the number of requests. Prints a table with ratios.
#
#   benches/gc.sh [--quick] [--memory BLOBS] [--without-bucket]
#
#   --quick            2,000 images instead of 30,000, and 100,000 blobs for memory instead of 1,000,000
#   --memory BLOBS     so many blobs where memory is measured; 0 leaves it out
#   --without-bucket   leaves Garage out
#   BERTH_BIN, LOAD_BIN, PEERS_BIN, BENCH_DIR as for compare.sh. 100,000 blobs take 3 GB of BENCH_DIR for each copy, 1,000,000
#   blobs 8 GB.
#
# Neither is given the time in which running pushes may object (--offline): distribution does not know of it. Caches of the
# kernel are warm: each dry run is done three times, and the median counts. Both must leave the same content.
set -euo pipefail
export TMPDIR=${BENCH_DIR:-${TMPDIR:-/tmp}}
# shellcheck source=conformance/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../conformance/lib.sh"
# shellcheck source=conformance/stores.sh
source "$root/conformance/stores.sh"

images=30000 blobs=100000 memory=1000000 bucket=yes
while [ "$#" -gt 0 ]; do
    case $1 in
        --quick) images=2000 blobs=6700 memory=100000 ;;
        --memory) memory=${2:?--memory needs a number}; shift ;;
        --without-bucket) bucket= ;;
        *) die "unknown argument $1; usage: benches/gc.sh [--quick] [--memory BLOBS] [--without-bucket]" ;;
    esac
    shift
done
need_berth
need_load
command -v time > /dev/null || [ -x /usr/bin/time ] || die "GNU time is not installed: apt-get install time"
distribution=$(distribution_program 3)
[ -x "$distribution" ] || die "distribution is not installed; conformance/install.sh distribution installs it"
declare -A figure

# timed COMMAND...: runs it without its output; sets $seconds_taken and $peak (MiB).
timed() {
    /usr/bin/time -f '%e %M' -o "$work/time" "$@" > "$work/out" 2> "$work/err" || { tail -n 5 "$work/err" >&2; die "failed: $*"; }
    read -r seconds_taken peak < <(tail -n 1 "$work/time")
    peak=$((peak / 1024))
}

# collects berth|distribution3 DATA [ARGUMENTS...]: one collection of a directory.
collects() {
    local server=$1 data=$2
    shift 2
    case $server in
        berth)
            timed env REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY="$data" "$BERTH_BIN" garbage-collect --grace 0s --offline \
                --accept-large-removal "$@" "$root/conformance/config-filesystem.yml"
            ;;
        distribution3)
            timed env OTEL_TRACES_EXPORTER=none REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY="$data" "$distribution" \
                garbage-collect "$@" "$root/conformance/config-distribution.yml"
            ;;
    esac
}

content() { find "$1/docker/registry/v2/blobs" -name data | wc -l; }

for server in berth distribution3; do
    title "$server on disk" >&2
    data=$work/$server
    "$LOAD_BIN" generate --root "$data" --images "$images" --blobs "$blobs" >&2
    # Or whoever comes first would meet the writing back of it.
    sync
    collects "$server" "$data" --dry-run
    times=()
    for _ in 1 2 3; do
        collects "$server" "$data" --dry-run
        times+=("$seconds_taken")
    done
    figure[$server/dry]=$(printf '%s\n' "${times[@]}" | sort -n | sed -n 2p)
    figure[$server/memory]=$peak
    collects "$server" "$data"
    figure[$server/real]=$seconds_taken
    figure[$server/left]=$(content "$data")
    rm -rf "$data"
done
[ "${figure[berth/left]}" = "${figure[distribution3/left]}" ] \
    || die "${figure[berth/left]} blobs are left by Berth, ${figure[distribution3/left]} by distribution"

if [ "$memory" -gt 0 ]; then
    title "Berth with $memory blobs" >&2
    data=$work/large
    "$LOAD_BIN" generate --root "$data" --images $((memory / 100)) --blobs "$memory" --without-links >&2
    collects berth "$data" --dry-run
    figure[large/dry]=$seconds_taken figure[large/dry-memory]=$peak
    collects berth "$data"
    figure[large/real]=$seconds_taken figure[large/real-memory]=$peak
    rm -rf "$data"
fi

# requests: how many the proxy has passed on since it was asked last.
requests() {
    local now
    now=$(curl -s "$ENDPOINT/-/counts" | jq .requests)
    counted=$((now - ${before:-0}))
    before=$now
}

if [ -n "$bucket" ]; then
    need_peers
    for server in berth distribution3; do
        title "$server on Garage" >&2
        start_garage
        garage_process=$store_process garage=$ENDPOINT
        write_config s3 "$work/direct.yml"
        # distribution keeps neither uploads nor garbage of its own that the other would not have: Berth pushes for both.
        start_berth "$work/direct.yml"
        "$LOAD_BIN" push-image --address "$address" --style put --layers 1 --size 4096 --count 670 --list > "$work/pushed"
        grep '^bench/' "$work/pushed" | awk 'NR % 10 == 0 { print $1, $3 }' | while read -r repository digest; do
            curl -sSf -X DELETE "http://$address/v2/$repository/manifests/$digest"
        done
        stop "$process"
        start_faults "proxy-$server" "$garage"
        write_config s3 "$work/counted.yml"
        before=0
        requests
        case $server in
            berth) command=("$BERTH_BIN" garbage-collect --grace 0s --offline --accept-large-removal) ;;
            distribution3) command=(env OTEL_TRACES_EXPORTER=none "$distribution" garbage-collect) ;;
        esac
        timed "${command[@]}" --dry-run "$work/counted.yml"
        requests
        figure[$server/bucket-dry]=$counted figure[$server/bucket-dry-time]=$seconds_taken
        timed "${command[@]}" "$work/counted.yml"
        requests
        figure[$server/bucket-real]=$counted figure[$server/bucket-real-time]=$seconds_taken
        stop "$proxy_process"
        stop "$garage_process"
        rm -rf "$work/garage"
    done
fi

line() {
    local name=$1 unit=$3 target=$4 berth=${figure[berth/$2]} other=${figure[distribution3/$2]} ratio
    ratio=$(jq -nr "if $berth > 0 then $other / $berth * 10 | round / 10 | \"\(.)x\" else \"–\" end")
    printf '| %s | %s %s | %s %s | %s | %s |\n' "$name" "$berth" "$unit" "$other" "$unit" "$ratio" "$target"
}
say ''
say "Measured on $(date -u +%Y-%m-%d), $(nproc) cores: $blobs blobs in $images images, of which one of ten is garbage"
say ''
say '| work | Berth | distribution 3 | ratio | target |'
say '| --- | --- | --- | --- | --- |'
line 'dry run on disk' dry s '≥ 10x'
line 'real run on disk' real s '≥ 10x'
line 'peak memory of it' memory MiB '–'
if [ -n "$bucket" ]; then
    line 'dry run on Garage, 2,000 blobs: requests' bucket-dry '' '≥ 10x'
    line 'the same: time' bucket-dry-time s '–'
    line 'real run on Garage: requests' bucket-real '' '≥ 10x'
    line 'the same: time' bucket-real-time s '–'
fi
if [ "$memory" -gt 0 ]; then
    say "| $memory blobs on disk, dry run | ${figure[large/dry]} s, ${figure[large/dry-memory]} MiB | – | – | < 100 MiB |"
    say "| $memory blobs on disk, real run | ${figure[large/real]} s, ${figure[large/real-memory]} MiB | – | – | < 100 MiB |"
fi
