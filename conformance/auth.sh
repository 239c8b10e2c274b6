#!/usr/bin/env bash
# Drives the real clients against Berth with access rules: login, push, pull, mount across repositories, refusals that a
# person understands, and pulls without a login of what is public.
#
#   conformance/auth.sh [htpasswd|token|external] [CLIENT...]     curl, crane, skopeo, regctl, oras, helm, podman, buildah, docker,
#                                                        docker_containerd (default: all ways, all clients)
#
# htpasswd offers passwords alone; token adds the token server in the binary, which clients then prefer; external has a token
# server of somebody else's, which knows the users and decides by the same rules, and Berth takes its word.
# Runs as root, on loopback only. Outside CI a client that is not installed is said and skipped, in CI it is a failure.
#
#   BERTH_BIN, KEEP_WORK     see lib.sh
set -euo pipefail
# shellcheck source=conformance/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=conformance/checks.sh
source "$root/conformance/checks.sh"
# shellcheck source=conformance/engines.sh
source "$root/conformance/engines.sh"

ways=(htpasswd token external)
case ${1:-} in htpasswd | token | external) ways=("$1"); shift ;; esac
clients=("$@")
[ "$#" -gt 0 ] || clients=(curl crane skopeo regctl oras helm podman buildah docker docker_containerd)

need_berth
export HOME=$work/home XDG_RUNTIME_DIR=$work/run
unset XDG_CONFIG_HOME XDG_DATA_HOME REGISTRY_AUTH_FILE DOCKER_CONFIG
mkdir -p "$HOME" "$XDG_RUNTIME_DIR"
declare -A password=([alice]='wonderland: a "long" one' [bob]=builder)

# write_config WAY: alice may do everything in her own, in team/ and in public/, bob in his own; bob reads team/, everybody
# reads public/.
write_auth_config() {
    local users=$work/htpasswd user
    rm -f "$users"
    for user in alice bob; do "$BERTH_BIN" user add "$users" "$user" <<< "${password[$user]}" 2> /dev/null; done
    if [ "$1" = external ]; then
        {
            sed -e 's/^    disabled: true$/    disabled: false/' "$root/conformance/config-filesystem.yml"
            printf 'auth:\n  token: {realm: "http://%s/token", service: registry.test, issuer: auth server, rootcertbundle: %s}\n' \
                "$external_server" "$work/keys/rsa.pem"
        } > "$work/config-$1.yml"
        return
    fi
    {
        sed -e 's/^    disabled: true$/    disabled: false/' "$root/conformance/config-filesystem.yml"
        printf 'auth:\n  htpasswd: {realm: registry, path: %s}\n' "$users"
        [ "$1" != token ] || printf '  token: {server: {key: %s}}\n' "$work/token-key.pem"
        cat << 'YAML'
  access:
    - {who: ['user:alice'], repositories: ['team/**', 'public/**'], actions: ['*']}
    - {who: ['user:bob'], repositories: ['team/**'], actions: [pull]}
    - {who: [authenticated], repositories: ['$user/**'], actions: ['*']}
    - {who: [everybody], repositories: ['public/**'], actions: [pull]}
YAML
    } > "$work/config-$1.yml"
}

# as USER|nobody: whose credentials the clients find from now on; each client and user has places of its own.
as() {
    person=$1
    local place=$work/people/$way-$client-$1
    mkdir -p "$place"
    export DOCKER_CONFIG=$place REGISTRY_AUTH_FILE=$place/auth.json REGCTL_CONFIG=$place/regctl.json
    export HELM_REGISTRY_CONFIG=$place/helm.json
    [ -e "$place/config.json" ] || printf '{}' > "$place/config.json"
    [ -e "$place/auth.json" ] || printf '{}' > "$place/auth.json"
}

# refused_saying PATTERN COMMAND...: the command must fail and its output match the extended regular expression.
refused_saying() {
    local pattern=$1 output
    shift
    if output=$("$@" 2>&1); then printf 'succeeded: %s\n%s\n' "$*" "$output"; return 1; fi
    grep -qE -- "$pattern" <<< "$output" || { printf 'expected to match %s:\n%s\n' "$pattern" "$output"; return 1; }
}

