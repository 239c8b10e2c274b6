#!/usr/bin/env bash
# Installs what the scripts of conformance/ and benches/ drive: Debian packages, and Go programs at pinned versions into
# conformance/.cache/bin. Quick when everything is there. Prints the time each step took.
#
#   conformance/install.sh [GROUP...]     suite, clients, cosign, engine, new-engine, distribution,
#                                         manifests, stores (default: all)
#
# A program that cannot be had is said at the end; the scripts that need it decide whether that is a failure.
set -euo pipefail
cd "$(dirname "$0")"
bin=$PWD/.cache/bin
mkdir -p "$bin"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
missing=()
groups=("$@")
[ "$#" -gt 0 ] || groups=(suite clients cosign engine new-engine distribution manifests stores)

timed() {
    local name=$1 begun=$SECONDS
    shift
    if "$@" > "$log" 2>&1; then
        printf 'installed %-28s %4d s\n' "$name" $((SECONDS - begun))
    else
        printf 'MISSING   %-28s its installation ended with:\n' "$name"
        tail -n 3 "$log" | sed 's/^/          | /'
        missing+=("$name")
        return 1
    fi
}

# packages COMMAND=PACKAGE...: installs the Debian packages whose command is not there yet.
packages() {
    local pair wanted=()
    for pair in "$@"; do command -v "${pair%%=*}" > /dev/null || wanted+=("${pair#*=}"); done
    [ "${#wanted[@]}" -eq 0 ] || timed "${wanted[*]}" apt_install "${wanted[@]}" || true
}

apt_install() {
    [ -n "$(find /var/lib/apt/lists -name '*_Packages*' -mmin -1440 -print -quit)" ] || apt-get update
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

# A program is up to date when a mark with its version lies beside it.
present() { [ -x "$bin/$1" ] && [ -e "$bin/.$1-$2" ]; }
mark() { rm -f "$bin/.$1-"*; touch "$bin/.$1-$2"; }

# program NAME MODULE/PACKAGE VERSION [GO ARGUMENTS...]: installs one Go program at exactly that version.
program() {
    local name=$1 package=$2 version=$3
    shift 3
    present "$name" "$version" && return
    timed "$name $version" env GOBIN="$bin" GOFLAGS= go install "$@" "$package@$version" && mark "$name" "$version" || true
}

# pinned NAME PACKAGE: builds a program whose version and checksums tools/NAME/go.mod and go.sum pin.
pinned() {
    local name=$1 package=$2 version
    version=$(sha256sum "tools/$name/go.mod" | cut -c1-12)
    present "$name" "$version" && return
    timed "$name" env GOFLAGS= go -C "tools/$name" build -mod=readonly -o "$bin/$name" "$package" \
        && mark "$name" "$version" || true
}

suite() {
    # The suite has no releases: this is its main branch of 2026-07-16.
    # A proxy that refuses it is not the last word, as it is by Go's own setting: its repository serves it as well.
    GOPROXY=$(go env GOPROXY | tr , '|') \
        program conformance github.com/opencontainers/distribution-spec/conformance v0.0.0-20260716174315-967efdc079b9
}

clients() {
    packages skopeo=skopeo podman=podman buildah=buildah crun=crun nginx=nginx-light wrk=wrk openssl=openssl
    program crane github.com/google/go-containerregistry/cmd/crane v0.22.1
    program regctl github.com/regclient/regclient/cmd/regctl v0.11.7
    program helm helm.sh/helm/v3/cmd/helm v3.22.0
    pinned oras oras.land/oras/cmd/oras
    pinned notation github.com/notaryproject/notation/cmd/notation
}

manifests() {
    packages nginx=nginx-light
    pinned manifests .
}

engine() {
    packages dockerd=docker.io containerd=containerd runc=runc busybox=busybox-static
}

# The docker engine that keeps its images in containerd, and the containerd it wants; built without the storage drivers
# that need C libraries. They lie apart so that they do not stand before Debian's programs of the same name.
new_engine() {
    local bin=$bin/../engine
    mkdir -p "$bin"
    bin=$(cd "$bin" && pwd)
    program containerd github.com/containerd/containerd/v2/cmd/containerd v2.4.2 -tags no_btrfs,no_zfs,no_devmapper
    CGO_ENABLED=0 program containerd-shim-runc-v2 github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2 v2.4.2
    CGO_ENABLED=0 program dockerd github.com/moby/moby/v2/cmd/dockerd v2.0.0-beta.24 -tags exclude_graphdriver_btrfs
}

distribution() {
    packages docker-registry=docker-registry
    program registry github.com/distribution/distribution/v3/cmd/registry v3.1.1
}

cosign() {
    program cosign github.com/sigstore/cosign/v2/cmd/cosign v2.6.5
}

# Object stores to test the bucket drivers against. Garage is written in Rust and takes six minutes to build.
stores() {
    packages nginx=nginx-light
    python3 -c 'import ensurepip, venv' 2> /dev/null || timed python3-venv apt_install python3 python3-venv || true
    program minio github.com/minio/minio v0.0.0-20260212201848-7aac2a2c5b7c
    program versitygw github.com/versity/versitygw/cmd/versitygw v1.8.0
    garage_from_source 2.5.0
}

garage_from_source() {
    present garage "$1" && return
    timed "garage $1" env CARGO_TARGET_DIR="$bin/../garage-build" cargo install garage --locked --version "$1" \
        --root "$bin/.." --no-track --force && mark garage "$1" || true
    rm -rf "$bin/../garage-build"
}

packages curl=curl jq=jq sha256sum=coreutils
if ! command -v go > /dev/null; then
    printf 'Go is not installed. Install Go 1.25 or newer; Debian 12 has an older one.\n' >&2
    exit 1
fi
for group in "${groups[@]}"; do
    case $group in
        suite | clients | cosign | engine | distribution | manifests | stores) "$group" ;;
        new-engine) new_engine ;;
        *) printf 'there is no group %s\n' "$group" >&2; exit 2 ;;
    esac
done
if [ "${#missing[@]}" -gt 0 ]; then
    printf 'missing: %s\n' "${missing[*]}"
fi
