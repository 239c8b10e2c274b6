#!/usr/bin/env bash
# Drives the real clients against Berth, each in a function of its own, and checks what they read back.
#
#   conformance/clients.sh [CLIENT...]     curl, crane, skopeo, regctl, oras, helm, notation, cosign, podman, buildah,
#                                          containerd, docker, docker_containerd (default: all)
#
# Runs as root, on loopback only; every client keeps its state in a directory that is removed at the end. Outside CI a
# client that is not installed is said and skipped, in CI it is a failure.
#
#   BERTH_BIN, KEEP_WORK     see lib.sh
#   BERTH_ADDRESS            test a registry that already runs there instead, as ip:port
set -euo pipefail
# shellcheck source=conformance/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=conformance/checks.sh
source "$root/conformance/checks.sh"
# shellcheck source=conformance/engines.sh
source "$root/conformance/engines.sh"

clients=("$@")
[ "$#" -gt 0 ] || clients=(curl crane skopeo regctl oras helm notation cosign podman buildah containerd docker docker_containerd)

# Before the home changes: cargo looks there for its toolchain.
[ -n "${BERTH_ADDRESS:-}" ] || need_berth
export HOME=$work/home XDG_RUNTIME_DIR=$work/run DOCKER_CONFIG=$work/home/docker
unset XDG_CONFIG_HOME XDG_DATA_HOME REGISTRY_AUTH_FILE
mkdir -p "$HOME" "$XDG_RUNTIME_DIR" "$DOCKER_CONFIG"
printf '{}' > "$DOCKER_CONFIG/config.json"

if [ -n "${BERTH_ADDRESS:-}" ]; then
    address=$BERTH_ADDRESS
else
    start_berth "$root/conformance/config-filesystem.yml" "$work/data"
    process_of_berth=$process
fi
registry=$address

# A root file system that runs: one static program under several names.
make_root_file_system() {
    local tree=$work/rootfs name
    mkdir -p "$tree"/{bin,etc,tmp,proc,sys,dev}
    cp "$(command -v busybox)" "$tree/bin/busybox"
    for name in sh cat echo ls sha256sum; do ln -sf busybox "$tree/bin/$name"; done
    printf 'root:x:0:0::/:/bin/sh\n' > "$tree/etc/passwd"
    printf 'berth\n' > "$tree/etc/motd"
    tar -C "$tree" --numeric-owner -cf "$work/rootfs.tar" .
}

# request STATUS CURL-ARGUMENTS...: fails unless the answer has that status; header in $work/header, body in $work/body.
request() {
    local wanted=$1 status
    shift
    status=$(curl -s -o "$work/body" -D "$work/header" -w '%{http_code}' --max-time 60 "$@") || return 1
    same "$wanted" "$status" || { cat "$work/header" "$work/body"; return 1; }
}
header() { grep -i "^$1:" "$work/header" | tail -n 1 | sed 's/^[^:]*: *//; s/\r$//'; }
# Where the session of the last answer goes on.
session() { case $(header Location) in http*) header Location ;; *) printf 'http://%s%s' "$registry" "$(header Location)" ;; esac; }
with_digest() { case $1 in *\?*) printf '%s&digest=%s' "$1" "$2" ;; *) printf '%s?digest=%s' "$1" "$2" ;; esac; }