# mounted TARGET: whether a blob was mounted into the repository, by the access log of Berth.
mounted() { wait_until 5 grep -qE "POST /v2/$1/blobs/uploads/\?[^ ]*mount=[^ ]* HTTP/[0-9.]+\" 201 " "$work/berth.log"; }

# What is seen of a wrong password, of a known user's refusal, and of somebody who has to log in.
wrong='the user name or the password is wrong|incorrect username or password|invalid username/password'
denied='bob may not (push|pull)'
# The second half are clients' own words.
login='authentication is required|is not for everybody: log in|no basic auth credentials|basic credential not found'

# drive CLIENT: the same steps for every client, by its functions login, push, pull and copy.
#   sign_in_CLIENT USER PASSWORD    push_CLIENT IMAGE    pull_CLIENT IMAGE    copy_CLIENT FROM TO
drive() {
    local name=$1 user
    as alice
    check "$name: a wrong password is refused and said to be wrong" refused_saying "$wrong" "sign_in_$name" alice wrong || true
    for user in alice bob; do
        as "$user"
        check "$name: $user logs in" "sign_in_$name" "$user" "${password[$user]}" || return 0
    done
    as alice
    check "$name: alice pushes to her own" "push_$name" "alice/$name:one" || return 0
    check "$name: alice pulls it" "pull_$name" "alice/$name:one"
    check "$name: alice copies it to what is public" "copy_$name" "alice/$name:one" "public/$name:one"
    check "$name: alice copies it to the team's" "copy_$name" "alice/$name:one" "team/$name:one"
    as bob
    check "$name: bob pulls what is the team's" "pull_$name" "team/$name:one"
    check "$name: bob copies it to his own" "copy_$name" "team/$name:one" "bob/$name:one"
    check "$name: bob may not push to the team's, and is told so" refused_saying "$denied" "push_$name" "team/$name:two"
    check "$name: bob may not pull alice's, and is told so" refused_saying "$denied" "pull_$name" "alice/$name:one"
    as nobody
    if [ "$way-$name" = htpasswd-docker ]; then
        # This engine does not go on without a password once a registry has asked for one.
        check "$name: wants a login even for what is public" refused_saying "$login" "pull_$name" "public/$name:one"
    else
        check "$name: nobody in particular pulls what is public" "pull_$name" "public/$name:one"
    fi
    check "$name: and has to log in for the rest" refused_saying "$login" "pull_$name" "alice/$name:one"
    check "$name: and for pushing" refused_saying "$login" "push_$name" "public/$name:two"
}

client_curl() {
    # What it shows is about passwords and the token server in the binary.
    [ "$way" != external ] || return 0
    local base=http://$registry digest status token
    as alice
    ask() { curl -s -o "$work/body" -w '%{http_code}' --max-time 30 "$@"; }
    head -c 10000 /dev/urandom > "$work/blob"
    digest=$(sha256_of "$work/blob")
    local alice=(-u "alice:${password[alice]}") bob=(-u "bob:${password[bob]}") octets='Content-Type: application/octet-stream'
    for target in alice/curl team/curl; do
        check "curl: alice pushes a blob to $target" same 201 "$(ask "${alice[@]}" -X POST -H "$octets" \
            --data-binary "@$work/blob" "$base/v2/$target/blobs/uploads/?digest=$digest")"
    done
    check "curl: bob mounts what he may pull" same 201 \
        "$(ask "${bob[@]}" -X POST "$base/v2/bob/curl/blobs/uploads/?mount=$digest&from=team/curl")"
    check "curl: bob mounts nothing that he may not pull" same 202 \
        "$(ask "${bob[@]}" -X POST "$base/v2/bob/other/blobs/uploads/?mount=$digest&from=alice/curl")"
    [ "$way" = token ] || return 0
    check "curl: a token by GET" eval 'same 200 "$(ask "${bob[@]}" "$base/auth/token?service=registry&scope=repository:team/curl:pull,push&offline_token=true")" &&
        same "repository:team/curl:pull" "$(jq -r .scope "$work/body")"'
    token=$(jq -r .token "$work/body")
    check "curl: opens what it lists" same 200 "$(ask -H "Authorization: Bearer $token" "$base/v2/team/curl/blobs/$digest")"
    check "curl: and no more" same 401 "$(ask -H "Authorization: Bearer $token" "$base/v2/bob/curl/blobs/$digest")"
    check "curl: a token by a form, with the refresh token" eval 'ask "${bob[@]}" "$base/auth/token?offline_token=true" &&
        same 200 "$(ask "$base/auth/token" -d grant_type=refresh_token -d service=registry -d client_id=curl \
            --data-urlencode "refresh_token=$(jq -r .refresh_token "$work/body")" -d scope=repository:bob/curl:pull)"'
    token=$("$BERTH_BIN" token mint --key "$work/config-token.yml" --user bob --scope repository:team/curl:pull --expires 1h)
    check "curl: a token minted by hand" same 200 "$(ask -H "Authorization: Bearer $token" "$base/v2/team/curl/blobs/$digest")"
    check "registry token inspect says that it is taken" "$BERTH_BIN" token inspect "$token" "$work/config-token.yml"
    check "registry token inspect says why another is not" refused_saying 'expired|meant for another service' \
        "$BERTH_BIN" token inspect "$("$BERTH_BIN" token mint --key "$work/token-key.pem" --service other)" "$work/config-token.yml"
}

