#!/usr/bin/env bash
# Runs the official OCI distribution conformance suite against Berth: once for specification 1.1, once for its main
# branch ("dev"), and once for dev with sparse manifests.
#
#   conformance/run.sh [filesystem|memory|s3|oss] [--auth htpasswd|token]
#
# With --auth the suite has to log in: by password alone, or by the token server in the binary, with access rules.
# s3 runs on Garage unless STORE names minio, versity or s3 (the server of tests/peers); oss runs on the server of
# tests/peers. Redirects are off, since the suite wants to be answered by the registry.
#
# Exit status: 0 when every check passed, 1 when one FAILed, ended in an Error or was Skipped and allowed.txt does not
# name it, 3 when the suite itself is not installed. Reports are kept in conformance/results/DRIVER[-AUTH]/RUN.
#
#   BERTH_BIN         the registry under test (default: the release binary, built if need be)
#   BERTH_ADDRESS     test a registry that already runs there instead, as ip:port
#   OCI_SUITE         the suite's program (default: what conformance/install.sh installed, or oci-conformance on the PATH)
set -euo pipefail
# shellcheck source=conformance/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

driver=filesystem auth=
while [ "$#" -gt 0 ]; do
    case $1 in
        --auth) auth=${2:-}; shift ;;
        *) driver=$1 ;;
    esac
    shift
done
case $auth in '' | htpasswd | token) ;; *) die "--auth takes htpasswd or token" ;; esac
# The name that reports are kept by.
label=$driver${auth:+-$auth}
config=$root/conformance/config-$driver.yml
case $driver in
    s3 | oss)
        # shellcheck source=conformance/stores.sh
        source "$root/conformance/stores.sh"
        [ -n "${BERTH_ADDRESS:-}" ] || { need_berth; start_store "$(store_for "$driver")"; }
        ;;
    # A registry that already runs, under the name that its reports are kept by.
    cluster) [ -n "${BERTH_ADDRESS:-}" ] || die "name the cluster's address in BERTH_ADDRESS" ;;
    *) [ -f "$config" ] || die "there is no driver '$driver': $config does not exist" ;;
esac

suite=${OCI_SUITE:-$cache/bin/conformance}
[ -x "$suite" ] || suite=$(command -v oci-conformance || printf %s "$suite")
if [ ! -x "$suite" ]; then
    say "NOT RUN: the official suite is not installed at $suite." >&2
    say "conformance/install.sh installs it where Go's module proxy serves it; otherwise name a build in OCI_SUITE." >&2
    exit 3
fi

# with_auth CONFIG: prints the name of a configuration that asks for a password, in which a stranger may do nothing, the
# suite's user everything, and rules are asked each time.
with_auth() {
    local users=$work/htpasswd guarded=$work/config-$auth.yml
    [ -e "$users" ] || "$BERTH_BIN" user add "$users" conformance <<< wonderland > /dev/null 2>&1
    {
        cat "$1"
        printf 'auth:\n  htpasswd: {realm: registry, path: %s}\n' "$users"
        [ "$auth" != token ] || printf '  token: {server: {key: %s}}\n' "$work/token-key.pem"
        printf '  access:\n    - {who: ["user:conformance"], repositories: ["**"], actions: ["*"]}\n'
    } > "$guarded"
    printf %s "$guarded"
}

# Reads the suite's report; prints the outcomes of its leaf tests that are no Pass, one "STATUS<TAB>NAME" a line.
outcomes() {
    awk '
        match($0, /^ *OCI Conformance Test.*: (Pass|Skip|FAIL|Error|Disabled|Unknown)$/) {
            depth = match($0, /[^ ]/)
            if (pending != "" && depth <= previous) print pending
            status = $NF
            name = $0
            sub(/^ */, "", name)
            sub(/: [A-Za-z]+$/, "", name)
            pending = (status == "Pass" || status == "Disabled") ? "" : status "\t" name
            previous = depth
        }
        END { if (pending != "") print pending }
    ' "$1"
}

# not_allowed RUN: keeps those lines of outcomes that allowed.txt does not account for.
not_allowed() {
    awk -v run="$1" -F '\t' '
        NR == FNR {
            if ($0 !~ /^#/ && split($0, word, " ") > 2 && word[1] == run) {
                name = $0
                sub(/^[^ ]+ [^ ]+ /, "", name)
                allowance[name] = word[2]
            }
            next
        }
        { if (allowance[$2] > 0) allowance[$2]--; else print }
    ' "$root/conformance/allowed.txt" -
}

count() { awk -v word="$2" '$1 ~ "^" word "\\.+:$" { print $2; exit }' "$1"; }

status=0
table=$(printf '%-19s %-10s %6s %6s %6s %6s %s' driver run pass fail error skip verdict)

# run NAME VERSION SPARSE: a fresh registry, one run of the suite, one line of the table.
run() {
    local name=$1 results=$root/conformance/results/$label/$1 verdict=ok target=${BERTH_ADDRESS:-}
    rm -rf "$results"
    mkdir -p "$results"
    if [ -z "$target" ]; then
        case $driver in
            s3 | oss)
                config=$work/config-$name.yml
                ROOT_DIRECTORY=/run/$name write_config "$driver" "$config"
                ;;
        esac
        local guarded=$config
        if [ -n "$auth" ]; then
            need_berth
            guarded=$(with_auth "$config")
        fi
        start_berth "$guarded" "$([ "$driver" = filesystem ] && printf '%s' "$work/data-$name")"
        target=$address
    fi
    (
        cd "$work"
        env -i PATH="$PATH" HOME="$work" OCI_REGISTRY="$target" OCI_TLS=disabled OCI_VERSION="$2" \
            OCI_REPO1="conformance/${name//+/-}-one" OCI_REPO2="conformance/${name//+/-}-two" \
            ${auth:+OCI_USERNAME=conformance OCI_PASSWORD=wonderland} \
            OCI_DATA_SPARSE="$3" OCI_LOG=error OCI_RESULTS_DIR="$results" \
            "$suite" > "$results/report.txt" 2> "$results/log.txt"
    ) || true
    if ! grep -q '^OCI Conformance Result' "$results/report.txt"; then
        cat "$results/log.txt" >&2
        die "the suite did not finish its run '$name'"
    fi
    outcomes "$results/report.txt" > "$results/outcomes.txt"
    not_allowed "$name" < "$results/outcomes.txt" > "$results/not-allowed.txt"
    if [ -s "$results/not-allowed.txt" ]; then
        verdict=FAILED
        status=1
        title "$label, $name: not allowed"
        cat "$results/not-allowed.txt"
    elif [ -s "$results/outcomes.txt" ]; then
        verdict="ok, $(wc -l < "$results/outcomes.txt") allowed"
    fi
    table+=$(printf '\n%-19s %-10s %6s %6s %6s %6s %s' "$label" "$name" "$(count "$results/report.txt" Pass)" \
        "$(count "$results/report.txt" FAIL)" "$(count "$results/report.txt" Error)" \
        "$(count "$results/report.txt" Skip)" "$verdict")
    if [ -z "${BERTH_ADDRESS:-}" ]; then
        alive "$process" || die "Berth ended during the run '$name'; its log is $work/berth.log"
        stop "$process"
    fi
}

run 1.1 1.1 false
run dev dev false
run dev+sparse dev true

say "$table"
[ "$status" -eq 0 ] || say "Reports: conformance/results/$label"
exit "$status"