client_curl() {
    has curl || return 0
    local octets='Content-Type: application/octet-stream'
    local repo=http://$registry/v2/curl/sessions first=$work/first second=$work/second whole=$work/whole digest
    head -c 300000 /dev/urandom > "$first"
    head -c 200000 /dev/urandom > "$second"
    cat "$first" "$second" > "$whole"
    digest=$(sha256_of "$whole")

    resume() {
        local at
        request 202 -X POST "$repo/blobs/uploads/" || return 1
        at=$(session)
        request 202 -X PATCH -H 'Content-Range: 0-299999' -H "$octets" \
            --data-binary "@$first" "$at" || return 1
        at=$(session)
        request 204 "$at" || return 1
        same 0-299999 "$(header Range)" || return 1
        request 416 -X PATCH -H "$octets" -H 'Content-Range: 0-199999' --data-binary "@$second" "$at" || return 1
        request 202 -X PATCH -H "$octets" -H 'Content-Range: 300000-499999' --data-binary "@$second" "$at" || return 1
        same 0-499999 "$(header Range)" || return 1
        request 201 -X PUT "$(with_digest "$(session)" "$digest")" || return 1
        request 200 "$repo/blobs/$digest" && cmp "$work/body" "$whole"
    }
    check "curl: an upload in two chunks, asked for its state between" resume

    # The body stalls and the connection goes away; the session says what it has and takes the rest.
    broken() {
        local at have other digest
        other=$work/other
        head -c 2000000 /dev/urandom > "$other"
        digest=$(sha256_of "$other")
        request 202 -X POST "$repo/blobs/uploads/" || return 1
        at=$(session)
        curl -s -o /dev/null --max-time 2 --limit-rate 200k -X PATCH -H "$octets" \
            -H 'Transfer-Encoding: chunked' -T "$other" "$at" || true
        wait_until 10 request 204 "$at" || return 1
        have=$(header Range)
        have=$((${have#*-} + 1))
        [ "$have" -gt 1 ] || have=0
        [ "$have" -lt 2000000 ] || { say "the whole body arrived"; return 1; }
        tail -c +$((have + 1)) "$other" > "$work/rest"
        request 202 -X PATCH -H "$octets" -H "Content-Range: $have-1999999" --data-binary "@$work/rest" "$(session)" || return 1
        request 201 -X PUT "$(with_digest "$(session)" "$digest")" || return 1
        request 200 "$repo/blobs/$digest" && cmp "$work/body" "$other"
    }
    check "curl: an upload that broke off goes on from where the registry says" broken

    aborted() {
        local at
        request 202 -X POST "$repo/blobs/uploads/" || return 1
        request 202 -X PATCH -H "$octets" --data-binary "@$first" "$(session)" || return 1
        at=$(session)
        request 204 -X DELETE "$at" || return 1
        request 404 "$at"
    }
    check "curl: an aborted upload is gone" aborted

    wrong_digest() {
        request 202 -X POST "$repo/blobs/uploads/" || return 1
        request 400 -X PUT -H "$octets" --data-binary "@$first" "$(with_digest "$(session)" "$(sha256_of "$second")")" || return 1
        contains DIGEST_INVALID "$(cat "$work/body")" || return 1
        request 404 -I "$repo/blobs/$(sha256_of "$second")"
    }
    check "curl: content that does not match its digest stays invisible" wrong_digest

    single_post() {
        request 201 -X POST -H "$octets" --data-binary "@$second" \
            "$repo/blobs/uploads/?digest=$(sha256_of "$second")" || return 1
        request 201 -X POST "http://$registry/v2/curl/mounted/blobs/uploads/?mount=$digest&from=curl/sessions"
    }
    check "curl: a blob in one POST, and a mount" single_post

    ranges() {
        local tag
        request 206 -H 'Range: bytes=10-19' "$repo/blobs/$digest" || return 1
        same 'bytes 10-19/500000' "$(header Content-Range)" || return 1
        request 206 -H 'Range: bytes=-5' "$repo/blobs/$digest" || return 1
        same "$(tail -c 5 "$whole" | sha256sum)" "$(sha256sum < "$work/body")" || return 1
        request 416 -H 'Range: bytes=600000-' "$repo/blobs/$digest" || return 1
        request 200 -I "$repo/blobs/$digest" || return 1
        same 500000 "$(header Content-Length)" || return 1
        tag=$(header ETag)
        request 304 -H "If-None-Match: $tag" "$repo/blobs/$digest"
    }
    check "curl: ranges and conditional requests" ranges
    check "curl: a deleted blob is gone" eval 'request 202 -X DELETE "$repo/blobs/$digest" && request 404 -I "$repo/blobs/$digest"'
}

client_crane() {
    has crane || return 0
    local image=$registry/crane/image digest number layers=()
    make_layer "$work/crane.tar" 256
    check "crane: push from an empty base" crane append -f "$work/crane.tar" -t "$image:one" || return 0
    digest=$(crane digest "$image:one")
    for number in $(seq 20); do
        make_layer "$work/crane-$number.tar" 16
        layers+=(-f "$work/crane-$number.tar")
    done
    check "crane: twenty layers at once" crane append -b "$image:one" "${layers[@]}" -t "$image:many"
    check "crane: validate what came back" crane validate --remote "$image:many"
    check "crane: mutate" crane mutate "$image:one" --label berth=yes --set-platform linux/arm64 -t "$image:arm"
    check "crane: an index of two platforms" crane index append -m "$image:many" -m "$image:arm" -t "$image:index"
    check "crane: validate the index" crane validate --remote "$image:index"
    check "crane: copy to another repository" crane copy "$image:index" "$registry/crane/copy:index"
    check "crane: the copy has the same digest" same "$(crane digest "$image:index")" "$(crane digest "$registry/crane/copy:index")"
    check "crane: pull" crane pull "$image:many" "$work/crane-image.tar"
    check "crane: push what was pulled" crane push "$work/crane-image.tar" "$registry/crane/back:many"
    check "crane: ls" same "arm index many one" "$(crane ls "$image" | sort | tr '\n' ' ' | sed 's/ $//')"
    check "crane: catalog" output_contains crane/copy crane catalog "$registry"
    check "crane: tag" crane tag "$image:one" again
    check "crane: delete a manifest by digest" crane delete "$image@$digest"
    check "crane: its tags are gone" output_lacks again crane ls "$image"
    rm -f "$work"/crane*.tar
}

client_skopeo() {
    has skopeo crane || return 0
    local image=$registry/skopeo/image plain=(--insecure-policy) no_tls=--tls-verify=false
    seed "$image:source" 64
    check "skopeo: copy to a directory" skopeo "${plain[@]}" copy --src-tls-verify=false "docker://$image:source" "dir:$work/skopeo"
    check "skopeo: copy back under another name" skopeo "${plain[@]}" copy --dest-tls-verify=false "dir:$work/skopeo" "docker://$image:copy"
    check "skopeo: copy within the registry" skopeo "${plain[@]}" copy --src-tls-verify=false --dest-tls-verify=false \
        "docker://$image:copy" "docker://$registry/skopeo/other:copy"
    check "skopeo: convert to OCI" skopeo "${plain[@]}" copy --format oci --src-tls-verify=false --dest-tls-verify=false \
        "docker://$image:copy" "docker://$image:oci"
    check "skopeo: a whole index" eval 'crane index append -m "$image:source" -m "$image:oci" -t "$image:index" &&
        skopeo "${plain[@]}" copy --all --src-tls-verify=false --dest-tls-verify=false "docker://$image:index" "docker://$registry/skopeo/all:index"'
    check "skopeo: list-tags" output_contains '"oci"' skopeo list-tags "$no_tls" "docker://$image"
    check "skopeo: inspect" output_contains '"Digest"' skopeo inspect "$no_tls" "docker://$image:copy"
    check "skopeo: delete" skopeo delete "$no_tls" "docker://$image:oci"
    check "skopeo: it is gone" refuses skopeo inspect "$no_tls" "docker://$image:oci"
}

client_regctl() {
    has regctl crane || return 0
    local image=$registry/regctl/image digest
    seed "$image:source" 64
    check "regctl: use plain HTTP" regctl registry set --tls disabled "$registry"
    check "regctl: image copy" regctl image copy "$image:source" "$registry/regctl/other:copy"
    check "regctl: image manifest and digest" same "$(crane digest "$image:source")" "$(regctl image digest "$registry/regctl/other:copy")"
    check "regctl: artifact put with a subject" eval 'printf note | regctl artifact put --artifact-type application/example.note --subject "$image:source"'
    check "regctl: referrers" output_contains application/example.note regctl artifact list "$image:source"
    digest=$(crane digest "$image:source")
    check "regctl: the referrers endpoint itself answers" eval 'request 200 "http://$registry/v2/regctl/image/referrers/$digest" &&
        contains application/example.note "$(cat "$work/body")"'
    check "regctl: copy with referrers" regctl image copy --referrers "$image:source" "$registry/regctl/other:with"
    check "regctl: the referrers came along" output_contains application/example.note regctl artifact list "$registry/regctl/other:with"
    check "regctl: chunked blob upload" eval 'head -c 3000000 /dev/urandom | regctl blob put "$registry/regctl/blobs"'
    check "regctl: sha512 image" regctl image mod "$image:source" --digest-algo sha512 --create "$image:sha512"
    check "regctl: sha512 image reads back" output_contains sha512: regctl image digest "$image:sha512"
    check "regctl: tag ls" output_contains source regctl tag ls "$image"
    check "regctl: tag delete keeps the manifest" eval 'regctl image copy "$image:source" "$image:spare" && regctl tag delete "$image:spare" &&
        output_lacks spare regctl tag ls "$image" && regctl manifest head "$image@$digest"'
    check "regctl: repo ls" output_contains regctl/other regctl repo ls "$registry"
}

client_oras() {
    has oras || return 0
    local artifact=$registry/oras/artifact http=--plain-http api=(--distribution-spec v1.1-referrers-api)
    (
        mkdir -p "$work/oras" && cd "$work/oras" || exit 1
        printf 'hello\n' > hello.txt
        printf '{"components":[]}\n' > sbom.json
        head -c 100000 /dev/urandom > big.bin
    )
    in_oras() { (cd "$work/oras" && oras "$@"); }
    check "oras: push" in_oras push "$http" --artifact-type application/example.thing "$artifact:one" hello.txt:text/plain big.bin || return 0
    check "oras: attach" in_oras attach "$http" "${api[@]}" --artifact-type application/example.sbom "$artifact:one" sbom.json:application/json
    check "oras: attach a second kind" in_oras attach "$http" "${api[@]}" --artifact-type application/example.note --annotation by=berth "$artifact:one"
    check "oras: discover" output_contains application/example.sbom in_oras discover "$http" "${api[@]}" "$artifact:one"
    check "oras: discover filtered" output_lacks application/example.sbom in_oras discover "$http" "${api[@]}" \
        --artifact-type application/example.note "$artifact:one"
    check "oras: tag" in_oras tag "$http" "$artifact:one" two three
    check "oras: repo tags" output_contains three in_oras repo tags "$http" "$artifact"
    check "oras: repo ls" output_contains artifact in_oras repo ls "$http" "$registry/oras/"
    check "oras: pull" in_oras pull "$http" -o "$work/oras/pulled" "$artifact:two"
    check "oras: what came back is the same" cmp "$work/oras/big.bin" "$work/oras/pulled/big.bin"
    check "oras: copy with referrers" in_oras cp -r --from-plain-http --to-plain-http "$artifact:one" "$registry/oras/copy:one"
    check "oras: the copy's referrers" output_contains application/example.sbom in_oras discover "$http" "${api[@]}" "$registry/oras/copy:one"
    check "oras: blob push and fetch" eval 'in_oras blob push "$http" "$artifact" hello.txt &&
        in_oras blob fetch "$http" -o "$work/oras/fetched" "$artifact@$(sha256_of "$work/oras/hello.txt")" && cmp "$work/oras/hello.txt" "$work/oras/fetched"'
    check "oras: resolve and manifest delete" eval 'in_oras manifest delete "$http" -f "$artifact@$(in_oras resolve "$http" "$artifact:two")"'
    check "oras: it is gone" refuses in_oras resolve "$http" "$artifact:three"
}

client_helm() {
    has helm || return 0
    check "helm: package a chart" eval 'cd "$work" && helm create harbour && helm package harbour --version 1.2.3+build.4' || return 0
    check "helm: push" helm push "$work/harbour-1.2.3+build.4.tgz" "oci://$registry/charts" --plain-http
    check "helm: pull by version" eval 'mkdir "$work/chart" && helm pull "oci://$registry/charts/harbour" --version 1.2.3+build.4 --plain-http -d "$work/chart"'
    check "helm: the chart is the same" cmp "$work/harbour-1.2.3+build.4.tgz" "$work/chart/harbour-1.2.3+build.4.tgz"
    check "helm: show" output_contains 'name: harbour' helm show chart "oci://$registry/charts/harbour" --plain-http
    check "helm: template from the registry" helm template name "oci://$registry/charts/harbour" --plain-http
}

client_notation() {
    has notation crane || return 0
    local image=$registry/notation/image
    seed "$image:signed" 16
    image=$image@$(crane digest "$image:signed")
    check "notation: a key and a certificate" notation cert generate-test --default berth || return 0
    cat > "$work/policy.json" <<< '{"version": "1.0", "trustPolicies": [{"name": "all", "registryScopes": ["*"],
        "signatureVerification": {"level": "strict"}, "trustStores": ["ca:berth"], "trustedIdentities": ["*"]}]}'
    check "notation: a trust policy" notation policy import "$work/policy.json"
    check "notation: an unsigned image does not verify" refuses notation verify --insecure-registry "$image"
    check "notation: sign" notation sign --insecure-registry --force-referrers-tag=false "$image"
    check "notation: list" output_contains application/vnd.cncf.notary.signature notation list --insecure-registry "$image"
    check "notation: verify" notation verify --insecure-registry "$image"
}