client_crane() {
    has crane || return 0
    sign_in_crane() { crane auth login "$registry" -u "$1" -p "$2" && crane catalog "$registry"; }
    push_crane() { make_layer "$work/crane.tar" 16 && crane append -f "$work/crane.tar" -t "$registry/$1"; }
    pull_crane() { crane pull "$registry/$1" "$work/crane-pulled.tar"; }
    copy_crane() { crane copy "$registry/$1" "$registry/$2"; }
    drive crane
    check "crane: its copies were mounted" mounted public/crane
    # With a token server of somebody else's and no rules, whoever may see the catalog sees all of it.
    [ "$way" = external ] || client_crane_catalog
    as alice
    check "crane: alice deletes" eval 'crane delete "$registry/alice/crane@$(crane digest "$registry/alice/crane:one")"'
}

client_crane_catalog() {
    as alice
    check "crane: the catalog shows what alice may pull" eval 'output_contains team/crane crane catalog "$registry" &&
        output_lacks bob/crane crane catalog "$registry"'
    as bob
    check "crane: and what bob may" eval 'output_contains bob/crane crane catalog "$registry" &&
        output_lacks alice/crane crane catalog "$registry"'
}

# An image below $work/dir-image, for clients that push from a directory.
image_directory() {
    [ -e "$work/dir-image" ] && return
    make_layer "$work/image.tar" 16
    crane append -f "$work/image.tar" -o "$work/image-docker.tar" -t example.org/image:one
    skopeo --insecure-policy copy "docker-archive:$work/image-docker.tar" "dir:$work/dir-image"
}

client_skopeo() {
    has skopeo crane || return 0
    local plain=(--insecure-policy) to=--dest-tls-verify=false from=--src-tls-verify=false
    image_directory > /dev/null 2>&1
    sign_in_skopeo() { skopeo login --tls-verify=false -u "$1" --password-stdin "$registry" <<< "$2"; }
    push_skopeo() { skopeo "${plain[@]}" copy "$to" "dir:$work/dir-image" "docker://$registry/$1"; }
    pull_skopeo() { rm -rf "$work/skopeo"; skopeo "${plain[@]}" copy "$from" "docker://$registry/$1" "dir:$work/skopeo"; }
    copy_skopeo() { skopeo "${plain[@]}" copy "$from" "$to" "docker://$registry/$1" "docker://$registry/$2"; }
    drive skopeo
    check "skopeo: its copies were mounted" mounted public/skopeo
}

client_regctl() {
    has regctl crane || return 0
    sign_in_regctl() { regctl registry set --tls disabled "$registry" --skip-check && regctl registry login "$registry" -u "$1" --pass-stdin <<< "$2"; }
    push_regctl() {
        head -c 10000 /dev/urandom > "$work/regctl-content"
        regctl registry set --tls disabled "$registry" --skip-check
        regctl artifact put --artifact-type application/example.thing -f "$work/regctl-content" "$registry/$1"
    }
    # It tells the status, not what the token server says.
    local wrong=unauthorized login=unauthorized
    pull_regctl() { regctl registry set --tls disabled "$registry" --skip-check; regctl artifact get "$registry/$1" > "$work/regctl-pulled"; }
    copy_regctl() { regctl image copy "$registry/$1" "$registry/$2"; }
    drive regctl
    check "regctl: its copies were mounted" mounted public/regctl
}

