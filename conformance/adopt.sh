#!/usr/bin/env bash
# Proves that Berth and CNCF distribution can take over each other's directory, in both directions and with both of
# distribution's major versions: what either wrote, the other serves, lists and deletes, and distribution's own
# garbage-collect keeps everything that is referenced.
#
#   conformance/adopt.sh [2|3...]                        in a directory
#   conformance/adopt.sh --bucket garage|minio           in a bucket of that store, with distribution 3
#
# Needs crane, skopeo, oras, regctl, docker-registry (2.8) and distribution 3; conformance/install.sh installs them.
set -euo pipefail
# shellcheck source=conformance/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=conformance/checks.sh
source "$root/conformance/checks.sh"
# shellcheck source=conformance/stores.sh
source "$root/conformance/stores.sh"

store=
if [ "${1:-}" = --bucket ]; then
    [ "$#" -eq 2 ] || die "usage: conformance/adopt.sh --bucket garage|minio"
    store=$2
    set -- 3
fi
# Before the home changes: cargo looks there for its toolchain.
need_berth
export HOME=$work/home
mkdir -p "$HOME"

# place DATA: makes the bucket of that name, unless it is there, and writes the configuration for it. Everything lies at the
# bucket's root, because distribution 3.1.1 lists nothing below a rootdirectory of a Garage.
place() {
    BUCKET=$(basename "$1")
    [ -e "$work/$BUCKET.made" ] || new_bucket
    touch "$work/$BUCKET.made"
    write_config s3 "$work/bucket.yml"
}

# blobs_in DATA: counts the blobs.
blobs_in() {
    if [ -n "$store" ]; then
        s3_curl GET "/$BUCKET?list-type=2&prefix=docker%2Fregistry%2Fv2%2Fblobs%2F" | grep -o '/data</Key>' | wc -l
    else
        find "$1" -path '*/blobs/*' -name data | wc -l
    fi
}

# serve berth|2|3 DATA: (re)starts that program on the directory or bucket; sets $address.
serving=
serve() {
    [ -z "$serving" ] || stop "$serving"
    [ -z "$store" ] || place "$2"
    case ${store:+bucket-}$1 in
        bucket-berth) start_berth "$work/bucket.yml" ;;
        bucket-*) start_distribution_on "$work/bucket.yml" ;;
        berth) start_berth "$root/conformance/config-filesystem.yml" "$2" ;;
        *) start_distribution "$1" "$2" ;;
    esac
    serving=$process
    regctl registry set --tls disabled "$address" > /dev/null 2>&1 || true
}

# write PREFIX LIST: pushes images, a docker-format one and an index, and appends "REPOSITORY TAG DIGEST" lines.
write() {
    local repository=$1/app tag
    for tag in one two three; do seed "$address/$repository:$tag" 64 || return 1; done
    crane mutate "$address/$repository:one" --set-platform linux/arm64 -t "$address/$repository:arm" || return 1
    crane index append -m "$address/$repository:two" -m "$address/$repository:arm" -t "$address/$repository:index" || return 1
    crane copy "$address/$repository:index" "$address/$1/deep/er/name:index" || return 1
    skopeo --insecure-policy copy --format v2s2 --src-tls-verify=false --dest-tls-verify=false \
        "docker://$address/$repository:one" "docker://$address/$1/docker:schema2" || return 1
    for tag in app:one app:two app:three app:arm app:index deep/er/name:index docker:schema2; do
        printf '%s %s %s\n' "$1/${tag%:*}" "${tag#*:}" "$(crane digest "$address/$1/$tag")" >> "$2"
    done
}

# serves LIST: every image of the list is there by tag and digest, whole, and listed.
serves() {
    local repository tag digest catalog
    catalog=$(crane catalog "$address") || return 1
    while read -r repository tag digest; do
        same "$digest" "$(crane digest "$address/$repository:$tag")" || return 1
        crane validate --remote "$address/$repository@$digest" || return 1
        grep -qx "$tag" <<< "$(crane ls "$address/$repository")" || { say "$repository does not list $tag"; return 1; }
        grep -qx "$repository" <<< "$catalog" || { say "the catalog lacks $repository"; return 1; }
    done < "$1"
}

