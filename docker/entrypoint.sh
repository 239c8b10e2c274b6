#!/bin/sh
# Takes the arguments that the images of CNCF distribution take: a command of the registry, a bare path to a
# configuration, or any other program. Without a path, a configuration mounted at either place is found; if both differ
# from the one in the image, the newer place wins.
set -e

case "${1:-serve}" in
    serve | garbage-collect | verify | scrub | help | -* | *.yml | *.yaml) set -- /bin/registry "$@" ;;
    *) if [ -f "$1" ] && [ ! -x "$1" ]; then set -- /bin/registry "$@"; fi ;;
esac

# `serve` alone: prefer the old place when a file of the owner's is mounted there and none at the new one.
if [ "$1" = /bin/registry ] && [ "$#" -eq 2 ] && [ "$2" = serve ] && [ -z "${REGISTRY_CONFIGURATION_PATH:-}" ]; then
    old=/etc/docker/registry/config.yml new=/etc/distribution/config.yml shipped=/etc/distribution/config.yml.shipped
    if [ -f "$old" ] && [ -f "$shipped" ] && cmp -s "$new" "$shipped" && ! cmp -s "$old" "$shipped"; then
        set -- "$@" "$old"
    fi
fi

exec "$@"
