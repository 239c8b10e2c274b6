#!/usr/bin/env bash
# Proves the OSS server of tests/peers, which Berth's driver is tested against, with both official client libraries:
# oss2 and alibabacloud-oss-v2, each with signatures of version 1 and 4.
#
#   conformance/oss_sdks.sh
#
# PEERS_BIN names the built servers; without it target/release/examples/peers is built and used. The libraries are
# installed into conformance/.cache/oss-sdks at pinned versions.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=stores.sh
. "$(dirname "${BASH_SOURCE[0]}")/stores.sh"

environment=$cache/oss-sdks
if ! "$environment/bin/python" -c 'import oss2, alibabacloud_oss_v2' 2> /dev/null; then
    say "installing the client libraries"
    python3 -m venv "$environment"
    "$environment/bin/pip" install --quiet oss2==2.19.1 alibabacloud-oss-v2==1.4.1
fi

BUCKET=images ACCESS_KEY=the-key-id SECRET_KEY=the-key-secret
start_oss
title "the OSS server of tests/peers and the official client libraries"
NO_PROXY='*' "$environment/bin/python" "$root/conformance/oss_sdks.py" "$ENDPOINT" "$REGION" "$BUCKET" "$ACCESS_KEY" "$SECRET_KEY"
