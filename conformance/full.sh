#!/usr/bin/env bash
# Fills the disk under Berth and frees it again: pushes are refused with 507 and an OCI error, pulls go on, what was
# acknowledged stays whole, and pushes work again without a restart.
#
#   conformance/full.sh
#
# Needs to be root: the disk is a small tmpfs. BERTH_BIN, KEEP_WORK: see lib.sh.
set -euo pipefail
# shellcheck source=conformance/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need_berth
disk=$work/disk
mkdir "$disk"
mount -t tmpfs -o size=24m tmpfs "$disk" || die "a tmpfs cannot be mounted here; run this as root"
at_exit+=("umount -l '$disk'")
start_berth "$root/conformance/config-filesystem.yml" "$disk/registry"
base=http://$address/v2/full

# push FILE: pushes it as one blob and prints the status; the answer lies in $work/answer.
push() {
    curl -s -o "$work/answer" -w '%{http_code}' -X POST -H 'Content-Type: application/octet-stream' \
        --data-binary "@$1" "$base/blobs/uploads/?digest=$(sha256_of "$1")"
}

passed=0
check() {
    local name=$1
    shift
    "$@" || die "FAIL  $name"
    say "ok    $name"
    passed=$((passed + 1))
}
pulls() { curl -sf "$base/blobs/$(sha256_of "$1")" | cmp -s - "$1"; }
refused() { [ "$1" = 507 ] && jq -e '.errors[0].code and .errors[0].message' "$work/answer" > /dev/null; }

blob=$work/blob kept=()
for number in $(seq 40); do
    head -c 1000000 /dev/urandom > "$blob.$number"
    status=$(push "$blob.$number")
    if [ "$status" != 201 ]; then break; fi
    kept+=("$blob.$number")
done
check "the disk filled after ${#kept[@]} blobs" [ "${#kept[@]}" -gt 10 ]
check "the push that did not fit was answered with 507 and an error" refused "$status"
check "an empty upload session can still be asked for" \
    [ "$(curl -s -o /dev/null -w '%{http_code}' -X POST "$base/blobs/uploads/")" = 202 ]
for file in "${kept[@]}"; do pulls "$file" || die "an acknowledged blob is not whole"; done
check "every acknowledged blob can be pulled" true
check "the blob that was refused is not there" \
    [ "$(curl -s -o /dev/null -w '%{http_code}' "$base/blobs/$(sha256_of "$blob.$number")")" = 404 ]
check "nothing of it is left on the disk" \
    [ -z "$(find "$disk/registry" -name '*.tmp' -o -path '*_uploads/*' -name data)" ]
mount -o remount,size=64m "$disk"
check "with room again the same push succeeds without a restart" [ "$(push "$blob.$number")" = 201 ]
check "and can be pulled" pulls "$blob.$number"
stop "$process"
printf '\n%d passed, 0 failed\n' "$passed"
