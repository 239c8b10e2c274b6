#!/bin/sh
# What cargo runs in the place of rustc: for our own crates the same with the counters that libfuzzer steers by. Crates of
# others are built as they are, which takes less time and is not what is looked at.
compiler=$1
shift
case " $* " in
    *' --crate-name berth '* | *' --crate-name '*fuzz_targets/*)
        exec "$compiler" "$@" --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
            -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
            -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1
        ;;
    *) exec "$compiler" "$@" ;;
esac
