# The operator, for linux/amd64 and linux/arm64:
#   docker buildx build --platform linux/amd64,linux/arm64 -f docker/penstock-operator.Dockerfile -t REGISTRY/penstock-operator:TAG --push .
# Builds on the machine's own platform and cross-compiles, which is many times faster than an emulated compiler.
ARG RUST_VERSION=1.95.0
FROM --platform=$BUILDPLATFORM docker.io/library/rust:${RUST_VERSION}-bookworm AS build
ARG RUST_VERSION
ARG TARGETARCH
# Else rustup would fetch the lints of rust-toolchain.toml too.
ENV RUSTUP_TOOLCHAIN=$RUST_VERSION
ARG PENSTOCK_COMMIT=""
WORKDIR /src
COPY docker/cross.sh docker/cross.sh
RUN docker/cross.sh tools "$TARGETARCH"
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry,id=cargo-registry \
    --mount=type=cache,target=/src/target,id=target-$TARGETARCH \
    PENSTOCK_COMMIT=$PENSTOCK_COMMIT docker/cross.sh build "$TARGETARCH" penstock-operator penstock-operator

# No shell, no package manager; glibc, CA certificates and time zones are there.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/penstock-operator /usr/local/bin/penstock-operator
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/penstock-operator"]
