#!/usr/bin/env bash
# Three replicas over one Garage bucket behind nginx, round robin and without stickiness, configured by the very files of
# deploy/compose: the official suite and real clients through them, replicas killed in the middle of pushes, and pulls that are
# redirected to the bucket.
#
#   conformance/cluster.sh [--short]      --short leaves out docker and all kills of pushes but one
#
# Runs as root, on loopback only. Needs what conformance/install.sh installs.
set -euo pipefail
# shellcheck source=conformance/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=conformance/checks.sh
source "$root/conformance/checks.sh"
# shellcheck source=conformance/stores.sh
source "$root/conformance/stores.sh"

clients=(docker skopeo oras) kills=3
case ${1:-} in
    --short) clients=(skopeo oras) kills=1 ;;
    '') ;;
    *) die "unknown argument $1; usage: conformance/cluster.sh [--short]" ;;
esac
need_berth
export BERTH_BIN
has garage nginx crane skopeo || { finish; exit; }

replicas=()     # process ids
addresses=()    # where each listens

# replica NUMBER [redirect]: (re)starts a replica with deploy's configuration, at the address it had.
replica() {
    local number=$1 disable=true
    [ "${2:-}" != redirect ] || disable=false
    : "${addresses[$number]:=127.0.0.1:$(free_port)}"
    # The suite pushes sparse indexes and layers that lie elsewhere.
    start "replica-$number" env REGISTRY_HTTP_ADDR="${addresses[$number]}" REGISTRY_HTTP_DEBUG_ADDR=127.0.0.1:0 \
        REGISTRY_HTTP_SECRET="$HTTP_SECRET" REGISTRY_LOG_LEVEL=warn REGISTRY_LOG_ACCESSLOG_DISABLED=true \
        REGISTRY_STORAGE_S3_ACCESSKEY="$ACCESS_KEY" REGISTRY_STORAGE_S3_SECRETKEY="$SECRET_KEY" \
        REGISTRY_STORAGE_S3_BUCKET="$BUCKET" REGISTRY_STORAGE_S3_REGION="$REGION" \
        REGISTRY_STORAGE_S3_REGIONENDPOINT="$ENDPOINT" REGISTRY_STORAGE_REDIRECT_DISABLE="$disable" \
        REGISTRY_VALIDATION_MANIFESTS_INDEXES_PLATFORMS=none REGISTRY_VALIDATION_MANIFESTS_URLS_ALLOW='[".*"]' \
        "${PROGRAM:-$BERTH_BIN}" serve "${CONFIG:-$root/deploy/compose/config.yml}"
    replicas[number]=$process
    ready "replica-$number" "http://${addresses[$number]}/v2/" "$process"
}

# deploy's nginx.conf with the replicas' addresses in place of their names.
start_front() {
    local number
    front=127.0.0.1:$(free_port)
    sed "s/listen 5000/listen $front/" "$root/deploy/compose/nginx.conf" > "$work/nginx.conf"
    for number in 1 2 3; do sed -i "s/registry-$number:5000/${addresses[$number]}/" "$work/nginx.conf"; done
    mkdir -p "$work/nginx"
    start nginx "$(command -v nginx || printf /usr/sbin/nginx)" -p "$work/nginx" -c "$work/nginx.conf" \
        -g "daemon off; error_log stderr; pid $work/nginx/pid;"
    ready nginx "http://$front/v2/" "$process"
}

# Processor time of a replica in ticks of 10 ms. The one that worked for three of them since it was asked is receiving a body.
worked() { awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/${replicas[$1]}/stat"; }
note_work() { for number in 1 2 3; do before[number]=$(worked "$number"); done; }
receiving() {
    local number grown
    for number in 1 2 3; do
        grown=$(($(worked "$number") - before[number]))
        if [ "$grown" -ge 3 ]; then
            victim=$number
            return 0
        fi
    done
    return 1
}

# make_image DIRECTORY BYTES: an image of one incompressible layer, in skopeo's dir: form.
make_image() {
    local layer config
    mkdir -p "$1"
    printf 'Directory Transport Version: 1.1\n' > "$1/version"
    head -c "$2" /dev/urandom > "$1/layer"
    layer=$(sha256_of "$1/layer")
    jq -cn --arg layer "$layer" '{architecture: "amd64", os: "linux", config: {}, rootfs: {type: "layers", diff_ids: [$layer]}}' > "$1/config"
    config=$(sha256_of "$1/config")
    jq -cn --arg layer "$layer" --argjson bytes "$2" --arg config "$config" --argjson size "$(stat -c %s "$1/config")" '{
        schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json",
        config: {mediaType: "application/vnd.oci.image.config.v1+json", digest: $config, size: $size},
        layers: [{mediaType: "application/vnd.oci.image.layer.v1.tar", digest: $layer, size: $bytes}]
    }' > "$1/manifest.json"
    mv "$1/layer" "$1/${layer#*:}"
    mv "$1/config" "$1/${config#*:}"
}

# killed_while_receiving: kills the replica that takes in a layer, and starts it again a moment later.
killed_while_receiving() {
    wait_until 60 receiving || { say "no replica was receiving anything"; return 1; }
    kill -KILL "${replicas[$victim]}"
    wait_until 5 gone "${replicas[$victim]}"
    say "killed replica $victim"
}

push_large() { skopeo --insecure-policy copy --retry-times 5 --dest-tls-verify=false "dir:$work/large-$1" "docker://$2"; }

