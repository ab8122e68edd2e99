FROM node:24-slim AS base
WORKDIR /app

FROM base AS build
ENV CI=true HUSKY=0 NEXT_TELEMETRY_DISABLED=1 YARN_ENABLE_GLOBAL_CACHE=false npm_config_fund=false npm_config_audit=false npm_config_update_notifier=false
COPY ["package.json", "./"]
RUN --mount=type=cache,id=@CACHE_ID@-npm,target=/root/.npm --mount=type=cache,id=@CACHE_ID@-cache,target=/root/.cache --mount=type=secret,id=homeport_env,required=false ["/bin/sh", "-ec", "[ ! -f /run/secrets/homeport_env ] || { set -a; . /run/secrets/homeport_env; set +a; }; npm install"]
RUN ["/bin/sh", "-ec", "[ ! -f /run/secrets/homeport_env ] || { set -a; . /run/secrets/homeport_env; set +a; }; npm prune --omit=dev --ignore-scripts"]

FROM base
ENV NODE_ENV=production HOST=0.0.0.0 PORT=8080
RUN chown 1000:1000 /app
COPY --from=build /app ./
COPY --chown=1000:1000 . .
USER 1000:1000
CMD ["/bin/sh", "-c", "exec node server.js"]
