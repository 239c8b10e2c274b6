# What gc.sh and soak.sh share: replicas on one store, collectors in loops, the clients, and the judge. Sourced after stores.sh.
#
# The caller sets `seed`.

replicas=()      # process ids
addresses=()     # where each listens
loops=()         # process ids of the loops that collectors run in
# Nothing of what a killed collector asked a store on this machine for is still on its way after so long.
collecting=(garbage-collect -m --grace 0s --request-lifetime 3s --output json)

# store_to_collect filesystem|garage|…: an empty store, and $work/config.yml for it.
store_to_collect() {
    if [ "$1" = filesystem ]; then
        cat > "$work/config.yml" <<YAML
version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: $work/data}
  delete: {enabled: true}
http:
  addr: 127.0.0.1:5000
  secret: $HTTP_SECRET
YAML
    else
        start_store "$1"
        write_config s3 "$work/config.yml"
        # Every child of an index must be there: an index without them would be no loss otherwise.
        sed -i '/^validation:/,$d' "$work/config.yml"
    fi
}

# replica NUMBER: (re)starts a registry on the store, at the address it had.
replica() {
    local number=$1
    : "${addresses[$number]:=127.0.0.1:$(free_port)}"
    start "replica-$number" env REGISTRY_HTTP_ADDR="${addresses[$number]}" "$BERTH_BIN" serve "$work/config.yml"
    replicas[number]=$process
    ready "replica-$number" "http://${addresses[$number]}/v2/" "$process"
}

# collect NUMBER ARGUMENTS...: one collection; its report goes to $work/collector-NUMBER.json, one line each.
collect() {
    local number=$1 status=0 report
    shift
    report=$("$BERTH_BIN" "${collecting[@]}" "$@" "$work/config.yml" 2>> "$work/collector-$number.log") || status=$?
    [ -z "$report" ] || jq -c . <<< "$report" >> "$work/collector-$number.json"
    return "$status"
}

