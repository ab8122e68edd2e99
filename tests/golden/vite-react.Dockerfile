FROM node:24-slim AS base
WORKDIR /app

FROM base AS build
ENV CI=true HUSKY=0 NEXT_TELEMETRY_DISABLED=1 YARN_ENABLE_GLOBAL_CACHE=false npm_config_fund=false npm_config_audit=false npm_config_update_notifier=false
COPY ["package.json", "./"]
RUN --mount=type=cache,id=@CACHE_ID@-npm,target=/root/.npm --mount=type=cache,id=@CACHE_ID@-cache,target=/root/.cache --mount=type=secret,id=homeport_env,required=false ["/bin/sh", "-ec", "[ ! -f /run/secrets/homeport_env ] || { set -a; . /run/secrets/homeport_env; set +a; }; npm install"]
COPY . .
RUN --mount=type=cache,id=@CACHE_ID@-cache,target=/root/.cache --mount=type=secret,id=homeport_env,required=false ["/bin/sh", "-ec", "[ ! -f /run/secrets/homeport_env ] || { set -a; . /run/secrets/homeport_env; set +a; }; export NODE_ENV=production; npm run build"]

FROM scratch
COPY --from=build ["/app/dist", "/dist"]
