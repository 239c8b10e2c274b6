#!/usr/bin/env bash
# Three replicas and two collectors with zero grace on one store, for as long as you like: clients push, tag again, delete and
# pull, while replicas and collectors are paused (SIGSTOP) and killed (SIGKILL) by chance. The judge is that of gc.sh.
#
#   conformance/soak.sh [SECONDS] [filesystem|garage]        (default: 1800 filesystem)
#
#   SOAK_SEED                repeats the moments and the victims of an earlier run, which prints its seed
#   SOAK_LONG                any word: collectors too are paused for longer than pushes wait for them. Nothing is lost for it,
#                            but pushes are refused, so how many is told and not judged
#   CLIENTS                  how many there are (default: 8)
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

seconds=${1:-1800} store=${2:-filesystem}
need_berth
need_load
seed=${SOAK_SEED:-$RANDOM}
RANDOM=$seed
declare -A happened

# victim: chooses a replica or a collector; sets $victim to its process and $whose to its name. A collector may just not be
# running.
choose_victim() {
    local number
    if [ $((RANDOM % 2)) -eq 0 ]; then
        number=$((RANDOM % 3 + 1))
        victim=${replicas[$number]} whose=replica-$number
    else
        number=$((RANDOM % 2 + 1))
        victim=$(cat "$work/collector-$number.pid" 2> /dev/null || true) whose=collector
    fi
    [ -n "$victim" ] && alive "$victim"
}

happens() { happened[$1]=$((${happened[$1]:-0} + 1)); }

# A pause as a virtual machine or a debugger makes it: mostly short, sometimes longer than anybody waits. A push that needs what
# a collector is just removing is refused after five seconds, so collectors get such pauses only when they are asked for.
pause() {
    local tenths=$((RANDOM % 20 + 1))
    if [ $((RANDOM % 6)) -eq 0 ]; then
        tenths=$((RANDOM % 60 + 50))
        [ "$2" != collector ] || [ -n "${SOAK_LONG:-}" ] || tenths=35
    fi
    kill -STOP "$1" 2> /dev/null || return 0
    happens "$2 paused"
    sleep "$((tenths / 10)).$((tenths % 10))"
    kill -CONT "$1" 2> /dev/null || true
}

kill_it() {
    kill -KILL "$1" 2> /dev/null || return 0
    happens "$2 killed"
    case $2 in
        replica-*)
            wait_until 5 gone "$1"
            replica "${2#replica-}"
            ;;
    esac
}

title "three replicas and two collectors on $store for $seconds s, seed $seed"
store_to_collect "$store"
for number in 1 2 3; do replica "$number"; done
for number in 1 2; do collect_in_a_loop "$number" 0s 2s 5s; done
churn_begin "$seconds"
while alive "$clients"; do
    sleep "$((RANDOM % 2)).$((RANDOM % 10))"
    choose_victim || continue
    if [ $((RANDOM % 3)) -eq 0 ]; then kill_it "$victim" "$whose"; else pause "$victim" "$whose"; fi
done
churn_end
end_collecting
for what in "${!happened[@]}"; do say "$what: ${happened[$what]}"; done | sort
judge
finish