# removes REPOSITORY TAG LIST: deletes the manifest under a tag by digest; it is gone at once and leaves the list.
removes() {
    local digest
    digest=$(crane digest "$address/$1:$2") || return 1
    crane delete "$address/$1@$digest" || return 1
    refuses crane manifest "$address/$1@$digest" || return 1
    refuses crane manifest "$address/$1:$2" || return 1
    output_lacks "$2" crane ls "$address/$1" || return 1
    grep -v " $digest\$" "$3" > "$work/shorter" || true
    mv "$work/shorter" "$3"
    printf '%s %s %s\n' "$1" "$2" "$digest" >> "$3.gone"
}

# still_gone LIST: nothing that was deleted has come back.
still_gone() {
    local repository tag digest
    while read -r repository tag digest; do
        refuses crane manifest "$address/$repository@$digest" || return 1
        refuses crane manifest "$address/$repository:$tag" || return 1
    done < "$1.gone"
}

# collects VERSION DATA: distribution's garbage-collect, first as a rehearsal, then for good, with no server running.
collects() {
    local program blobs_before blobs_after configuration=$root/conformance/config-distribution.yml
    local directory=(REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY="$data")
    if [ -n "$store" ]; then
        configuration=$work/bucket.yml
        directory=()
    fi
    stop "$serving"
    serving=
    program=$(distribution_program "$1")
    blobs_before=$(blobs_in "$2")
    collect() {
        env OTEL_TRACES_EXPORTER=none "${directory[@]}" "$program" garbage-collect "$@" \
            "$configuration" > "$work/collect.log" 2>&1 || { tail -n 5 "$work/collect.log"; return 1; }
    }
    collect --dry-run || return 1
    same "$blobs_before" "$(blobs_in "$2")" || return 1
    collect || return 1
    blobs_after=$(blobs_in "$2")
    [ "$blobs_after" -lt "$blobs_before" ] || { say "nothing was freed: $blobs_before blobs before and after"; return 1; }
}

# berth_collects DATA [ARGUMENTS...]: Berth's garbage-collect on the directory or bucket.
berth_collects() {
    local data=$1
    shift
    if [ -n "$store" ]; then
        "$BERTH_BIN" garbage-collect --quiet "$@" "$work/bucket.yml"
    else
        REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=$data "$BERTH_BIN" garbage-collect --quiet "$@" "$root/conformance/config-filesystem.yml"
    fi
}

# sees_upload DATA: while an upload of distribution is under way Berth does not collect beside it, and says where it was.
sees_upload() {
    local at said status=0
    at=$(curl -sS -o /dev/null -D - --max-time 30 -X POST "http://$address/v2/theirs/app/blobs/uploads/" \
        | awk 'tolower($1) == "location:" { sub(/\r$/, "", $2); print $2 }')
    case $at in http*) ;; *) at=http://$address$at ;; esac
    said=$(berth_collects "$1" --grace 0s 2>&1) || status=$?
    same 1 "$status" || return 1
    contains theirs/app "$said" && contains --offline "$said" || return 1
    berth_collects "$1" --dry-run || return 1
    same 204 "$(curl -sS -o /dev/null -w '%{http_code}' --max-time 30 -X DELETE "$at")"
}

# Berth's collection of what both wrote, online: nothing that distribution wrote to its end stands in the way.
frees_what_both_wrote() {
    local blobs_before
    blobs_before=$(blobs_in "$1")
    berth_collects "$1" -m --grace 0s --settle 0s || return 1
    [ "$(blobs_in "$1")" -lt "$blobs_before" ] || { say "nothing was freed: $blobs_before blobs before and after"; return 1; }
}