client_cosign() {
    has cosign crane || return 0
    local image=$registry/cosign/image
    seed "$image:signed" 16
    image=$image@$(crane digest "$image:signed")
    export COSIGN_PASSWORD=
    check "cosign: a key pair" eval 'cd "$work" && cosign generate-key-pair' || return 0
    check "cosign: sign" cosign sign --key "$work/cosign.key" --tlog-upload=false --yes "$image"
    check "cosign: verify" cosign verify --key "$work/cosign.pub" --insecure-ignore-tlog "$image"
    check "cosign: attach and verify an attestation" eval 'printf "{\"by\":\"berth\"}" > "$work/predicate.json" &&
        cosign attest --key "$work/cosign.key" --tlog-upload=false --yes --predicate "$work/predicate.json" "$image" &&
        cosign verify-attestation --key "$work/cosign.pub" --insecure-ignore-tlog "$image"'
    check "cosign: sign as a referrer" env COSIGN_EXPERIMENTAL=1 cosign sign --registry-referrers-mode=oci-1-1 \
        --key "$work/cosign.key" --tlog-upload=false --yes "$image"
    check "cosign: the referrers list it" eval 'request 200 "http://$registry/v2/cosign/image/referrers/${image#*@}" &&
        contains application/vnd.dev.cosign "$(cat "$work/body")"'
    check "cosign: tree" cosign tree "$image"
}

