# What the scripts of conformance/ and benches/ share: a work directory that is removed at the end, and servers that are
# started on a free loopback port and stopped by their process id.
# Source it from bash with `set -euo pipefail`; it needs curl and jq.
#
# Variables a caller may set:
#   BERTH_BIN   the registry under test; without it target/release/registry is built and used
#   KEEP_WORK   any word keeps the work directory and says where it is

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=$root/conformance/.cache
export PATH="$cache/bin:$PATH"

work=$(mktemp -d "${TMPDIR:-/tmp}/berth-conformance.XXXXXX")
started=()       # process ids that this script started and has not stopped
at_exit=()       # commands that clean up what a process id cannot say

say() { printf '%s\n' "$*"; }
title() { printf '\n== %s\n' "$*"; }
die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

cleanup() {
    local status=$? process command
    trap - EXIT
    set +e
    for command in "${at_exit[@]}"; do eval "$command" > /dev/null 2>&1; done
    for process in "${started[@]}"; do stop "$process"; done
    if [ -n "${KEEP_WORK:-}" ]; then
        say "kept: $work"
    else
        rm -rf "$work"
    fi
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Builds the release binary unless the caller named one, and sets BERTH_BIN.
need_berth() {
    if [ -z "${BERTH_BIN:-}" ]; then
        say "building the release binary"
        cargo build --manifest-path "$root/Cargo.toml" --release --locked --bin registry
        BERTH_BIN=$root/target/release/registry
    fi
    [ -x "$BERTH_BIN" ] || die "BERTH_BIN names no program: $BERTH_BIN"
}

# Builds the load generator and sets LOAD_BIN, unless the caller named one.
need_load() {
    if [ -z "${LOAD_BIN:-}" ]; then
        say "building the load generator"
        LOAD_BIN=$(cargo build --manifest-path "$root/Cargo.toml" --release --locked --bench load \
            --message-format json-render-diagnostics \
            | jq -r 'select(.reason == "compiler-artifact" and .target.name == "load").executable')
    fi
    [ -x "${LOAD_BIN:-}" ] || die "no load generator at '${LOAD_BIN:-}'; build it with: cargo build --release --bench load"
}

# Prints a loopback port that nothing listens on.
free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 12000))
        if ! (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; then
            printf '%s' "$port"
            return
        fi
    done
}

# wait_until SECONDS COMMAND...: polls until the command succeeds; 1 when the time is over.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" > /dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.02
    done
}

answers() { curl -s -o /dev/null --max-time 2 "$1"; }
alive() { kill -0 "$1" 2> /dev/null; }
gone() { ! alive "$1"; }

# start NAME COMMAND...: runs a server in the background, its output in $work/NAME.log, its process id in $process.
start() {
    local name=$1
    shift
    "$@" >> "$work/$name.log" 2>&1 < /dev/null &
    process=$!
    disown "$process"
    started+=("$process")
}

# ready NAME URL PID: waits until a started server answers, or shows its log and gives up.
ready() {
    local deadline=$((SECONDS + 30))
    until answers "$2"; do
        if gone "$3" || [ "$SECONDS" -ge "$deadline" ]; then
            tail -n 40 "$work/$1.log" >&2
            die "$1 does not answer at $2; its log ends above"
        fi
        sleep 0.02
    done
}

# stop PID [SIGNAL]: ends a process that this script started and waits for its end; kills it after ten seconds.
stop() {
    local process=$1 other rest=()
    kill -"${2:-TERM}" "$process" 2> /dev/null || true
    wait_until 10 gone "$process" || kill -KILL "$process" 2> /dev/null || true
    wait_until 5 gone "$process" || true
    for other in "${started[@]}"; do [ "$other" = "$process" ] || rest+=("$other"); done
    started=("${rest[@]}")
}

# start_berth CONFIG DATA: runs Berth on a free port; sets $address, $process.
start_berth() {
    need_berth
    address=127.0.0.1:$(free_port)
    start berth env REGISTRY_HTTP_ADDR="$address" ${2:+REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY="$2"} \
        "$BERTH_BIN" serve "$1"
    ready berth "http://$address/v2/" "$process"
}

# start_distribution 2|3 DATA: runs distribution of that version on a directory; sets $address, $process.
start_distribution() {
    local program
    program=$(distribution_program "$1")
    address=127.0.0.1:$(free_port)
    start "distribution$1" env OTEL_TRACES_EXPORTER=none REGISTRY_HTTP_ADDR="$address" \
        REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY="$2" "$program" serve "$root/conformance/config-distribution.yml"
    ready "distribution$1" "http://$address/v2/" "$process"
}

# distribution_program 2|3: prints the program's name.
distribution_program() {
    case $1 in
        2) printf docker-registry ;;
        3) printf '%s' "$cache/bin/registry" ;;
        *) die "there is no distribution $1" ;;
    esac
}

# sha256_of FILE: prints the digest of a file as the registry writes it.
sha256_of() { printf 'sha256:%s' "$(sha256sum < "$1" | cut -d' ' -f1)"; }
