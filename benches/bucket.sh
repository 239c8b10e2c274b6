#!/usr/bin/env bash
# Measures Berth beside CNCF distribution 3 over the same Garage, one after the other in one run, each with a bucket of its own, and
# prints a table with ratios. Redirects are off, so that every byte passes through the registry.
#
#   benches/bucket.sh [--quick]        --quick takes fewer of everything and leaves out the blob of 5 GiB
#
#   BERTH_BIN, LOAD_BIN, PEERS_BIN, BENCH_DIR as for compare.sh. conformance/install.sh stores distribution installs the rest.
#
# Garage stands on the same two cores as the registry and the load, and takes about a second of them for 100 MiB of new bytes: its own
# ceiling is printed beside the rows. Blobs share no stretch of bytes, because Garage keeps equal stretches once.
set -euo pipefail
export TMPDIR=${BENCH_DIR:-${TMPDIR:-/tmp}}
# shellcheck source=conformance/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../conformance/lib.sh"
# shellcheck source=conformance/stores.sh
source "$root/conformance/stores.sh"

images=200 blobs=12 seconds=5 huge=5
if [ "${1:-}" = --quick ]; then
    images=40 blobs=6 seconds=2 huge=0
elif [ "$#" -gt 0 ]; then
    die "unknown argument $1; usage: benches/bucket.sh [--quick]"
fi
need_load
need_berth
need_peers
declare -A figure

# serve berth|distribution3: starts a registry on the bucket; sets $address and $process.
serve() {
    write_config s3 "$work/$1.yml"
    case $1 in
        berth) start_berth "$work/berth.yml" ;;
        distribution3) start_distribution_on "$work/distribution3.yml" ;;
    esac
}

load() { "$LOAD_BIN" "$@" --address "$address" --server "$process" --label "$server"; }
rate() { jq -r '.requests_per_second * 10 | round / 10'; }
now() { date +%s%N; }
# took START: milliseconds since then.
took() { printf '%s' $((($(now) - $1) / 1000000)); }
peak() { awk '/^VmHWM/ { print int($2 / 1024) }' "/proc/$process/status"; }

# ceiling: MiB a second that the store itself takes in, by parts of 5 MiB, four at once.
ceiling() {
    local begun part
    for part in $(seq 24); do openssl rand -out "$work/part.$part" $((5 << 20)); done
    begun=$(now)
    seq 24 | xargs -P 4 -I{} curl -sSf --user "$ACCESS_KEY:$SECRET_KEY" --aws-sigv4 "aws:amz:$REGION:s3" -T "$work/part.{}" \
        -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' "$ENDPOINT/$BUCKET/ceiling/{}"
    printf '%s' $((120000 / $(took "$begun")))
    rm -f "$work"/part*
}

# cold_pull REPOSITORY TAG: a pull from a registry that was just started, in milliseconds; the middle one of three.
cold_pull() {
    for _ in 1 2 3; do
        serve "$server"
        "$LOAD_BIN" pull --address "$address" --repository "$1" --tag "$2" | jq '.milliseconds | round'
        stop "$process"
    done | sort -n | sed -n 2p
}

