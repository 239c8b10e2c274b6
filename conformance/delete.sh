#!/usr/bin/env bash
# Deletes images by digest and collects, while a docker engine pushes in a loop beside it: exactly what only the deleted ones
# needed goes, everything else stays byte for byte, and every image that docker pushed comes whole.
#
#   conformance/delete.sh [filesystem|memory|s3|oss...]      (default: all of them)
#
# s3 is Garage unless STORE names another store, oss the server of tests/peers. A store in memory cannot be opened from
# outside: there `serve` collects by its schedule, every minute.
#
#   BERTH_BIN, PEERS_BIN, KEEP_WORK as in lib.sh and stores.sh
set -euo pipefail
# shellcheck source=conformance/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=conformance/checks.sh
source "$root/conformance/checks.sh"
# shellcheck source=conformance/stores.sh
source "$root/conformance/stores.sh"
# shellcheck source=conformance/engines.sh
source "$root/conformance/engines.sh"

drivers=("$@")
[ "$#" -gt 0 ] || drivers=(filesystem memory s3 oss)
for driver in "${drivers[@]}"; do
    case $driver in filesystem | memory | s3 | oss) ;; *) die "there is no driver '$driver'; there are filesystem, memory, s3 and oss" ;; esac
done
need_berth
[[ " ${drivers[*]} " != *" oss "* ]] || need_peers
has docker dockerd containerd crane openssl || { finish; exit; }
export HOME=$work/home XDG_RUNTIME_DIR=$work/run DOCKER_CONFIG=$work/home/docker
mkdir -p "$HOME" "$XDG_RUNTIME_DIR" "$DOCKER_CONFIG"
printf '{}' > "$DOCKER_CONFIG/config.json"

repositories=(known/one known/two docker/loop)

# --- the store of a driver; $place is its directory below the work directory ---

# write_configuration: $place/config.yml for $driver.
write_configuration() {
    case $driver in
        s3 | oss)
            start_store "$(store_for "$driver")"
            write_config "$driver" "$place/config.yml"
            ;;
        filesystem) sed "s|./registry-data|$place/data|" "$root/conformance/config-filesystem.yml" > "$place/config.yml" ;;
        memory)
            # `grace` of the second is the default.
            sed 's|level: warn|level: info\n  formatter: json|; s|^  delete:|  maintenance:\n    garbagecollect:\n      schedule: "* * * * *"\n      grace: 0s\n&|' \
                "$root/conformance/config-memory.yml" > "$place/config.yml"
            sed '/grace: 0s/d' "$place/config.yml" > "$place/config-default.yml"
            ;;
    esac
}

# stored DIGEST: whether the content lies in the store. Memory shows it to nobody.
stored() {
    local hex=${1#*:} path status date signature
    path=docker/registry/v2/blobs/sha256/${hex:0:2}/$hex/data
    case $driver in
        filesystem) [ -e "$place/data/$path" ]; return ;;
        s3) status=$(s3_curl HEAD "/$BUCKET/$path" -I -o /dev/null -w '%{http_code}') ;;
        oss)
            date=$(LC_ALL=C date -u '+%a, %d %b %Y %H:%M:%S GMT')
            signature=$(printf 'HEAD\n\n\n%s\n/%s/%s' "$date" "$BUCKET" "$path" | openssl dgst -sha1 -hmac "$SECRET_KEY" -binary | base64)
            status=$(curl -sS --max-time 30 -I -o /dev/null -w '%{http_code}' -H "Date: $date" \
                -H "Authorization: OSS $ACCESS_KEY:$signature" "$ENDPOINT/$BUCKET/$path")
            ;;
    esac
    case $status in 200) return 0 ;; 404) return 1 ;; *) die "$driver answers $status when asked for $path" ;; esac
}

# --- what is pushed, and what becomes of it ---

# append IMAGE LAYER...: an image of these layers, each of which is made once.
append() {
    local image=$1 layer arguments=()
    shift
    for layer in "$@"; do
        [ -e "$place/$layer.tar" ] || make_layer "$place/$layer.tar" "$((16 + RANDOM % 64))"
        arguments+=(-f "$place/$layer.tar")
    done
    crane append "${arguments[@]}" -t "$address/$image"
}