client_podman() {
    has podman || return 0
    local image=$registry/podman/image no_tls=--tls-verify=false
    local podman=(podman --runtime runc --root "$work/podman" --runroot "$XDG_RUNTIME_DIR/podman" --storage-driver vfs --cgroup-manager cgroupfs
        --tmpdir "$XDG_RUNTIME_DIR/podman-tmp")
    at_exit+=("podman --root '$work/podman' --runroot '$XDG_RUNTIME_DIR/podman' --storage-driver vfs rm -fa")
    check "podman: import" "${podman[@]}" import -c 'CMD ["/bin/cat","/etc/motd"]' "$work/rootfs.tar" "$image:one" || return 0
    check "podman: push" "${podman[@]}" push "$no_tls" "$image:one"
    check "podman: push with zstd" "${podman[@]}" push "$no_tls" --compression-format zstd "$image:one" "$image:zstd"
    check "podman: push in docker's format" "${podman[@]}" push "$no_tls" --format v2s2 "$image:one" "$image:docker"
    check "podman: remove" "${podman[@]}" rmi -f "$image:one"
    check "podman: pull" "${podman[@]}" pull "$no_tls" "$image:one"
    check "podman: run" output_contains berth "${podman[@]}" run --rm --network none --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --pull never "$image:one" /bin/cat /etc/motd
    check "podman: pull zstd" "${podman[@]}" pull "$no_tls" "$image:zstd"
    check "podman: a manifest list" eval '"${podman[@]}" manifest create list && "${podman[@]}" manifest add '"$no_tls"' list "docker://$image:one" &&
        "${podman[@]}" manifest add '"$no_tls"' --arch arm64 list "docker://$image:docker"'
    check "podman: manifest push --all" "${podman[@]}" manifest push --all "$no_tls" list "docker://$image:list"
    check "podman: search" "${podman[@]}" search "$no_tls" "$registry/podman"
    check "podman: search for tags" output_contains zstd "${podman[@]}" search "$no_tls" --list-tags "$image"
}

