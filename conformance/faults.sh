#!/usr/bin/env bash
# Bad days of a bucket: images are pushed and pulled through Berth on Garage while a proxy between the two throttles, breaks
# connections, cuts answers, puts errors into a 200 and delivers requests twice. No byte may be wrong, no acknowledged image
# incomplete, no error anything but an OCI error that says when to try again, no multipart upload left open after purging. Then
# what is wrong for good: each must be told once, clearly, at the start and by `registry verify`, with the key to change.
#
#   conformance/faults.sh [IMAGES]     (default: 1000)
#
# SEED chooses which requests are spoiled. STORE names the store (default: garage).
set -euo pipefail
# shellcheck source=conformance/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=conformance/checks.sh
source "$root/conformance/checks.sh"
# shellcheck source=conformance/stores.sh
source "$root/conformance/stores.sh"

images=${1:-1000}
need_berth
need_load
need_peers
start_store "${STORE:-garage}"
say "seed ${SEED:=1}"

# multiparts: counts the multipart uploads that are open in the bucket.
multiparts() { s3_curl GET "/$BUCKET?uploads=" | grep -o '<UploadId>' | wc -l; }

# bad_day NAME IMAGES PERCENT: pushes and pulls with so many of a hundred requests to the bucket spoiled.
bad_day() {
    local name=$1 count=$2 percent=$3 counts=$work/$1.counts
    start_faults "proxy-$name" "$store_endpoint" --seed "$SEED" --percent "$percent"
    write_config s3 "$work/$name.yml"
    start_berth "$work/$name.yml"
    # Whatever comes of it, those who come after work without faults.
    local status=0
    "$LOAD_BIN" bad-day --address "$address" --count "$count" --label "$name" > "$work/$name.list" || status=$?
    curl -s "$ENDPOINT/-/counts" > "$counts"
    tail -n 1 "$work/$name.list"
    jq -c . "$counts"
    stop "$process"
    stop "$proxy_process"
    ENDPOINT=$store_endpoint
    return "$status"
}

# all_there NAME...: a reader without faults finds every acknowledged image whole.
all_there() {
    local name
    # A later run moves the tags of an earlier one, so what holds is the last line of each.
    for name in "$@"; do grep '^bad/' "$work/$name.list"; done | tac | sort -s -u -k 1,2 > "$work/all.list"
    write_config s3 "$work/clean.yml"
    start_berth "$work/clean.yml"
    "$LOAD_BIN" verify --address "$address" --list "$work/all.list" || return 1
    stop "$process"
}

# Purging takes what no client can go on with; at an age of a second that is everything.
nothing_left() {
    local before
    before=$(multiparts)
    write_config s3 "$work/purge.yml"
    sed -i 's/^  delete:/  maintenance:\n    uploadpurging: {enabled: true, age: 1s, interval: 1s, dryrun: false}\n  delete:/' "$work/purge.yml"
    start_berth "$work/purge.yml"
    say "$before multipart uploads were open"
    wait_until 60 purged || { say "$(multiparts) are open after purging"; return 1; }
    stop "$process"
}
purged() { [ "$(multiparts)" -eq 0 ] && [ "$(objects_of_sessions)" -eq 0 ]; }
objects_of_sessions() { s3_curl GET "/$BUCKET?list-type=2&max-keys=1000&prefix=docker%2Fregistry%2Fv2%2Frepositories%2F" | grep -o '/_uploads/' | wc -l; }

store_endpoint=$ENDPOINT
title "bad days"
check "one request of ten is spoiled: $images images" bad_day tenth "$images" 10 || true
cat "$work/check.out"
check "six requests of ten are spoiled: $((images / 10)) images" bad_day most "$((images / 10))" 60 || true
cat "$work/check.out"
check "every acknowledged image is whole" all_there tenth most || true
check "nothing is left open after purging" nothing_left || true

# told KEY CONFIG: the start and `registry verify` fail with one message that names the key, and nothing secret.
told() {
    local key=$1 config=$2 way output status
    for way in verify serve; do
        status=0
        output=$(timeout 100 env REGISTRY_HTTP_ADDR="127.0.0.1:$(free_port)" "$BERTH_BIN" "$way" "$config" 2>&1) || status=$?
        [ "$status" -ne 0 ] || { say "registry $way succeeded"; return 1; }
        [ "$status" -ne 124 ] || { say "registry $way did not end: $output"; return 1; }
        contains "$key" "$output" || return 1
        lacks "$SECRET_KEY" "$output" || return 1
    done
    tail -n 1 <<< "$output" >> "$work/told"
}

title "what is wrong for good"
wrong() { write_config s3 "$work/wrong.yml" && sed -i "$1" "$work/wrong.yml"; }
wrong "s/secretkey: .*/secretkey: 000000000000000000000000000000000000000000000000000000000000dead/"
check "a wrong secret key" told secretkey "$work/wrong.yml" || true
wrong "s/accesskey: .*/accesskey: GKffffffffffffffffffffffff/"
check "an unknown access key" told accesskey "$work/wrong.yml" || true
wrong "s/bucket: .*/bucket: no-such-bucket/"
check "a bucket that does not exist" told bucket "$work/wrong.yml" || true
wrong "s/region: .*/region: elsewhere/"
check "a wrong region" told region "$work/wrong.yml" || true
wrong "s/regionendpoint: .*/regionendpoint: http:\/\/127.0.0.1:1/"
check "an endpoint that nobody listens at" told regionendpoint "$work/wrong.yml" || true
start_faults proxy-clock "$store_endpoint" --percent 100 --faults skewed
write_config s3 "$work/wrong.yml"
check "a clock that is wrong" told clock "$work/wrong.yml" || true
wrong "/^  secret:/d"
check "no http.secret" told http.secret "$work/wrong.yml" || true

say ''
sed 's/^/      | /' "$work/told"

title "secrets"
check "no log holds one" eval '! grep -l -E "$SECRET_KEY|$HTTP_SECRET|X-Amz-Signature|Signature=" "$work"/berth*.log' || true
finish