# blob REPOSITORY TEXT: pushes the text as a blob; prints its digest.
blob() {
    local digest
    digest=sha256:$(printf '%s' "$2" | sha256sum | cut -d' ' -f1)
    curl -sS -f -o /dev/null --max-time 60 -X POST -H 'Content-Type: application/octet-stream' --data-binary "$2" \
        "http://$address/v2/$1/blobs/uploads/?digest=$digest" || return 1
    printf '%s' "$digest"
}

# sign REPOSITORY REFERENCE: pushes a referrer of the manifest, under no tag; prints its digest.
sign() {
    local subject layer config manifest digest
    subject=$(crane digest "$address/$1:$2") || return 1
    layer=$(blob "$1" "signature of $2") || return 1
    config=$(blob "$1" '{}') || return 1
    manifest=$(jq -cn --arg subject "$subject" --arg layer "$layer" --arg config "$config" --arg name "$2" \
        --argjson size "$(crane manifest "$address/$1:$2" | wc -c)" '{
        schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json",
        artifactType: "application/example.signature",
        config: {mediaType: "application/vnd.oci.empty.v1+json", digest: $config, size: 2},
        layers: [{mediaType: "text/plain", digest: $layer, size: ("signature of " + $name | length)}],
        subject: {mediaType: "application/vnd.oci.image.manifest.v1+json", digest: $subject, size: $size}}')
    digest=sha256:$(printf '%s' "$manifest" | sha256sum | cut -d' ' -f1)
    curl -sS -f -o /dev/null --max-time 60 -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' \
        --data-binary "$manifest" "http://$address/v2/$1/manifests/$digest" || return 1
    printf '%s' "$digest"
}

# note stays|goes REPOSITORY REFERENCE: writes down a manifest and all it names:
#   manifests   FATE REPOSITORY DIGEST
#   named       FATE REPOSITORY DIGEST, for the manifest itself and everything its bytes name
#   links       REPOSITORY DIGEST, for config and layers
#   sizes       DIGEST BYTES
note() {
    local fate=$1 repository=$2 digest separator=:
    case $3 in sha256:*) separator=@ ;; esac
    crane manifest "$address/$repository$separator$3" > "$place/manifest" || return 1
    digest=$(sha256_of "$place/manifest")
    printf '%s %s %s\n' "$fate" "$repository" "$digest" >> "$place/manifests"
    { printf '%s\n' "$digest"; grep -oE 'sha256:[0-9a-f]{64}' "$place/manifest"; } | sed "s|^|$fate $repository |" >> "$place/named"
    printf '%s %s\n' "$digest" "$(stat -c %s "$place/manifest")" >> "$place/sizes"
    jq -r '.config, .layers[]? | select(. != null) | "\(.digest) \(.size)"' "$place/manifest" > "$place/parts"
    cat "$place/parts" >> "$place/sizes"
    sed "s|^|$repository |; s| [0-9]*\$||" "$place/parts" >> "$place/links"
}

# Two repositories that share layers: images, an index and its children, signatures, mounts, and a blob that nothing names.
push_known() {
    local tag a_signed b_signed
    append known/one:a shared-by-all a && append known/one:b shared-by-all b && append known/one:c shared-by-all c with-two || return 1
    append known/two:c shared-by-all with-two two || return 1
    append known/one:base base && append known/one:late late || return 1
    append known/one:m1 m1 && append known/one:m2 m2 && append known/one:d d && append known/one:e e || return 1
    crane index append -m "$address/known/one:m1" -m "$address/known/one:m2" -t "$address/known/one:multi" || return 1
    crane index append -m "$address/known/one:b" -m "$address/known/one:m2" -t "$address/known/one:both" || return 1
    for tag in d e; do crane copy "$address/known/one:$tag" "$address/known/two:$tag" || return 1; done
    a_signed=$(sign known/one a) && b_signed=$(sign known/one b) || return 1
    : > "$place/manifests"; : > "$place/named"; : > "$place/links"; : > "$place/sizes"
    for tag in a "$a_signed" c base late m1 multi d e; do note goes known/one "$tag" || return 1; done
    for tag in b "$b_signed" m2 both; do note stays known/one "$tag" || return 1; done
    note goes known/two e && note stays known/two d && note stays known/two c || return 1
    blob known/two 'needed by nothing' > "$place/orphan" || return 1
    printf 'goes known/two %s\n' "$(cat "$place/orphan")" >> "$place/named"
    printf 'known/two %s\n' "$(cat "$place/orphan")" >> "$place/links"
    printf '%s 17\n' "$(cat "$place/orphan")" >> "$place/sizes"
    expect
}