client_oras() {
    has oras || return 0
    sign_in_oras() { oras login --plain-http -u "$1" --password-stdin "$registry" <<< "$2"; }
    push_oras() { (cd "$work" && head -c 10000 /dev/urandom > oras-content && oras push --plain-http "$registry/$1" oras-content); }
    pull_oras() { oras pull --plain-http -o "$work/oras-pulled" "$registry/$1"; }
    copy_oras() { oras cp --from-plain-http --to-plain-http "$registry/$1" "$registry/$2"; }
    drive oras
    check "oras: its copies were mounted" mounted public/oras
}

client_helm() {
    has helm || return 0
    mkdir -p "$work/helm"
    [ -e "$work/helm/chart" ] || (cd "$work/helm" && helm create chart > /dev/null)
    sign_in_helm() { helm registry login --plain-http -u "$1" --password-stdin "$registry" <<< "$2"; }
    # A chart's repository ends with its name, its tag is its version.
    push_helm() {
        sed -i "s/^name:.*/name: helm/" "$work/helm/chart/Chart.yaml"
        (cd "$work/helm" && helm package chart --version "1.0.0-${1#*:}" && helm push "helm-1.0.0-${1#*:}.tgz" "oci://$registry/${1%/*}" --plain-http)
    }
    pull_helm() { rm -rf "$work/helm/pulled" && helm pull "oci://$registry/${1%:*}" --version "1.0.0-${1#*:}" --plain-http -d "$work/helm/pulled" --untar --untardir "$work/helm/pulled"; }
    copy_helm() { push_helm "$2"; }
    drive helm
}

client_podman() {
    has podman crane || return 0
    local no_tls=--tls-verify=false
    local podman=(podman --runtime runc --root "$work/podman" --runroot "$XDG_RUNTIME_DIR/podman" --storage-driver vfs
        --cgroup-manager cgroupfs --tmpdir "$XDG_RUNTIME_DIR/podman-tmp")
    make_layer "$work/podman.tar" 16
    sign_in_podman() { "${podman[@]}" login "$no_tls" -u "$1" --password-stdin "$registry" <<< "$2"; }
    push_podman() { "${podman[@]}" import "$work/podman.tar" "$registry/$1" && "${podman[@]}" push "$no_tls" "$registry/$1"; }
    pull_podman() { "${podman[@]}" rmi -fa; "${podman[@]}" pull "$no_tls" "$registry/$1"; }
    copy_podman() { "${podman[@]}" pull "$no_tls" "$registry/$1" && "${podman[@]}" tag "$registry/$1" "$registry/$2" && "${podman[@]}" push "$no_tls" "$registry/$2"; }
    drive podman
    as alice
    check "podman: logs out" eval '"${podman[@]}" logout "$registry" && refuses pull_podman alice/podman:one'
}

client_buildah() {
    has buildah || return 0
    local buildah=(buildah --root "$work/buildah" --runroot "$XDG_RUNTIME_DIR/buildah" --storage-driver vfs) no_tls=--tls-verify=false
    mkdir -p "$work/build"
    sign_in_buildah() { "${buildah[@]}" login "$no_tls" -u "$1" --password-stdin "$registry" <<< "$2"; }
    push_buildah() {
        head -c 10000 /dev/urandom > "$work/build/content"
        printf 'FROM scratch\nADD content /\n' > "$work/build/Containerfile"
        "${buildah[@]}" bud --isolation chroot -t "$registry/$1" "$work/build" && "${buildah[@]}" push "$no_tls" "$registry/$1"
    }
    pull_buildah() { "${buildah[@]}" rmi -fa; "${buildah[@]}" pull "$no_tls" "$registry/$1"; }
    copy_buildah() { "${buildah[@]}" pull "$no_tls" "$registry/$1" && "${buildah[@]}" tag "$registry/$1" "$registry/$2" && "${buildah[@]}" push "$no_tls" "$registry/$2"; }
    drive buildah
}

