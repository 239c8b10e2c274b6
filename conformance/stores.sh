# Object stores on loopback: Garage, MinIO, VersityGW and the two of tests/peers, each started in the work directory on
# free ports with an empty bucket, and ended by its process id. Sourced after lib.sh.
#
# Every start_* function sets
#   ENDPOINT       where the store answers, as http://127.0.0.1:PORT
#   BUCKET, ACCESS_KEY, SECRET_KEY, REGION
#   store_process  its process id
# and write_config, berth_on_bucket and distribution_on_bucket use them.

BUCKET=berth-registry
REGION=garage
ACCESS_KEY=GK5f0c1a2b3d4e5f60718293a4
SECRET_KEY=9c7f1e0b3a5d48627f90b1c2d3e4f5061728394a5b6c7d8e9fa0b1c2d3e4f506
# What Berth and every replica of it must share; `openssl rand -hex 32` makes one.
HTTP_SECRET=conformance-only-0f1e2d3c4b5a69788796a5b4c3d2e1f0

# start_store garage|minio|versity|s3|oss
start_store() {
    case $1 in
        garage | minio | versity | s3 | oss) "start_$1" ;;
        *) die "there is no store '$1'; there are garage, minio, versity, s3 and oss" ;;
    esac
}

# store_for s3|oss: prints the store that a driver is tested on, which STORE can choose for s3.
store_for() { if [ "$1" = oss ]; then printf oss; else printf '%s' "${STORE:-garage}"; fi; }

# s3_curl METHOD PATH [CURL-ARGUMENTS...]: one signed request to the store.
s3_curl() {
    local method=$1 path=$2
    shift 2
    curl -sS --max-time 30 --user "$ACCESS_KEY:$SECRET_KEY" --aws-sigv4 "aws:amz:$REGION:s3" -X "$method" \
        -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' "$@" "$ENDPOINT$path"
}

# new_bucket: makes the bucket that BUCKET names, in the store that was started last.
new_bucket() {
    s3_curl PUT "/$BUCKET" -o /dev/null -f || die "the bucket $BUCKET could not be made at $ENDPOINT"
}

# One node, one zone, no replication: a Garage as a person tries it out.
start_garage() {
    local rpc admin directory=$work/garage
    REGION=garage
    command -v garage > /dev/null || die "garage is not installed; conformance/install.sh stores installs it"
    mkdir -p "$directory"
    rpc=127.0.0.1:$(free_port)
    admin=127.0.0.1:$(free_port)
    ENDPOINT=127.0.0.1:$(free_port)
    cat > "$directory/garage.toml" <<TOML
metadata_dir = "$directory/meta"
data_dir = "$directory/data"
db_engine = "lmdb"
replication_factor = 1
rpc_bind_addr = "$rpc"
rpc_public_addr = "$rpc"
rpc_secret = "$(printf 'berth conformance' | sha256sum | cut -d' ' -f1)"
[s3_api]
api_bind_addr = "$ENDPOINT"
s3_region = "$REGION"
root_domain = ".s3.garage.localhost"
[admin]
api_bind_addr = "$admin"
TOML
    start garage env RUST_LOG=garage=warn garage -c "$directory/garage.toml" server
    store_process=$process
    ready garage "http://$ENDPOINT/" "$store_process"
    ENDPOINT=http://$ENDPOINT
    in_garage() { garage -c "$directory/garage.toml" "$@" >> "$work/garage-setup.log" 2>&1; }
    local node
    node=$(garage -c "$directory/garage.toml" node id -q 2> /dev/null | cut -d@ -f1)
    in_garage layout assign -z one -c 64G "$node" || die "Garage took no layout; see $work/garage-setup.log"
    in_garage layout apply --version 1
    in_garage key import --yes -n berth "$ACCESS_KEY" "$SECRET_KEY"
    in_garage key allow --create-bucket "$ACCESS_KEY"
    in_garage bucket create "$BUCKET"
    in_garage bucket allow --read --write --owner "$BUCKET" --key "$ACCESS_KEY" \
        || die "Garage gave no access to $BUCKET; see $work/garage-setup.log"
}

start_minio() {
    local directory=$work/minio address
    REGION=us-east-1
    command -v minio > /dev/null || die "minio is not installed; conformance/install.sh stores installs it"
    mkdir -p "$directory"
    address=127.0.0.1:$(free_port)
    ENDPOINT=http://$address
    start minio env MINIO_ROOT_USER="$ACCESS_KEY" MINIO_ROOT_PASSWORD="$SECRET_KEY" MINIO_BROWSER=off MINIO_UPDATE=off \
        HOME="$directory" minio server --quiet --address "$address" "$directory/data"
    store_process=$process
    ready minio "$ENDPOINT/minio/health/ready" "$store_process"
    wait_until 30 try_bucket || die "MinIO did not come up; its log is $work/minio.log"
}
try_bucket() { s3_curl PUT "/$BUCKET" -o /dev/null -f; }

