#!/usr/bin/env bash
# Two registries on one store, a collector with zero grace in a loop beside them, and clients that push, tag again, delete and
# pull images and indexes which share a dozen layers. Whatever was acknowledged and still stands under its tag must come whole,
# nothing that stands may be missing for a moment, and `registry scrub --read-data` must find nothing wrong at the end.
#
#   conformance/gc.sh [SECONDS] [--bucket garage] [--compare]        (default: 60)
#
#   --compare   distribution 3 too: two of it and its garbage-collect -m in a loop, and how many images are incomplete
#   GC_SEED     chooses what the clients do; CLIENTS how many there are (default: 8)
#   BERTH_BIN, LOAD_BIN, KEEP_WORK as in lib.sh
set -euo pipefail
# shellcheck source=conformance/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=conformance/checks.sh
source "$root/conformance/checks.sh"
# shellcheck source=conformance/stores.sh
source "$root/conformance/stores.sh"
# shellcheck source=conformance/collecting.sh
source "$root/conformance/collecting.sh"

seconds=60 store=filesystem compare=
while [ "$#" -gt 0 ]; do
    case $1 in
        --bucket) store=${2:?--bucket needs the name of a store}; shift ;;
        --compare) compare=yes ;;
        *[!0-9]*) die "unknown argument $1; usage: conformance/gc.sh [SECONDS] [--bucket garage] [--compare]" ;;
        *) seconds=$1 ;;
    esac
    shift
done
need_berth
need_load
seed=${GC_SEED:-$RANDOM}

title "two registries and a collector on $store, seed $seed"
store_to_collect "$store"
for number in 1 2; do replica "$number"; done
collect_in_a_loop 1 0s 500ms
churn "$seconds"
end_collecting
judge

if [ -n "$compare" ]; then
    title "the same with distribution 3"
    compare_with_distribution "$seconds" || true
fi
finish