client_docker() {
    has docker dockerd containerd || return 0
    [ -n "${docker_engine:-}" ] || {
        start_containerd docker-containerd "$(command -v containerd)" || true
        check "docker: start the engine" start_docker docker-engine "$(command -v dockerd)" --containerd "$containerd_socket" || return 0
        docker_engine=$DOCKER_HOST
    }
    DOCKER_HOST=$docker_engine drive_engine docker
    check "docker: its copies were mounted" mounted public/docker
}

client_docker_containerd() {
    local PATH=$cache/engine:$PATH   # As in engines.sh.
    has docker "$cache/engine/dockerd" "$cache/engine/containerd" || return 0
    [ -n "${new_docker_engine:-}" ] || {
        start_containerd new-containerd "$cache/engine/containerd" || true
        check "docker, containerd store: start the engine" start_docker new-engine "$cache/engine/dockerd" \
            --containerd "$containerd_socket" --feature containerd-snapshotter=true --feature time-namespaces=false || return 0
        new_docker_engine=$DOCKER_HOST
    }
    DOCKER_HOST=$new_docker_engine drive_engine docker_containerd
}

# drive_engine NAME: the steps with the engine that DOCKER_HOST names.
drive_engine() {
    export DOCKER_HOST
    # The engine's own words for a request without a login.
    local login="$login|may require ('docker login'|authorization)|requested access to the resource is denied"
    [ "$way" != htpasswd ] || local wrong='401 Unauthorized'
    eval "sign_in_$1() { docker login -u \"\$1\" --password-stdin \"\$registry\" <<< \"\$2\"; }
        push_$1() { make_layer \"\$work/docker.tar\" 16 && docker import \"\$work/docker.tar\" \"\$registry/\$1\" && docker push \"\$registry/\$1\"; }
        pull_$1() { docker rmi -f \"\$registry/\$1\"; docker pull \"\$registry/\$1\"; }
        copy_$1() { docker pull \"\$registry/\$1\" && docker tag \"\$registry/\$1\" \"\$registry/\$2\" && docker push \"\$registry/\$2\"; }"
    drive "$1"
    if [ "$way" = token ]; then
        as alice
        check "$1: keeps a refresh token, not the password" jq -e --arg at "$registry" '.auths[$at].identitytoken' "$DOCKER_CONFIG/config.json"
    fi
}

# The token server of somebody else's, at $external_server.
start_external() {
    local user people=()
    for user in alice bob; do people+=("$user:${password[$user]}"); done
    mkdir -p "$work/keys"
    python3 "$root/conformance/tokens.py" make "$work/keys"
    # By a name, because crane takes no token server on loopback by its number.
    grep -q ' tokens.berth.test$' /etc/hosts || {
        printf '127.0.0.1 tokens.berth.test\n' >> /etc/hosts
        at_exit+=("sed '/ tokens.berth.test\$/d' /etc/hosts > '$work/hosts' && cat '$work/hosts' > /etc/hosts")
    }
    external_server=tokens.berth.test:$(free_port)
    start external python3 "$root/conformance/tokens.py" serve "$work/keys" "${external_server#*:}" "${people[@]}"
    wait_until 10 curl -s -o "$work/body" "http://$external_server/token"
    # It says no more than that, and the clients say it in their own words.
    wrong="$wrong|401|[Uu]nauthorized" denied="$denied|[Uu]nauthorized|401|denied|the token does not allow this"
    login="$login|[Uu]nauthorized|401|denied|the token does not allow this"
}

for way in "${ways[@]}"; do
    [ "$way" != external ] || start_external
    write_auth_config "$way"
    : > "$work/berth.log"
    start_berth "$work/config-$way.yml" "$work/data-$way"
    process_of_berth=$process
    registry=$address
    for client in "${clients[@]}"; do
        declare -F "client_$client" > /dev/null || die "there is no client '$client'"
        title "$way: $client"
        begun=$SECONDS
        "client_$client" || true
        say "      $((SECONDS - begun)) s"
        gone "$process_of_berth" && { tail -n 40 "$work/berth.log" >&2; die "Berth ended while $client was at work; its log ends above"; }
    done
    stop "$process_of_berth"
done
finish
