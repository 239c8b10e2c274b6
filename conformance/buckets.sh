#!/usr/bin/env bash
# Runs the driver's contract, which `cargo test` runs over servers in the test's own process, on object stores that others
# wrote.
#
#   conformance/buckets.sh [garage|minio|versity...]     (default: all three)
#
# conformance/install.sh stores installs them.
set -euo pipefail
# shellcheck source=conformance/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=conformance/checks.sh
source "$root/conformance/checks.sh"
# shellcheck source=conformance/stores.sh
source "$root/conformance/stores.sh"

stores=("$@")
[ "$#" -gt 0 ] || stores=(garage minio versity)

program_of() { case $1 in versity) printf versitygw ;; *) printf '%s' "$1" ;; esac; }

# The contract's test program; building it is not part of any store's check.
say "building the contract"
contract=$(cargo test --manifest-path "$root/Cargo.toml" --locked --lib --no-run --message-format json-render-diagnostics \
    | jq -r 'select(.reason == "compiler-artifact" and .target.kind == ["lib"] and .profile.test).executable')
[ -x "${contract:-}" ] || die "the contract was not built"

# passes: the contract passes on the running store, and there was one.
passes() {
    BERTH_S3_ENDPOINT=$ENDPOINT BERTH_S3_BUCKET=$BUCKET BERTH_S3_ACCESS_KEY=$ACCESS_KEY BERTH_S3_SECRET_KEY=$SECRET_KEY \
        BERTH_S3_REGION=$REGION "$contract" --ignored real_bucket > "$work/contract.log" 2>&1 \
        || { grep -E '^(test .* FAILED|thread|assertion|  (left|right))|panicked' "$work/contract.log"; tail -n 8 "$work/contract.log"; return 1; }
    grep -E '^test result: ok\. [1-9]' "$work/contract.log" || { say "no clause of the contract was run"; return 1; }
}

for store in "${stores[@]}"; do
    has "$(program_of "$store")" || continue
    title "$store"
    start_store "$store"
    begun=$SECONDS
    check "$store keeps the contract" passes || true
    say "      $(grep -oE '[0-9]+ passed' "$work/contract.log" || true), $((SECONDS - begun)) s"
    stop "$store_process"
done
finish
