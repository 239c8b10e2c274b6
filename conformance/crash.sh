#!/usr/bin/env bash
# Kills Berth with SIGKILL in the middle of concurrent pushes, again and again on one directory, and checks after each
# restart that every image whose push was acknowledged is whole, and that no blob is visible on disk whose bytes do not
# match its digest. `registry scrub` judges what is left after each restart, and reads all of it at the end.
#
#   conformance/crash.sh [CYCLES]          default: 50
#
#   BERTH_BIN, LOAD_BIN, KEEP_WORK         see lib.sh
#   CRASH_SEED                             repeats the moments of an earlier run, which prints its seed
set -euo pipefail
# shellcheck source=conformance/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cycles=${1:-50}
need_berth
need_load
data=$work/data
seed=${CRASH_SEED:-$RANDOM}
RANDOM=$seed
acknowledged=$work/acknowledged
: > "$acknowledged"
say "seed $seed"

# Hashes blobs on disk against their paths; all of them, or those newer than a file.
blobs_match() {
    local blobs=$data/docker/registry/v2/blobs
    [ -d "$blobs" ] || return 0
    find "$blobs/sha256" -name data -type f "$@" -print0 | xargs -0 -r sha256sum | awk '
        { split($2, part, "/"); hex = part[length(part) - 1]; count++ }
        hex != $1 { print "the bytes of " $2 " have the digest " $1; bad = 1 }
        END { exit bad }'
}

# judge [ARGUMENTS...]: nothing works on the store, so nothing needs to settle.
judge() {
    REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=$data "$BERTH_BIN" scrub --settle 0s "$@" \
        "$root/conformance/config-filesystem.yml" > "$work/scrub.log" 2>&1 && return
    grep -A 3 '^error' "$work/scrub.log" >&2 || cat "$work/scrub.log" >&2
    return 1
}

begun=$SECONDS
marker=$work/marker
for cycle in $(seq "$cycles"); do
    touch "$marker"
    start_berth "$root/conformance/config-filesystem.yml" "$data"
    berth=$process
    list=$work/list
    : > "$list"
    # More images than can be pushed before the kill, and beside them larger blobs, which are cut off in their middle.
    "$LOAD_BIN" push-image --address "$address" --repository "crash/images$((cycle % 5))" --size 16384 --count 1000000 \
        --connections 8 --list > "$list" 2> "$work/images.log" &
    images=$!
    disown "$images"
    "$LOAD_BIN" push-blob --address "$address" --repository crash/blobs --size 6291456 --count 30 \
        --connections 2 > "$work/blobs.log" 2>&1 &
    blobs=$!
    disown "$blobs"
    started+=("$images" "$blobs")
    sleep "0.$((100 + RANDOM % 800))"
    alive "$berth" || die "cycle $cycle: Berth ended by itself; see $work/berth.log"
    stop "$berth" KILL
    stop "$images"
    stop "$blobs"
    blobs_match -newer "$marker" || die "cycle $cycle: a blob is visible whose bytes are wrong"
    cat "$list" >> "$acknowledged"

    start_berth "$root/conformance/config-filesystem.yml" "$data"
    "$LOAD_BIN" verify --address "$address" --list "$list" > "$work/verify.log" 2>&1 || {
        cat "$work/verify.log" >&2
        die "cycle $cycle: an acknowledged image is lost"
    }
    stop "$process"
    judge || die "cycle $cycle: scrub found something wrong"
    # The blobs nobody refers to are only needed until they are checked; the images stay.
    find "$data/docker/registry/v2/blobs" -name data -size +4M -delete
    find "$data" -path '*/crash/blobs/_uploads/*' -name data -delete
    if [ $((cycle % 10)) -eq 0 ]; then say "cycle $cycle: $(wc -l < "$acknowledged") images acknowledged so far"; fi
done

say "once more, everything"
blobs_match || die "a blob is visible whose bytes are wrong"
judge --read-data || die "scrub found something wrong"
tail -n 2 "$work/scrub.log"
start_berth "$root/conformance/config-filesystem.yml" "$data"
"$LOAD_BIN" verify --address "$address" --list "$acknowledged" || die "an acknowledged image is lost"
[ -s "$acknowledged" ] || die "no push was acknowledged in any cycle: nothing was tested"
say "$cycles kills, $(wc -l < "$acknowledged") acknowledged images, all whole, in $((SECONDS - begun)) s"
say "$cycles passed, 0 failed"