start_versity() {
    local directory=$work/versity address
    REGION=us-east-1
    command -v versitygw > /dev/null || die "versitygw is not installed; conformance/install.sh stores installs it"
    mkdir -p "$directory/data" "$directory/versions"
    address=127.0.0.1:$(free_port)
    ENDPOINT=http://$address
    start versity versitygw --access "$ACCESS_KEY" --secret "$SECRET_KEY" --region "$REGION" --port "$address" \
        posix --sidecar "$directory/versions" "$directory/data"
    store_process=$process
    ready versity "$ENDPOINT/" "$store_process"
    new_bucket
}

# need_peers: builds the test servers as a program and sets PEERS_BIN, unless the caller named one.
need_peers() {
    if [ -z "${PEERS_BIN:-}" ]; then
        say "building the test servers"
        PEERS_BIN=$(cargo build --manifest-path "$root/Cargo.toml" --release --locked --example peers \
            --message-format json-render-diagnostics \
            | jq -r 'select(.reason == "compiler-artifact" and .target.name == "peers").executable')
    fi
    [ -x "${PEERS_BIN:-}" ] || die "no test servers at '${PEERS_BIN:-}'; build them with: cargo build --release --example peers"
}

# The S3 server of tests/peers, which keeps its objects in memory.
start_s3() {
    local address
    REGION=us-east-1
    need_peers
    address=127.0.0.1:$(free_port)
    ENDPOINT=http://$address
    start s3 "$PEERS_BIN" s3 --listen "$address" --bucket "$BUCKET" --access-key "$ACCESS_KEY" --secret-key "$SECRET_KEY" \
        --region "$REGION"
    store_process=$process
    ready s3 "$ENDPOINT/" "$store_process"
}

# The OSS server of tests/peers, which checks every signature and keeps its objects in memory.
start_oss() {
    local address
    REGION=oss-cn-hangzhou
    need_peers
    address=127.0.0.1:$(free_port)
    ENDPOINT=http://$address
    start oss "$PEERS_BIN" oss --listen "$address" --bucket "$BUCKET" --access-key "$ACCESS_KEY" --secret-key "$SECRET_KEY" \
        --region "$REGION"
    store_process=$process
    ready oss "$ENDPOINT/" "$store_process"
}

# start_faults NAME ENDPOINT [ARGUMENTS...]: puts the fault proxy before a store; sets ENDPOINT to it, keeps the store's
# own in STORE_ENDPOINT, and sets proxy_process.
start_faults() {
    local name=$1 behind=$2 address
    shift 2
    need_peers
    address=127.0.0.1:$(free_port)
    STORE_ENDPOINT=$behind
    start "$name" "$PEERS_BIN" faults --listen "$address" --to "${behind#http://}" "$@"
    proxy_process=$process
    ready "$name" "http://$address/-/counts" "$proxy_process"
    ENDPOINT=http://$address
}

# write_config s3|oss FILE [enabled|disabled]: a configuration for the bucket that was started last, redirects off unless
# the third word is `enabled`. Berth and distribution both read the one for s3. ROOT_DIRECTORY puts it below a directory of
# the bucket.
write_config() {
    local redirects=true
    [ "${3:-disabled}" = disabled ] || redirects=false
    {
        cat <<YAML
version: 0.1
log:
  level: warn
  accesslog:
    disabled: true
storage:
YAML
        case $1 in
            s3)
                cat <<YAML
  s3:
    regionendpoint: $ENDPOINT
    region: $REGION
    bucket: $BUCKET
    accesskey: $ACCESS_KEY
    secretkey: $SECRET_KEY
    forcepathstyle: true
    secure: false
    v4auth: true
${ROOT_DIRECTORY:+    rootdirectory: $ROOT_DIRECTORY}
YAML
                ;;
            oss)
                cat <<YAML
  oss:
    endpoint: $ENDPOINT
    region: $REGION
    bucket: $BUCKET
    accesskeyid: $ACCESS_KEY
    accesskeysecret: $SECRET_KEY
    secure: false
    internal: false
${ROOT_DIRECTORY:+    rootdirectory: $ROOT_DIRECTORY}
YAML
                ;;
            *) die "there is no bucket driver '$1'" ;;
        esac
        cat <<YAML
  cache:
    blobdescriptor: inmemory
  delete:
    enabled: true
  redirect:
    disable: $redirects
http:
  addr: 127.0.0.1:5000
  secret: $HTTP_SECRET
validation:
  manifests:
    indexes:
      platforms: none
    urls:
      allow:
        - .*
YAML
    } | sed '/^$/d' > "$2"
}

# start_distribution_on CONFIG: distribution 3 with that configuration; sets $address, $process.
start_distribution_on() {
    address=127.0.0.1:$(free_port)
    start distribution3 env OTEL_TRACES_EXPORTER=none REGISTRY_HTTP_ADDR="$address" "$(distribution_program 3)" serve "$1"
    ready distribution3 "http://$address/v2/" "$process"
}
