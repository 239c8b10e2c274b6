# Checks that are counted, the assertions they are made of, and small content to push. Sourced after lib.sh.

passed=0
failed=0
skipped=0

# check DESCRIPTION COMMAND...: runs the command, counts and prints the outcome; shows the output of a failure.
check() {
    local description=$1
    shift
    if "$@" > "$work/check.out" 2>&1 < /dev/null; then
        passed=$((passed + 1))
        say "ok    $description"
    else
        failed=$((failed + 1))
        say "FAIL  $description"
        sed 's/^/      | /' "$work/check.out" | tail -n 15
        return 1
    fi
}

skip() {
    skipped=$((skipped + 1))
    say "skip  $*"
}

# has PROGRAM...: whether all are installed. In CI a missing one is a failure, elsewhere it is said and skipped.
has() {
    local program
    for program in "$@"; do
        if ! command -v "$program" > /dev/null; then
            if [ -n "${CI:-}" ]; then
                failed=$((failed + 1))
                say "FAIL  $program is not installed; conformance/install.sh installs it"
            else
                skip "$program is not installed; conformance/install.sh installs it"
            fi
            return 1
        fi
    done
}

# The last line and the exit status of a script that counts checks.
finish() {
    say ''
    say "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
}

# make_layer FILE SIZE_KIB: a tar with one incompressible file.
make_layer() {
    local tree=$work/tree-$RANDOM
    mkdir -p "$tree"
    head -c "$(($2 * 1024))" /dev/urandom > "$tree/content"
    tar -C "$tree" -cf "$1" content
    rm -rf "$tree"
}

# seed IMAGE KIB: pushes an image of one layer with crane, for clients that start from something pushed.
seed() {
    make_layer "$work/seed.tar" "$2"
    crane append -f "$work/seed.tar" -t "$1" > "$work/seed.out" 2>&1 || { cat "$work/seed.out"; return 1; }
}

same() { [ "$1" = "$2" ] || { printf 'expected %s\n     got %s\n' "$1" "$2"; return 1; }; }
contains() { grep -qF -- "$1" <<< "$2" || { printf 'expected to contain %s:\n%s\n' "$1" "$2"; return 1; }; }
lacks() { ! grep -qF -- "$1" <<< "$2" || { printf 'expected not to contain %s:\n%s\n' "$1" "$2"; return 1; }; }
refuses() { if "$@"; then printf 'succeeded: %s\n' "$*"; return 1; fi; }
# output_contains TEXT COMMAND...
output_contains() { local text=$1 output; shift; output=$("$@") || return 1; contains "$text" "$output"; }
output_lacks() { local text=$1 output; shift; output=$("$@") || return 1; lacks "$text" "$output"; }
