#!/usr/bin/env bash
# Shows the same tokens to Berth and to distribution 2.8 and 3, all with the same keys, and compares what they say; then lets
# oras log in, push and pull through external token servers: one that answers as the console of LAIN does, and docker_auth.
#
#   conformance/tokens.sh
#
# What either distribution accepts Berth must accept, and what both refuse it must refuse; tokens-allowed.txt lists where not,
# and why. What only distribution 3 or only 2.8 refuses is told at the end.
#
#   BERTH_BIN, KEEP_WORK     see lib.sh
#   DOCKER_AUTH              the program of github.com/cesanta/docker_auth, if it is not called auth_server
set -euo pipefail
# shellcheck source=conformance/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=conformance/checks.sh
source "$root/conformance/checks.sh"

has openssl python3 || finish
keys=$work/keys
mkdir "$keys"
python3 "$root/conformance/tokens.py" make "$keys"

# settings REALM: the configuration of every server here.
settings() {
    cat << YAML
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {inmemory: {}, delete: {enabled: true}}
http: {addr: '127.0.0.1:5000', secret: not-a-secret}
auth:
  token:
    realm: $1
    service: registry.test
    issuer: auth server
    rootcertbundle: $2
YAML
}

# serve NAME CONFIG PROGRAM: starts a registry and sets $address.
serve() {
    address=127.0.0.1:$(free_port)
    start "$1" env OTEL_TRACES_EXPORTER=none REGISTRY_HTTP_ADDR="$address" "$3" serve "$2"
    ready "$1" "http://$address/v2/" "$process"
}

# verdict ADDRESS TOKEN: whether it opens the list of tags of a repository that does not exist, or what else came of it.
verdict() {
    local status
    status=$(curl -s -o /dev/null -w '%{http_code}' --max-time 10 -H "Authorization: Bearer $2" "http://$1/v2/a/b/tags/list")
    case $status in
        200 | 404) printf accepts ;;
        400 | 401) printf refuses ;;
        *) printf 'answers %s' "$status" ;;
    esac
}

allowed() {
    local does pattern why
    while IFS=$'\t' read -r does pattern why; do
        # The pattern is one on purpose.
        # shellcheck disable=SC2053
        case $does in \#* | '') ;; "$1") if [[ $2 == $pattern ]]; then return 0; fi ;; esac
    done < "$root/conformance/tokens-allowed.txt"
    return 1
}

agrees() {
    local ours=$1 second=$2 third=$3 name=$4 wanted
    if [ "$second" = accepts ] || [ "$third" = accepts ]; then wanted=accepts; else wanted=refuses; fi
    [ "$ours" = "$wanted" ] || allowed "$ours" "$name" \
        || { printf 'Berth %s, distribution 2.8 %s, distribution 3 %s\n' "$ours" "$second" "$third"; return 1; }
}

title "the same tokens"
need_berth
settings https://auth.test/token "$keys/bundle.pem" > "$work/config.yml"
serve berth "$work/config.yml" "$BERTH_BIN"
berth=$address
if has docker-registry registry; then
    serve distribution2 "$work/config.yml" "$(distribution_program 2)"
    two=$address
    serve distribution3 "$work/config.yml" "$(distribution_program 3)"
    three=$address
    only_two=() only_three=() neither=()
    while IFS=$'\t' read -r name meant token; do
        ours=$(verdict "$berth" "$token") second=$(verdict "$two" "$token") third=$(verdict "$three" "$token")
        check "$meant: $name" agrees "$ours" "$second" "$third" "$name" || true
        if [ "$meant" = good ] && [ "$ours" = accepts ]; then
            case $second-$third in
                accepts-refuses) only_two+=("$name") ;;
                refuses-accepts) only_three+=("$name") ;;
                refuses-refuses) neither+=("$name") ;;
            esac
        fi
    done < "$keys/tokens.tsv"
    say ''
    say "accepted here and by 2.8 alone: ${#only_two[@]}; here and by 3 alone: ${#only_three[@]}; here alone: ${#neither[@]}"
    printf '  2.8: %s\n' "${only_two[@]}"
    printf '  3:   %s\n' "${only_three[@]}"
    [ "${#neither[@]}" -eq 0 ] || printf '  here: %s\n' "${neither[@]}"