layer_of() { crane manifest "$address/$1" | jq -r '.layers[0].digest'; }

# What is to go: everything the deleted ones name that neither what stays names nor docker's images do. `late` is left to
# chance: docker may come before or after the collection.
expect() {
    local late
    late=$(layer_of known/one:late) || return 1
    { awk '$1 == "stays" { print $3 }' "$place/named"; layer_of known/one:base; printf '%s\n' "$late"; } | sort -u > "$place/needed"
    awk '$1 == "goes" { print $3 }' "$place/named" | sort -u | comm -23 - "$place/needed" > "$place/gone"
    awk '{ print $3 }' "$place/named" | sort -u | comm -23 - "$place/gone" | grep -v "$late" > "$place/kept"
    sort -u "$place/links" | comm -23 - <(awk '$1 == "stays" { print $2, $3 }' "$place/named" | sort -u) > "$place/links-gone"
    gone_blobs=$(wc -l < "$place/gone")
    gone_bytes=$(sort -u "$place/sizes" | awk 'NR == FNR { gone[$1]; next } $1 in gone { bytes += $2 } END { print bytes }' "$place/gone" -)
    gone_links=$(wc -l < "$place/links-gone")
    late_bytes=$(awk -v late="$late" '$1 == late { print $2; exit }' "$place/sizes")
    say "to go: $gone_blobs blobs of $gone_bytes bytes, $gone_links links; to stay: $(wc -l < "$place/kept") blobs"
}

# --- docker beside it ---

# docker_image NUMBER: every third one is new, the others have a fresh layer on one that a deleted image has as well: `base`
# from the beginning, `late` from when the collection begins.
docker_image() {
    local image=$address/docker/loop:$1 base=base
    make_layer "$place/fresh.tar" 8
    if [ $(($1 % 3)) -eq 1 ]; then
        docker import "$place/fresh.tar" "$image"
        return
    fi
    [ $(($1 % 3)) -eq 0 ] || [ ! -e "$place/collecting" ] || base=late
    mkdir -p "$place/build"
    printf 'FROM %s/known/one:%s\nCOPY fresh.tar /\n' "$address" "$base" > "$place/build/Dockerfile"
    mv "$place/fresh.tar" "$place/build/fresh.tar"
    DOCKER_BUILDKIT=0 docker build -q -t "$image" "$place/build"
}

# push_in_a_loop: until $place/enough is there; the tags go to $place/pushed, one line for each attempt that was refused to
# $place/refused.
push_in_a_loop() {
    : > "$place/pushed"; : > "$place/refused"
    (
        trap - EXIT
        number=0
        while [ ! -e "$place/enough" ]; do
            number=$((number + 1))
            docker_image "$number" || break
            attempts=0
            until docker push "$address/docker/loop:$number"; do
                printf '%s\n' "$number" >> "$place/refused"
                attempts=$((attempts + 1))
                [ "$attempts" -lt 3 ] || break 2
            done
            printf '%s\n' "$number" >> "$place/pushed"
        done
        touch "$place/ended"
    ) > "$place/docker.log" 2>&1 < /dev/null &
    started+=("$!")
    disown "$!"
}

# wait_for SECONDS COMMAND...: as wait_until, for what takes its time.
wait_for() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" > /dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || { say "waited in vain for: $*"; return 1; }
        sleep 0.5
    done
}
ended() { [ -e "$place/ended" ]; }
pushed_or_ended() { [ "$(wc -l < "$place/pushed")" -ge "$1" ] || ended; }

# goes_on IMAGES: docker pushes so many more.
goes_on() {
    local wanted=$(($(wc -l < "$place/pushed") + $1))
    wait_for 300 pushed_or_ended "$wanted" || return 1
    ! ended || { tail -n 10 "$place/docker.log"; say "docker stopped pushing"; return 1; }
}