# collect_in_a_loop NUMBER SETTLE...: until $work/enough is there, by turns with each of these times between announcement and
# removal. The process that collects is named in $work/collector-NUMBER.pid.
collect_in_a_loop() {
    (
        trap - EXIT
        number=$1 round=0
        shift
        settles=("$@")
        while [ ! -e "$work/enough" ]; do
            settle=${settles[round % $#]}
            "$BERTH_BIN" "${collecting[@]}" --settle "$settle" "$work/config.yml" \
                > "$work/collector-$number.out" 2>> "$work/collector-$number.log" &
            printf "%s" "$!" > "$work/collector-$number.pid"
            status=0
            wait "$!" || status=$?
            rm -f "$work/collector-$number.pid"
            printf '%s\n' "$status" >> "$work/collector-$number.ends"
            jq -c . "$work/collector-$number.out" >> "$work/collector-$number.json" 2> /dev/null || true
            round=$((round + 1))
        done
    ) 2> /dev/null &
    loops+=("$!")
    started+=("$!")
    disown "$!"
}

# churn_begin SECONDS: starts the clients; sets $clients to their process. churn SECONDS waits for them.
churn_begin() {
    local all
    all=$(IFS=,; printf '%s' "${addresses[*]}")
    "$LOAD_BIN" churn --address "$all" --seconds "$1" --clients "${CLIENTS:-8}" --seed "$seed" \
        > "$work/churn.list" 2> "$work/churn.log" &
    clients=$!
    started+=("$clients")
}
churn_end() {
    churn_status=0
    wait "$clients" || churn_status=$?
}
churn() {
    churn_begin "$1"
    churn_end
}

# Waits for the collections that run; no more are begun.
end_collecting() {
    local loop
    touch "$work/enough"
    for loop in "${loops[@]}"; do wait_until 120 gone "$loop" || die "a collector does not end; see $work"; done
}

figures() { { tail -n 1 "$work/churn.list" | grep '^{' || sed -n 's/^load: {/{/p' "$work/churn.log"; } | tail -n 1; }

no_wrong_answer() {
    grep '^load:' "$work/churn.log" | head -n 25
    [ "$churn_status" -eq 0 ]
}

# Fewer than one of ten thousand; of few, three tell nothing yet.
few_refused() {
    local refused put
    refused=$(figures | jq '.counts["refused with 503"] // 0')
    put=$(figures | jq '.counts["manifests put"] // 0')
    say "$refused of $put manifests were refused with 503"
    [ -n "${SOAK_LONG:-}" ] || [ "$refused" -le 3 ] || [ $((refused * 10000)) -lt "$put" ]
}

collected_something() { [ "$(removed | jq '.blobs')" -gt 0 ]; }
removed() {
    cat "$work"/collector-*.json 2> /dev/null | jq -s '{runs: length, manifests: (map(.removed.manifests) | add),
        layer_links: (map(.removed.layer_links) | add), blobs: (map(.removed.blobs) | add), spared: (map(.spared) | add),
        recovered: (map(.recovered) | add)} | map_values(. // 0)'
}

# Collections that were not killed must have ended well.
no_collection_failed() {
    ! cat "$work"/collector-*.ends 2> /dev/null | grep -vE '^(0|137)$' || { tail -n 5 "$work"/collector-*.log; return 1; }
}

all_whole() {
    grep '^churn/' "$work/churn.list" > "$work/standing.list" || true
    [ -s "$work/standing.list" ] || { say "nothing stands under any tag: nothing was tested"; return 1; }
    "$LOAD_BIN" verify --address "${addresses[1]}" --list "$work/standing.list"
}

scrubbed() {
    "$BERTH_BIN" scrub --read-data "$work/config.yml" > "$work/scrub.out" 2>> "$work/scrub.err" || {
        head -n 40 "$work/scrub.out"
        tail -n 3 "$work/scrub.err"
        return 1
    }
    tail -n 2 "$work/scrub.err"
}

# The judge of both scripts.
judge() {
    check "no answer was wrong while collectors ran" no_wrong_answer || true
    check "no collection failed" no_collection_failed || true
    check "all that stands under its tag is whole" all_whole || true
    check "one more collection" collect last || true
    check "all that stands is whole after it" all_whole || true
    check "scrub finds nothing wrong" scrubbed || true
    check "something was collected" collected_something || true
    check "few pushes were refused" few_refused || true
    cat "$work/check.out"
    say "clients: $(figures | jq -c 'del(.operation)')"
    say "collected: $(removed | jq -c .)"
    say "scrub: $(tail -n 2 "$work/scrub.err" | tr '\n' ' ')"
}

# compare_with_distribution SECONDS: the same load on two of distribution 3 with its own collector in a loop.
compare_with_distribution() {
    local number all process_1 process_2 collector data=$work/data-distribution program
    # A session that one began goes on at the other.
    local -x REGISTRY_HTTP_SECRET=$HTTP_SECRET
    program=$(distribution_program 3)
    [ -x "$program" ] || { skip "distribution is not installed; conformance/install.sh distribution installs it"; return; }
    all=
    for number in 1 2; do
        start_distribution 3 "$data"
        all=$all${all:+,}$address
        eval "process_$number=\$process"
    done
    rm -f "$work/enough"
    (
        trap - EXIT
        while [ ! -e "$work/enough" ]; do
            OTEL_TRACES_EXPORTER=none REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=$data \
                "$program" garbage-collect -m "$root/conformance/config-distribution.yml" >> "$work/distribution-gc.log" 2>&1 || true
        done
    ) &
    collector=$!
    disown "$collector"
    "$LOAD_BIN" churn --address "$all" --seconds "$1" --clients "${CLIENTS:-8}" --seed "$seed" \
        > "$work/distribution.list" 2> "$work/distribution.log" || true
    touch "$work/enough"
    wait_until 60 gone "$collector" || true
    grep '^churn/' "$work/distribution.list" > "$work/distribution.standing" || true
    say "distribution: $(sed -n 's/^load: {/{/p' "$work/distribution.log" | tail -n 1 | jq -c 'del(.operation)')"
    # What its caches remember is not what lies there: a fresh one judges.
    stop "$process_1"
    stop "$process_2"
    start_distribution 3 "$data"
    "$LOAD_BIN" verify --address "$address" --list "$work/distribution.standing" 2>&1 | grep -E 'images|"requests"' | head -n 1 || true
    stop "$process"
}
