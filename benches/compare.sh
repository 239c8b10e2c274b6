#!/usr/bin/env bash
# Measures Berth beside CNCF distribution 3 and 2.8 and nginx's static files, one after the other on loopback in one run,
# with the same data, the same load and no access log, and prints a table: absolute figures, ratios, the server's
# processor time for each operation, its peak memory, and whether each target is met.
#
#   benches/compare.sh [--quick]       --quick takes about two minutes and its figures are rougher
#
#   BERTH_BIN       the registry under test (default: the release binary, built if need be)
#   BERTH_CONFIG    its configuration (default: conformance/config-filesystem.yml)
#   LOAD_BIN        the load generator (default: built if need be)
#   BENCH_DIR       where the servers keep their data (default: below TMPDIR); name a directory on the disk to measure
#   SERVERS         which to run (default: "berth distribution3 distribution2 nginx")
#   RESULTS         file to keep the raw lines of JSON in
#
# Method: the load generator is one process beside the server on the same machine, so requests per second drift with it;
# ratios and processor time per operation hold. Processor time is read from /proc/PID/stat, peak memory is VmHWM. Every
# pushed blob is unique. Each server writes to the disk with the durability it has in production: nothing is switched off.
set -euo pipefail
export TMPDIR=${BENCH_DIR:-${TMPDIR:-/tmp}}
# shellcheck source=conformance/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../conformance/lib.sh"

seconds=5 large_pushes=48 small_pushes=1000 starts=9
if [ "${1:-}" = --quick ]; then
    seconds=2 large_pushes=12 small_pushes=200 starts=3
elif [ "$#" -gt 0 ]; then
    die "unknown argument $1; usage: benches/compare.sh [--quick]"
fi
servers=${SERVERS:-berth distribution3 distribution2 nginx}
results=${RESULTS:-$work/results.json}
: > "$results"
accept='application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*'

need_load
case " $servers " in *" berth "*) need_berth ;; esac

# serve NAME DATA: starts a server; sets $address, $process and $processes, whose time and memory are counted.
serve() {
    case $1 in
        berth) start_berth "${BERTH_CONFIG:-$root/conformance/config-filesystem.yml}" "$2" ;;
        distribution2) start_distribution 2 "$2" ;;
        distribution3) start_distribution 3 "$2" ;;
        nginx) start_nginx ;;
        *) die "there is no server $1" ;;
    esac
    [ "$1" = nginx ] || processes=$process
}

# nginx as Debian configures it, with sendfile and one worker for each core, over copies of the content that the others serve.
start_nginx() {
    address=127.0.0.1:$(free_port)
    cat > "$work/nginx.conf" <<CONF
daemon off;
user root;
worker_processes $(nproc);
pid $work/nginx.pid;
error_log $work/nginx-error.log warn;
events { worker_connections 4096; }
http {
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 100000000;
    default_type application/octet-stream;
    client_body_temp_path $work/nginx-body;
    proxy_temp_path $work/nginx-proxy;
    fastcgi_temp_path $work/nginx-fastcgi;
    uwsgi_temp_path $work/nginx-uwsgi;
    scgi_temp_path $work/nginx-scgi;
    server { listen $address backlog=4096; root $work/static; }
}
CONF
    start nginx "$(command -v nginx || printf /usr/sbin/nginx)" -c "$work/nginx.conf"
    ready nginx "http://$address/" "$process"
    processes=$(pgrep -d, -P "$process")
}

# copy_for_nginx DATA: lays the seeded blobs and the manifest out as files under the paths that are asked for.
copy_for_nginx() {
    local path digest
    for path in $(jq -r '.blobs[], .manifest_by_digest' "$work/seed.json"); do
        digest=${path##*:}
        mkdir -p "$work/static/${path%/*}"
        cp "$1/docker/registry/v2/blobs/sha256/${digest:0:2}/$digest/data" "$work/static/$path"
    done
    cp "$work/static/$(jq -r .manifest_by_digest "$work/seed.json")" "$work/static/$(jq -r .manifest "$work/seed.json")"
}

# row NAME LOAD-ARGUMENTS...: runs one load and keeps its line.
row() {
    local name=$1
    shift
    sync
    local line
    line=$("$LOAD_BIN" "$@" --address "$address" --server "$processes" --label "$server/$name") || die "$server, $name: the load failed"
    printf '%s\n' "$line" >> "$results"
    jq -r '"\(.label): \(.requests_per_second | floor)/s, \(.mib_per_second | floor) MiB/s, server \(.server_cpu_us_per_request * 10 | floor / 10) us each, \(.server_cpu_ms_per_mib * 1000 | floor / 1000) ms per MiB, client \(.client_cpu_us_per_request | floor) us, errors \(.errors)"' <<< "$line" >&2
}

reading() {
    local manifest tags small large
    manifest=$(jq -r .manifest "$work/seed.json")
    tags=$(jq -r .tags "$work/seed.json")
    small=$(jq -r '.blobs[0]' "$work/seed.json")
    large=$(jq -r '.blobs[1]' "$work/seed.json")
    row get-manifest get --path "$manifest" --accept "$accept" --seconds "$seconds"
    row head-manifest get --head --path "$manifest" --accept "$accept" --seconds "$seconds"
    row get-64k get --path "$small" --seconds "$seconds"
    row get-256m get --path "$large" --connections 2 --seconds "$((seconds * 2))"
    [ "$server" = nginx ] || row tags get --path "$tags?n=1000" --seconds "$seconds"
}

writing() {
    row push-64m push-blob --count "$large_pushes" --connections 2
    row push-image push-image --count "$small_pushes" --style put
    row push-docker push-image --count "$((small_pushes / 2))" --style docker
}

# A virtual machine may have to ask its host for memory that it touches for the first time, and a file system may be slow
# to give out what was freed a moment ago. Both would be counted against whoever comes first or last. So memory is touched
# before anything is measured, and what a server leaves behind stays until all have run.
touch_memory() {
    local mebibytes=$(($(awk '/^MemAvailable/ { print $2 }' /proc/meminfo) / 1024 * 3 / 4))
    dd if=/dev/zero of="$work/touch" bs=1M count="$mebibytes" status=none 2> /dev/null || true
    rm -f "$work/touch"
    sync
}

[ "$seconds" -lt 5 ] || touch_memory

for server in $servers; do
    title "$server" >&2
    data=$work/data-$server
    if [ "$server" = nginx ]; then
        serve nginx
        reading
        stop "$process"
        continue
    fi
    serve "$server" "$data"
    "$LOAD_BIN" seed --address "$address" > "$work/seed.json"
    [ -d "$work/static" ] || copy_for_nginx "$data"
    reading
    writing
    stop "$process"
    # Memory is measured in a process of its own, and so is the start.
    serve "$server" "$data"
    row memory push-blob --size $((100 << 20)) --count 32 --connections 32 --idle 1000
    stop "$process"
    case $server in
        berth) program=("$BERTH_BIN" serve "${BERTH_CONFIG:-$root/conformance/config-filesystem.yml}") ;;
        distribution?) program=("$(distribution_program "${server#distribution}")" serve "$root/conformance/config-distribution.yml") ;;
    esac
    address=127.0.0.1:$(free_port)
    OTEL_TRACES_EXPORTER=none REGISTRY_HTTP_ADDR=$address REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=$data \
        "$LOAD_BIN" cold-start --address "$address" --label "$server/start" --times "$starts" -- "${program[@]}" >> "$results"
done

say ''
say "Measured on $(date -u +%Y-%m-%d), $(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), Linux $(uname -r)${1:+, $1}"
say ''
jq -rs -f "$root/benches/table.jq" "$results"
