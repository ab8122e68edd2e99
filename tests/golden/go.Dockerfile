FROM golang:1.19 AS build
WORKDIR /src
ENV CGO_ENABLED=0
COPY ["go.mod", "./"]
RUN --mount=type=cache,id=@CACHE_ID@-gomod,target=/go/pkg/mod --mount=type=secret,id=homeport_env,required=false ["/bin/sh", "-ec", "[ ! -f /run/secrets/homeport_env ] || { set -a; . /run/secrets/homeport_env; set +a; }; go mod download"]
COPY . .
RUN --mount=type=cache,id=@CACHE_ID@-gomod,target=/go/pkg/mod --mount=type=cache,id=@CACHE_ID@-gobuild,target=/root/.cache/go-build --mount=type=secret,id=homeport_env,required=false ["/bin/sh", "-ec", "[ ! -f /run/secrets/homeport_env ] || { set -a; . /run/secrets/homeport_env; set +a; }; go build -trimpath -ldflags '-s -w' -o /out/server ./cmd/server"]

FROM debian:12-slim
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
RUN useradd --uid 10001 --create-home app
ENV PORT=8080
WORKDIR /app
RUN chown 10001:10001 /app
COPY --chown=10001:10001 ["templates", "./templates"]
COPY --from=build /out/server /app/server
USER 10001:10001
CMD ["/bin/sh", "-c", "exec /app/server"]