# A push that a replica does not survive. The client tries again, and another replica answers.
push_through_a_kill() {
    local image=$front/cluster/killed:$1 client
    declare -A before
    note_work
    # skopeo does not try again after the balancer's 502, which each kept connection to the dead replica is good for; a person would.
    { push_large "$1" "$image" || push_large "$1" "$image" || push_large "$1" "$image"; } > "$work/push.log" 2>&1 &
    client=$!
    killed_while_receiving || { kill "$client"; cat "$work/push.log"; return 1; }
    wait "$client" || { cat "$work/push.log"; return 1; }
    # A pull holds every byte against its digest.
    skopeo --insecure-policy copy --src-tls-verify=false "docker://$image" "dir:$work/pulled-$1" || return 1
    rm -rf "$work/pulled-$1"
    replica "$victim"
}

# An upload whose first chunk one replica took goes on at the others when that one is gone.
session_through_a_kill() {
    local at digest octets='Content-Type: application/octet-stream'
    head -c $((7 << 20)) /dev/urandom > "$work/whole"
    digest=$(sha256_of "$work/whole")
    head -c $((4 << 20)) "$work/whole" > "$work/first"
    tail -c +$(((4 << 20) + 1)) "$work/whole" > "$work/second"
    location() { awk 'tolower($1) == "location:" { sub(/\r$/, "", $2); sub(/^http:\/\/[^\/]*/, "", $2); print $2 }' "$work/header"; }
    put() { curl -sS -f -o /dev/null -D "$work/header" --max-time 60 -H "$octets" "$@"; }
    put -X POST "http://${addresses[1]}/v2/cluster/session/blobs/uploads/" || return 1
    at=$(location)
    put -X PATCH -H "Content-Range: 0-$(((4 << 20) - 1))" --data-binary "@$work/first" "http://${addresses[1]}$at" || return 1
    at=$(location)
    kill -KILL "${replicas[1]}"
    wait_until 5 gone "${replicas[1]}"
    put -X PATCH -H "Content-Range: $((4 << 20))-$(((7 << 20) - 1))" --data-binary "@$work/second" "http://${addresses[2]}$at" || return 1
    at=$(location)
    case $at in *\?*) at="$at&digest=$digest" ;; *) at="$at?digest=$digest" ;; esac
    put -X PUT "http://${addresses[3]}$at" || return 1
    replica 1
    for number in 1 2 3; do
        same "$digest" "sha256:$(curl -sS "http://${addresses[$number]}/v2/cluster/session/blobs/$digest" | sha256sum | cut -d' ' -f1)" || return 1
    done
}

# What one replica is told, the others know at once.
seen_by_all() {
    local number digest
    seed "${addresses[1]}/cluster/seen:one" 64 || return 1
    digest=$(crane digest "${addresses[1]}/cluster/seen:one") || return 1
    for number in 1 2 3; do same "$digest" "$(crane digest "${addresses[$number]}/cluster/seen:one")" || return 1; done
    seed "${addresses[2]}/cluster/seen:one" 64 || return 1
    digest=$(crane digest "${addresses[2]}/cluster/seen:one") || return 1
    for number in 1 2 3; do same "$digest" "$(crane digest "${addresses[$number]}/cluster/seen:one")" || return 1; done
    crane delete "${addresses[3]}/cluster/seen@$digest" || return 1
    for number in 1 2 3; do refuses crane manifest "${addresses[$number]}/cluster/seen:one" || return 1; done
}

# A blob is fetched from the bucket itself, and asking for its header works too.
redirected() {
    local digest blob
    seed "$address/cluster/redirected:one" 64 || return 1
    digest=$(crane manifest "$address/cluster/redirected:one" | jq -r '.layers[0].digest')
    blob=http://$address/v2/cluster/redirected/blobs/$digest
    same 307 "$(curl -sS -o /dev/null -w '%{http_code}' "$blob")" || return 1
    contains "${ENDPOINT#http://}" "$(curl -sS -o /dev/null -w '%{redirect_url}' "$blob")" || return 1
    same "$digest" "sha256:$(curl -sSL "$blob" | sha256sum | cut -d' ' -f1)" || return 1
    same 200 "$(curl -sSLI -o /dev/null -w '%{http_code}' "$blob")" || return 1
    same 206 "$(curl -sSL -o /dev/null -w '%{http_code}' -H 'Range: bytes=1-5' "$blob")"
}

title "three replicas on Garage behind nginx"
start_store garage
for number in 1 2 3; do replica "$number"; done
start_front
check "what one replica is told, the others know" seen_by_all || true

title "replicas that are killed"
check "a session goes on at the other replicas" session_through_a_kill || true
for round in $(seq "$kills"); do
    make_image "$work/large-$round" $((160 << 20))
    check "a push survives a killed replica ($round of $kills)" push_through_a_kill "$round" || true
    rm -rf "$work/large-$round"
done

title "the official suite through the cluster"
suite_status=0
BERTH_ADDRESS=$front "$root/conformance/run.sh" cluster || suite_status=$?
# 3 says that it cannot be installed on this machine, which is no word about the replicas.
if [ "$suite_status" -eq 3 ]; then
    skip "the official suite: it is not installed"
else
    check "the official suite" test "$suite_status" -eq 0 || true
fi

title "clients through the cluster"
check "clients: ${clients[*]}" env BERTH_ADDRESS="$front" "$root/conformance/clients.sh" "${clients[@]}" || true

title "redirects on"
replica 4 redirect
address=${addresses[4]}
check "blobs are redirected to the bucket" redirected || true
[ "${1:-}" = --short ] && clients=(crane skopeo) || clients=(crane skopeo docker)
check "clients: ${clients[*]}" env BERTH_ADDRESS="$address" "$root/conformance/clients.sh" "${clients[@]}" || true

for number in 1 2 3 4; do
    check "replica $number logged no secret" eval '! grep -lE "$SECRET_KEY|X-Amz-Signature|Signature=" "$work/replica-$number.log"' || true
done
finish