end_of_docker() {
    touch "$place/enough"
    wait_for 120 ended || { tail -n 10 "$place/docker.log"; return 1; }
    [ "$(sort -u "$place/refused" | wc -l)" -eq 0 ] || say "docker had to push again: $(wc -l < "$place/refused") times"
}

# Every byte through the registry, and then as an engine without any of it gets it.
docker_images_are_whole() {
    local number
    while read -r number; do crane validate --remote "$address/docker/loop:$number" || return 1; done < "$place/pushed"
    docker image ls --format '{{.Repository}}:{{.Tag}}' | grep "^$address/" | xargs -r docker rmi -f > /dev/null || return 1
    docker pull -q --all-tags "$address/docker/loop" || return 1
    same "$(sort -n "$place/pushed")" "$(docker image ls --format '{{.Tag}}' "$address/docker/loop" | sort -n)"
}

# --- deleting, collecting, judging ---

delete_by_digest() {
    local repository digest
    while read -r _ repository digest; do
        same 202 "$(curl -sS -o /dev/null -w '%{http_code}' --max-time 60 -X DELETE "http://$address/v2/$repository/manifests/$digest")" || return 1
        same 404 "$(answer_to "$repository/manifests/$digest")" || return 1
    done < <(grep '^goes ' "$place/manifests")
}

answer_to() { curl -sS -I -o /dev/null -w '%{http_code}' --max-time 60 "http://$address/v2/$1"; }

# As the command comes: nothing is old enough to go.
default_frees_nothing() {
    local report digest
    report=$("$BERTH_BIN" garbage-collect --output json "$place/config.yml" 2> "$place/collect.err") || { cat "$place/collect.err"; return 1; }
    same '{"manifests":0,"layer_links":0,"blobs":0,"bytes":0}' "$(jq -c .removed <<< "$report")" || return 1
    while read -r digest; do stored "$digest" || { say "$digest is gone"; return 1; }; done < "$place/gone"
}

collects_at_once() {
    touch "$place/collecting"
    "$BERTH_BIN" garbage-collect --grace 0s --output json "$place/config.yml" > "$place/report" 2> "$place/collect.err" \
        || { cat "$place/collect.err"; return 1; }
    jq -c .removed "$place/report" > "$place/removed"
}

# rounds LOG: what the rounds of a schedule removed, all together.
rounds() {
    grep -F 'garbage collection finished' "$1" | jq -cs '{rounds: length, manifests: (map(.manifests) | add // 0),
        layer_links: (map(.layer_links) | add // 0), blobs: (map(.blobs) | add // 0), bytes: (map(.bytes) | add // 0)}'
}
freed_all() { [ "$(rounds "$work/berth.log" | jq .blobs)" -ge "$gone_blobs" ]; }
one_round() { [ "$(rounds "$work/young.log" | jq .rounds)" -ge 1 ]; }

schedule_collects() {
    touch "$place/collecting"
    wait_for 300 freed_all || { tail -n 5 "$work/berth.log"; return 1; }
    rounds "$work/berth.log" | jq -c 'del(.rounds)' > "$place/removed"
}

default_schedule_frees_nothing() {
    wait_for 200 one_round || { tail -n 5 "$work/young.log"; return 1; }
    same '0 0 0' "$(rounds "$work/young.log" | jq -r '"\(.manifests) \(.layer_links) \(.blobs)"')" || return 1
    same 200 "$(address=$young answer_to "known/two/blobs/$(cat "$place/orphan")")"
}

# The figures are those computed, but for `late`, and for what a refused push of docker left for this collection.
figures_are_exact() {
    local blobs bytes links
    cat "$place/removed"
    read -r blobs bytes links < <(jq -r '"\(.blobs) \(.bytes) \(.layer_links)"' "$place/removed")
    if [ -s "$place/refused" ]; then
        say "docker had to push again, so there may be more: $(wc -l < "$place/refused") times"
        [ "$blobs" -ge "$gone_blobs" ] && [ "$bytes" -ge "$gone_bytes" ] && [ "$links" -ge "$gone_links" ]
        return
    fi
    same "$gone_links" "$links" || return 1
    case $((blobs - gone_blobs)) in
        0) same "$gone_bytes" "$bytes" ;;
        1) same "$((gone_bytes + late_bytes))" "$bytes" ;;
        *) same "$gone_blobs, or one more," "$blobs" ;;
    esac
}