fi

# As a person with oras, who has a file for credentials of their own. (crane takes no token server on loopback.)
as_nobody() { export DOCKER_CONFIG=$work/docker-$1; mkdir -p "$DOCKER_CONFIG"; printf '{}' > "$DOCKER_CONFIG/config.json"; }
login() { oras login --plain-http "$address" -u "$1" --password-stdin <<< "$2"; }
push() { (cd "$work" && oras push --plain-http "$address/$1" layer.tar); }
pull() { (rm -rf "$work/pulled" && oras pull --plain-http "$address/$1" -o "$work/pulled" && cmp "$work/layer.tar" "$work/pulled/layer.tar"); }
# The answer to a refusal must tell a person what it is about.
refused() { local said; if said=$("$@" 2>&1); then printf 'succeeded: %s\n' "$*"; return 1; fi; grep -qiE 'denied|unauthorized|not allow|401' <<< "$said" || { printf '%s\n' "$said"; return 1; }; }

# The bcrypt hash of a password.
hash_of() { "$BERTH_BIN" user add "$work/htpasswd-$RANDOM" x <<< "$1" > /dev/null 2>&1; cut -d: -f2 "$work"/htpasswd-*; rm "$work"/htpasswd-*; }

# log_in_push_and_pull USER PASSWORD: with the server at $address and whatever token server it names.
log_in_push_and_pull() {
    make_layer "$work/layer.tar" 64
    as_nobody "$1"
    check "a wrong password is refused" refused login "$1" wrong || true
    check "without a login nothing is pushed" refused push a/b:1 || true
    check "login" login "$1" "$2" || true
    check "push" push a/b:1 || true
    check "pull" pull a/b:1 || true
    check "copy into another repository" oras cp --from-plain-http --to-plain-http "$address/a/b:1" "$address/a/c:1" || true
}

title "a token server like the console of LAIN"
if has oras; then
    console=127.0.0.1:$(free_port)
    start console python3 "$root/conformance/tokens.py" serve "$keys" "${console#*:}"
    ready console "http://$console/" "$process"
    settings "http://$console/api/v1/authorize/registry/" "$keys/rsa.pem" > "$work/console.yml"
    serve berth-console "$work/console.yml" "$BERTH_BIN"
    log_in_push_and_pull lain lain
    as_nobody nobody
    check "anybody pulls" pull a/b:1 || true
    check "not anybody pushes" refused push a/b:2 || true
fi

title "docker_auth"
docker_auth=${DOCKER_AUTH:-auth_server}
if ! command -v "$docker_auth" > /dev/null; then
    skip "docker_auth is not installed: go has no module of it; build its auth_server and name it in DOCKER_AUTH"
elif has oras; then
    auth=127.0.0.1:$(free_port)
    cat > "$work/docker_auth.yml" << YAML
server: {addr: '$auth'}
token: {issuer: auth server, expiration: 900, certificate: $keys/rsa.pem, key: $keys/rsa.key}
users:
  alice: {password: '$(hash_of secret)'}
  bob: {password: '$(hash_of secret)'}
acl:
  - {match: {account: alice}, actions: ['*']}
  - {match: {account: bob}, actions: [pull]}
YAML
    start docker_auth "$docker_auth" "$work/docker_auth.yml"
    ready docker_auth "http://$auth/" "$process"
    settings "http://$auth/auth" "$keys/rsa.pem" > "$work/docker_auth_berth.yml"
    serve berth-docker-auth "$work/docker_auth_berth.yml" "$BERTH_BIN"
    log_in_push_and_pull alice secret
    as_nobody bob
    check "bob logs in" login bob secret || true
    check "bob pulls" pull a/b:1 || true
    check "bob does not push" refused push a/b:2 || true
fi

finish