client_buildah() {
    has buildah || return 0
    local image=$registry/buildah/image
    local buildah=(buildah --root "$work/buildah" --runroot "$XDG_RUNTIME_DIR/buildah" --storage-driver vfs)
    mkdir -p "$work/build"
    cp "$work/rootfs.tar" "$work/build/"
    printf 'FROM scratch\nADD rootfs.tar /\nRUN echo built > /etc/built\nCMD ["/bin/sh"]\n' > "$work/build/Containerfile"
    check "buildah: build from scratch" "${buildah[@]}" bud --isolation chroot --network host --layers -t "$image:one" "$work/build" || return 0
    check "buildah: push" "${buildah[@]}" push --tls-verify=false "$image:one"
    printf 'FROM %s\nRUN echo more > /etc/more\n' "$image:one" > "$work/build/Containerfile"
    check "buildah: build on what was pushed" eval '"${buildah[@]}" rmi -fa && "${buildah[@]}" bud --isolation chroot --network host \
        --tls-verify=false -t "$image:two" "$work/build"'
    check "buildah: push it" "${buildah[@]}" push --tls-verify=false "$image:two"
}

make_root_file_system
for client in "${clients[@]}"; do
    declare -F "client_$client" > /dev/null || die "there is no client '$client'"
    title "$client"
    begun=$SECONDS
    "client_$client" || true
    say "      $((SECONDS - begun)) s"
    if [ -z "${BERTH_ADDRESS:-}" ] && gone "$process_of_berth"; then
        tail -n 40 "$work/berth.log" >&2
        die "Berth ended while $client was at work; its log ends above"
    fi
done
finish