# In no repository, and not in the store either.
gone_is_gone() {
    local digest repository
    while read -r digest; do
        for repository in "${repositories[@]}"; do
            same "404 $digest" "$(answer_to "$repository/blobs/$digest") $digest" || return 1
            same "404 $digest" "$(answer_to "$repository/manifests/$digest") $digest" || return 1
        done
        [ "$driver" = memory ] || ! stored "$digest" || { say "$digest is still stored"; return 1; }
    done < "$place/gone"
    while read -r repository digest; do
        same "404 $digest" "$(answer_to "$repository/blobs/$digest") $digest" || return 1
    done < "$place/links-gone"
}

kept_is_whole() {
    local digest repository
    while read -r _ repository digest; do
        same "$digest" "sha256:$(curl -sS --max-time 60 "http://$address/v2/$repository/manifests/$digest" | sha256sum | cut -d' ' -f1)" || return 1
    done < <(grep '^stays ' "$place/manifests")
    while read -r repository digest; do
        same "$digest" "sha256:$(curl -sS --max-time 60 "http://$address/v2/$repository/blobs/$digest" | sha256sum | cut -d' ' -f1)" || return 1
    done < <(sort -u "$place/links" | comm -23 - "$place/links-gone")
    while read -r digest; do
        [ "$driver" = memory ] || stored "$digest" || { say "$digest is not stored any more"; return 1; }
    done < "$place/kept"
    digest=$(crane digest "$address/known/one:b") || return 1
    same 1 "$(curl -sS --max-time 60 "http://$address/v2/known/one/referrers/$digest" | jq '.manifests | length')"
}

scrubbed() { "$BERTH_BIN" scrub --read-data "$place/config.yml"; }

beside_docker() {
    place=$work/$driver
    mkdir -p "$place"
    title "$driver"
    write_configuration
    : > "$work/berth.log"
    start_berth "$place/config.yml" ''
    if [ "$driver" = memory ]; then
        young=127.0.0.1:$(free_port)
        start young env REGISTRY_HTTP_ADDR="$young" "$BERTH_BIN" serve "$place/config-default.yml"
        ready young "http://$young/v2/" "$process"
        address=$young blob known/two 'needed by nothing' > "$place/orphan"
    fi
    check "known images are pushed" push_known || return 0
    say "      $(grep '^to go' "$work/check.out")"
    check "docker pulls what will be deleted" eval 'docker pull -q "$address/known/one:base" && docker pull -q "$address/known/one:late"' || return 0
    push_in_a_loop
    check "docker pushes, on a layer that a deleted image has too" goes_on 3 || return 0
    check "deletes by digest" delete_by_digest || return 0
    if [ "$driver" = memory ]; then
        check "the schedule collects" schedule_collects || return 0
        check "a schedule with the default grace frees nothing so young" default_schedule_frees_nothing || true
    else
        check "collects with the defaults, and nothing is old enough" default_frees_nothing || true
        check "collects without any grace" collects_at_once || return 0
    fi
    say "      removed: $(cat "$place/removed")"
    check "docker goes on pushing" goes_on 3 || true
    check "docker ends" end_of_docker || true
    check "what only the deleted ones needed is gone" gone_is_gone || true
    check "everything else is there byte for byte" kept_is_whole || true
    check "the figures are exact" figures_are_exact || true
    check "all $(wc -l < "$place/pushed") images that docker pushed come whole" docker_images_are_whole || true
    say "      pushes of docker that were refused: $(wc -l < "$place/refused")"
    [ "$driver" = memory ] || check "scrub finds nothing wrong" scrubbed || true
}

start_containerd docker-containerd "$(command -v containerd)" || true
check "start the engine" start_docker docker-engine "$(command -v dockerd)" --containerd "$containerd_socket" || { finish; exit; }
for driver in "${drivers[@]}"; do beside_docker; done
finish
