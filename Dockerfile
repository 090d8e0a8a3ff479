# fixfly in an image. It runs as an ordinary user.
#
#     docker build -t fixfly .
#     docker run --rm -v "$PWD:/work" fixfly --help
#
# Candidates run in user namespaces, which Docker's default profiles forbid. `docs/install.md`
# shows the flags that allow them.
#   --build-arg BASE=IMAGE       a Debian image with the same libraries for both stages
#   --build-arg FEATURES=LIST    features of the build, such as llama,train
#   --build-arg PROFILE=quick    the profile of ./quickstart: sooner built, hardly optimised
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
ARG FEATURES=""
ARG PROFILE=release
ENV DEBIAN_FRONTEND=noninteractive PATH=/root/.cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential ca-certificates cmake curl git libclang-dev \
    && rm -rf /var/lib/apt/lists/*
# An image that has Rust already needs no rustup.
RUN command -v cargo > /dev/null || curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs \
    | sh -s -- -y --profile minimal --default-toolchain 1.95
WORKDIR /src
COPY . .
RUN cargo build --profile "${PROFILE}" --locked --features "${FEATURES}" && cp "target/${PROFILE}/fixfly" /fixfly

FROM ${BASE}
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        build-essential ca-certificates git libgomp1 python3 python3-dev python3-pip python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --non-unique --uid 1000 fixfly \
    && mkdir /work \
    && chown fixfly: /work
COPY --from=build /fixfly /usr/local/bin/fixfly
USER fixfly
WORKDIR /work
ENTRYPOINT ["fixfly"]
CMD ["--help"]
