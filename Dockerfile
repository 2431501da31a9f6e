# Gateway, agent and command line in one image, with a real VS Code; codespaces of the process runtime run inside it.
#   docker build -t portico .
#   docker run -p 127.0.0.1:8080:8080 -v portico:/var/lib/portico portico
# The agent of the docker runtime alone, static so that it starts in any image:
#   docker build --target agent -t portico-agent . && docker create --name agent portico-agent agent && docker cp agent:/agent .
# Cargo's own variables make a build quicker that need not be fast: --build-arg CARGO_PROFILE_RELEASE_LTO=off
# --build-arg CARGO_PROFILE_RELEASE_OPT_LEVEL=0 --build-arg CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16

FROM rust:1.95-bookworm AS source
WORKDIR /source
# The dependencies alone first: they change less often than the source. Cargo wants every target without a path to be there.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src benches && echo 'fn main() {}' > src/main.rs && touch src/lib.rs benches/steps.rs && cargo fetch --locked

FROM source AS static
ARG CARGO_PROFILE_RELEASE_LTO
ARG CARGO_PROFILE_RELEASE_OPT_LEVEL
ARG CARGO_PROFILE_RELEASE_CODEGEN_UNITS
ENV RUSTFLAGS="-C target-feature=+crt-static"
# With a target named, what runs while building is not built static.
RUN cargo build --locked --release --target "$(rustc -vV | sed -n 's/^host: //p')"
COPY . .
# Cargo goes by times, and the placeholders are younger than what was copied.
RUN touch src/main.rs src/lib.rs && cargo build --locked --release --target "$(rustc -vV | sed -n 's/^host: //p')" \
 && strip -o /agent target/*/release/portico

FROM scratch AS agent
COPY --from=static /agent /agent

FROM source AS build
ARG CARGO_PROFILE_RELEASE_LTO
ARG CARGO_PROFILE_RELEASE_OPT_LEVEL
ARG CARGO_PROFILE_RELEASE_CODEGEN_UNITS
RUN cargo build --locked --release
COPY . .
RUN touch src/main.rs src/lib.rs && cargo build --locked --release && strip target/release/portico

FROM debian:bookworm-slim AS editor
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates npm && rm -rf /var/lib/apt/lists/*
COPY --from=build /source/target/release/portico /usr/local/bin/portico
RUN portico editor install --data /opt/portico && rm -rf /root/.npm

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends bash ca-certificates curl git openssh-client procps tini \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --create-home --home-dir /var/lib/portico --shell /bin/bash portico
COPY --from=build /source/target/release/portico /usr/local/bin/portico
COPY --from=editor /opt/portico/editors /opt/portico/editors
# Named by docker.agent, from a copy in the data directory, when the gateway in this container uses an engine.
COPY --from=static /agent /opt/portico/agent
# code-server is found on the PATH, so that the data volume need not hold it.
RUN printf '#!/bin/sh\nfor d in /opt/portico/editors/code-server-*; do exec "$d"/node_modules/node-linux-*/bin/node "$d"/node_modules/code-server/out/node/entry.js "$@"; done\n' > /usr/local/bin/code-server \
 && chmod 755 /usr/local/bin/code-server && code-server --version && rm -rf /root/.config
USER portico
WORKDIR /var/lib/portico
ENV PORTICO_DATA=/var/lib/portico PORTICO_LISTEN=0.0.0.0:8080
VOLUME /var/lib/portico
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=5s --start-period=10s CMD ["portico", "healthcheck"]
# tini reaps what agents and their programs leave behind.
ENTRYPOINT ["tini", "--", "portico"]
CMD ["serve"]
