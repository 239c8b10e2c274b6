#!/usr/bin/env bash
# Reads the files of deploy/ the way their users' programs would: Kubernetes manifests by the API's types, the Compose file by
# the specification's loader, nginx.conf by nginx. conformance/cluster.sh runs them for real.
set -euo pipefail
# shellcheck source=conformance/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

"$root/conformance/install.sh" manifests
HTTP_SECRET=a S3_ACCESS_KEY=b S3_SECRET_KEY=c GARAGE_RPC_SECRET=d \
    "$cache/bin/manifests" "$root/deploy/compose/compose.yml" "$root"/deploy/kubernetes/*.yaml

# Every variable that compose.yml insists on is in env.example.
for variable in $(grep -oE '\$\{[A-Z0-9_]+:\?' "$root/deploy/compose/compose.yml" | tr -d '${:?' | sort -u); do
    grep -q "^$variable=" "$root/deploy/compose/env.example" || die "env.example does not name $variable"
done

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
sed 's/registry-[123]:5000/127.0.0.1:5000/' "$root/deploy/compose/nginx.conf" > "$scratch/nginx.conf"
nginx -t -q -p "$scratch" -c "$scratch/nginx.conf" -g "error_log stderr; pid $scratch/nginx.pid;"
say "deploy/ is well formed"
