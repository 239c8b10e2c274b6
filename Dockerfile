# The image of Berth: small, not run as root, and a drop-in for `docker run registry:2 ...` and `registry:3`. It accepts the
# same arguments (serve, garbage-collect, a bare path to a configuration) and reads the configuration at either place.
#
#   docker build -t berth .
#   docker run -p 5000:5000 -v registry:/var/lib/registry berth
#
# A directory of the host that registry:2 filled belongs to root. Give it to this image's user once
# (chown -R 65532:65532 DIRECTORY), or run the container with --user 0.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
COPY . .
RUN cargo build --release --locked --bin registry

FROM debian:bookworm-slim
RUN groupadd --system --gid 65532 registry \
 && useradd --system --uid 65532 --gid 65532 --home-dir /var/lib/registry --no-create-home --shell /usr/sbin/nologin registry \
 && mkdir -p /var/lib/registry /etc/distribution /etc/docker/registry \
 && chown registry:registry /var/lib/registry
# Certificates for what the configuration names over TLS: token keys, notification endpoints, buckets.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /build/target/release/registry /bin/registry
COPY docker/entrypoint.sh /entrypoint.sh
# registry:2 reads the second place, registry:3 the first. The third copy tells the entrypoint what is mounted over.
COPY docker/config.yml /etc/distribution/config.yml.shipped
COPY docker/config.yml /etc/distribution/config.yml
COPY docker/config.yml /etc/docker/registry/config.yml

USER 65532:65532
VOLUME ["/var/lib/registry"]
EXPOSE 5000
ENTRYPOINT ["/entrypoint.sh"]
CMD ["serve"]
