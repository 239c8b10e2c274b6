# The container engines that clients.sh drives, each with its own state below the work directory: containerd with `ctr`,
# and the docker engine in the versions that are installed. clients.sh and delete.sh source this file; it needs lib.sh.

# settled COMMAND...: whether the command succeeds or the process started last has ended, so that waiting is over.
settled() { "$@" || gone "$process"; }

# start_containerd NAME PROGRAM: runs a containerd of its own; sets $containerd_socket.
start_containerd() {
    local directory=$work/$1
    mkdir -p "$directory"
    containerd_socket=$directory/containerd.sock
    cat > "$directory/config.toml" <<TOML
version = 2
root = "$directory/root"
state = "$directory/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "$containerd_socket"
[ttrpc]
  address = "$containerd_socket.ttrpc"
TOML
    start "$1" "$2" --config "$directory/config.toml"
    wait_until 30 settled test -S "$containerd_socket" || true
    [ -S "$containerd_socket" ] || { tail -n 20 "$work/$1.log"; return 1; }
}

client_containerd() {
    has containerd ctr crane || return 0
    local image=$registry/containerd/image ctr
    {
        crane append -f "$work/rootfs.tar" -t "$image:base"
        crane mutate "$image:base" --set-platform linux/amd64 -t "$image:one"
        crane mutate "$image:base" --set-platform linux/arm64 -t "$image:arm"
        crane index append -m "$image:one" -m "$image:arm" -t "$image:index"
    } > /dev/null 2>&1
    check "containerd: start" start_containerd containerd "$(command -v containerd)" || return 0
    ctr=(ctr --address "$containerd_socket" --namespace berth)
    check "containerd: pull" "${ctr[@]}" images pull --plain-http "$image:one"
    check "containerd: pull an index, all platforms" "${ctr[@]}" images pull --plain-http --all-platforms "$image:index"
    check "containerd: tag and push" eval '"${ctr[@]}" images tag "$image:index" "$registry/containerd/pushed:index" &&
        "${ctr[@]}" images push --plain-http "$registry/containerd/pushed:index"'
    check "containerd: the pushed index is the same" same "$(crane digest "$image:index")" "$(crane digest "$registry/containerd/pushed:index")"
    check "containerd: run" output_contains berth "${ctr[@]}" run --rm "$image:one" berth-run /bin/cat /etc/motd
    check "containerd: remove and pull again" eval '"${ctr[@]}" images rm "$image:one" && "${ctr[@]}" images pull --plain-http "$image:one"'
}

# start_docker NAME DOCKERD [ARGUMENTS...]: runs an engine without network of its own; sets DOCKER_HOST.
start_docker() {
    local name=$1 program=$2 directory=$work/$1
    shift 2
    mkdir -p "$directory"
    printf '{}' > "$directory/config.json"
    export DOCKER_HOST=unix://$directory/docker.sock
    start "$name" "$program" --host "$DOCKER_HOST" --data-root "$directory/data" --exec-root "$directory/exec" \
        --pidfile "$directory/pid" --config-file "$directory/config.json" --iptables=false --ip6tables=false --bridge=none "$@"
    wait_until 60 settled docker version || true
    docker version || { tail -n 20 "$work/$name.log"; return 1; }
}

client_docker() {
    has docker dockerd containerd || return 0
    start_containerd docker-containerd "$(command -v containerd)" || true
    check "docker: start the engine" start_docker docker-engine "$(command -v dockerd)" --containerd "$containerd_socket" || return 0
    say "      $(docker version --format 'client {{.Client.Version}}, engine {{.Server.Version}}'), $(docker info --format '{{.Driver}}')"
    drive_docker docker "$registry/docker/image"
}

# The engine that keeps its images in containerd, the default from version 29 on. Debian 12 has none that can, so
# install.sh builds it, with the containerd it wants, below .cache/engine.
client_docker_containerd() {
    local PATH=$cache/engine:$PATH   # Debian's runc knows no time namespaces, which this version would ask for.
    has docker "$cache/engine/dockerd" "$cache/engine/containerd" || return 0
    start_containerd new-containerd "$cache/engine/containerd" || true
    check "docker, containerd store: start the engine" start_docker new-engine "$cache/engine/dockerd" \
        --containerd "$containerd_socket" --feature containerd-snapshotter=true --feature time-namespaces=false || return 0
    say "      $(docker version --format 'client {{.Client.Version}}, engine {{.Server.Version}}'), $(docker info --format '{{.Driver}}')"
    drive_docker "docker, containerd store" "$registry/docker-containerd/image"
}

# drive_docker LABEL IMAGE: what a person does with an engine, against the one that DOCKER_HOST names.
drive_docker() {
    local label=$1 image=$2
    check "$label: import" docker import -c 'CMD ["/bin/cat","/etc/motd"]' "$work/rootfs.tar" "$image:amd64" || return 0
    check "$label: push" docker push "$image:amd64"
    check "$label: push again, layers exist" docker push "$image:amd64"
    check "$label: push to another repository, mounted" eval 'docker tag "$image:amd64" "${image}-two:amd64" && docker push "${image}-two:amd64"'
    check "$label: remove" docker rmi -f "$image:amd64" "${image}-two:amd64"
    check "$label: pull" docker pull "$image:amd64"
    check "$label: run" output_contains berth docker run --rm --network none "$image:amd64"
    printf 'FROM %s\nCOPY hello /etc/hello\n' "$image:amd64" > "$work/rootfs/Dockerfile"
    printf 'hello\n' > "$work/rootfs/hello"
    check "$label: build on it and push" eval 'DOCKER_BUILDKIT=0 docker build -q -t "$image:built" "$work/rootfs" && docker push "$image:built"'
    crane mutate "$image:amd64" --set-platform linux/arm64 -t "$image:arm64" > /dev/null 2>&1
    check "$label: a list of two platforms" eval 'docker manifest create --insecure "$image:list" "$image:amd64" "$image:arm64" &&
        docker manifest push --insecure "$image:list"'
    check "$label: inspect the list" output_contains arm64 docker manifest inspect --insecure "$image:list"
    check "$label: pull through the list" eval 'docker rmi -f "$image:amd64" "$image:built" && docker pull "$image:list"'
    check "$label: run from the list" output_contains berth docker run --rm --network none "$image:list"
    check "$label: pull by digest" docker pull "$image@$(crane digest "$image:amd64")"
    check "$label: all tags" docker pull --all-tags "${image}-two"
}