# adds_more LIST: what distribution does not know and Berth writes beside it: a referrer and a sha512 image.
adds_more() {
    local image=$address/more/app
    seed "$image:one" 32 || return 1
    printf 'note\n' > "$work/note"
    (cd "$work" && oras attach --plain-http --distribution-spec v1.1-referrers-api --artifact-type application/example.note \
        "$image:one" note:text/plain) || return 1
    regctl image mod "$image:one" --digest-algo sha512 --create "$image:sha512" || return 1
    printf 'more/app one %s\n' "$(crane digest "$image:one")" >> "$1"
}

refers() {
    output_contains application/example.note oras discover --plain-http --distribution-spec v1.1-referrers-api "$address/more/app:one"
}

# both_ways VERSION: distribution's directory under Berth and back again, with collections between.
both_ways() {
    local version=$1 name="distribution $1" list=$work/list-$1 data=$work/data-$1
    title "$name wrote first"
    : > "$list"; : > "$list.gone"
    serve "$version" "$data"
    check "$name writes" write theirs "$list" || return 0
    check "$name attaches a referrer through its fallback tag" eval 'printf "old\n" > "$work/old" && cd "$work" &&
        oras attach --plain-http --artifact-type application/example.old "$address/theirs/app:one" old:text/plain'
    check "$name deletes" removes theirs/app three "$list"
    serve berth "$data"
    check "Berth serves and lists it" serves "$list"
    check "Berth keeps the deleted away" still_gone "$list"
    check "Berth's referrers know the fallback tag's" output_contains application/example.old \
        oras discover --plain-http --distribution-spec v1.1-referrers-api "$address/theirs/app:one"
    check "Berth deletes it" removes theirs/docker schema2 "$list"
    check "Berth writes beside it" write ours "$list"
    check "Berth mounts and tags what was there" eval 'crane copy "$address/theirs/app:two" "$address/ours/mounted:two" &&
        printf "ours/mounted two %s\n" "$(crane digest "$address/ours/mounted:two")" >> "$list"'
    serve "$version" "$data"
    check "$name serves and lists what both wrote" serves "$list"
    check "$name keeps the deleted away" still_gone "$list"
    check "$name deletes Berth's" removes ours/app three "$list"
    check "$name collects" collects "$version" "$data"
    serve "$version" "$data"
    check "$name serves everything after its collection" serves "$list"
    check "Berth does not collect while $name takes an upload" sees_upload "$data"
    serve berth "$data"
    check "Berth serves everything after that collection" serves "$list"
    check "Berth writes what was collected again" eval 'seed "$address/ours/app:again" 64 && crane validate --remote "$address/ours/app:again"'
    check "Berth deletes what $name wrote" removes theirs/app one "$list"
    check "Berth collects beside itself what both wrote" frees_what_both_wrote "$data"
    check "Berth serves everything after its own collection" serves "$list"

    title "Berth wrote first, for $name"
    list=$work/fresh-$version data=$work/fresh-data-$version
    : > "$list"; : > "$list.gone"
    serve berth "$data"
    check "Berth writes" write first "$list" || return 0
    check "Berth writes a referrer and a sha512 image" adds_more "$list"
    check "Berth deletes" removes first/app three "$list"
    serve "$version" "$data"
    check "$name serves and lists it" serves "$list"
    check "$name keeps the deleted away" still_gone "$list"
    check "$name deletes it" removes first/docker schema2 "$list"
    check "$name writes beside it" write second "$list"
    check "$name deletes its own" removes second/app three "$list"
    check "$name collects beside Berth's additions" collects "$version" "$data"
    serve berth "$data"
    check "Berth serves everything after that collection" serves "$list"
    check "Berth keeps the deleted away" still_gone "$list"
    check "Berth still knows its referrer" refers
}

has crane skopeo oras regctl || { finish; exit; }
[ -z "$store" ] || start_store "$store"
versions=("$@")
[ "$#" -gt 0 ] || versions=(2 3)
for version in "${versions[@]}"; do
    has "$(distribution_program "$version")" && { both_ways "$version" || true; }
done
finish