for server in berth distribution3; do
    title "$server" >&2
    start_garage
    garage_process=$store_process
    garage_endpoint=$ENDPOINT
    figure[$server/ceiling]=$(ceiling)

    serve "$server"
    figure[$server/image]=$(load push-image --count "$images" --style put | rate)
    figure[$server/docker]=$(load push-image --count "$((images / 2))" --style docker | rate)
    figure[$server/blob]=$(load push-blob --apart --count "$blobs" --connections 2 | jq -r '.mib_per_second | round')
    figure[$server/blob-put]=$(load push-blob --apart --style put --count "$blobs" --connections 2 | jq -r '.mib_per_second | round')
    "$LOAD_BIN" seed --address "$address" --blobs 65536 --tags 1 > "$work/seed.json"
    figure[$server/manifest]=$(load get --path "$(jq -r .manifest "$work/seed.json")" \
        --accept 'application/vnd.oci.image.manifest.v1+json, */*' --seconds "$seconds" | rate)
    stop "$process"

    serve "$server"
    load push-blob --size $((100 << 20)) --count 32 --connections 32 > /dev/null
    figure[$server/memory]=$(peak)
    stop "$process"

    # 20 ms on the way to the bucket, for each request.
    proxy=127.0.0.1:$(free_port)
    start proxy "$PEERS_BIN" faults --listen "$proxy" --to "${garage_endpoint#http://}" --latency 20
    proxy_process=$process
    ENDPOINT=http://$proxy
    ready proxy "$ENDPOINT/-/counts" "$proxy_process"
    serve "$server"
    figure[$server/push-20ms]=$(load push-image --layers 3 --size $((1 << 20)) --count 3 --connections 1 --style docker \
        | jq -r '1000 / .requests_per_second | round')
    "$LOAD_BIN" push-image --layers 3 --size $((1 << 20)) --count 1 --connections 1 --list --address "$address" \
        --server "$process" > "$work/listed"
    read -r repository tag _ < "$work/listed"
    stop "$process"
    figure[$server/pull-20ms]=$(cold_pull "$repository" "$tag")
    stop "$proxy_process"
    ENDPOINT=$garage_endpoint

    if [ "$huge" -gt 0 ] && [ "$server" = berth ]; then
        serve "$server"
        stream() { head -c $((huge << 30)) /dev/zero | openssl enc -aes-128-ctr -nosalt -K 00 -iv 00; }
        digest=sha256:$(stream | sha256sum | cut -d' ' -f1)
        session=$(curl -sSf -o /dev/null -D - -X POST "http://$address/v2/huge/blobs/uploads/" | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
        session=$(stream | curl -sSf -o /dev/null -D - -X PATCH -T - "http://$address$session" | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
        begun=$(now)
        curl -sSf -o /dev/null -X PUT "http://$address$session&digest=$digest"
        figure[$server/huge]=$(took "$begun")
        stop "$process"
    fi
    stop "$garage_process"
    rm -rf "$work/garage"
done

line() {
    local name=$1 unit=$3 target=$4 berth=${figure[berth/$2]} other=${figure[distribution3/$2]} ratio
    ratio=$(jq -nr "$berth / $other * 100 | round / 100 | \"\(.)x\"")
    # The store's own speed is no figure of the registry before it.
    [ "$2" != ceiling ] || ratio=–
    printf '| %s | %s %s | %s %s | %s | %s |\n' "$name" "$berth" "$unit" "$other" "$unit" "$ratio" "$target"
}
say ''
say "Measured on $(date -u +%Y-%m-%d), $(nproc) cores, Garage on the same cores${1:+, $1}"
say ''
say '| work | Berth | distribution 3 | ratio | target |'
say '| --- | --- | --- | --- | --- |'
line 'push small image (2 x 64 KiB, config, manifest), 8 connections' image /s '≥ 3x'
line 'the same as the classic docker engine sends it' docker /s '≥ 3x'
line 'push 64 MiB blob (POST, PATCH, PUT), 2 connections' blob MiB/s '≥ 3x'
line 'push 64 MiB blob (POST, PUT), 2 connections' blob-put MiB/s '–'
line 'what Garage itself takes in, four parts of 5 MiB at once' ceiling MiB/s '–'
line 'GET manifest by tag, 16 connections' manifest /s '≥ 5x'
line '20 ms to the bucket: docker push of three layers of 1 MiB, one after the other' push-20ms ms '≤ 0.33x'
line '20 ms to the bucket: cold pull of it' pull-20ms ms '≤ 0.5x'
line 'peak memory with 32 uploads of 100 MiB' memory MiB 'at most 250 MiB'
if [ "$huge" -gt 0 ]; then say "| PUT that ends a blob of $huge GiB sent by PATCH | ${figure[berth/huge]} ms | – | – | at most 30,000 ms |"; fi
