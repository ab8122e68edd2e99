FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
RUN python -m venv /venv
RUN --mount=type=cache,id=@CACHE_ID@-pip,target=/root/.cache python -m venv /tool && /tool/bin/pip install uv
ENV VIRTUAL_ENV=/venv UV_PROJECT_ENVIRONMENT=/venv PATH=/venv/bin:/tool/bin:$PATH
WORKDIR /app
COPY ["pyproject.toml", "./"]
RUN --mount=type=cache,id=@CACHE_ID@-pip,target=/root/.cache --mount=type=secret,id=homeport_env,required=false ["/bin/sh", "-ec", "[ ! -f /run/secrets/homeport_env ] || { set -a; . /run/secrets/homeport_env; set +a; }; uv pip install -r pyproject.toml"]

FROM python:3.13-slim
RUN useradd --uid 10001 --create-home app
ENV PYTHONUNBUFFERED=1 VIRTUAL_ENV=/venv PATH=/venv/bin:$PATH PYTHONPATH=/app PORT=8080
WORKDIR /app
RUN chown 10001:10001 /app
COPY --from=build /venv /venv
COPY --chown=10001:10001 . .
USER 10001:10001
CMD ["/bin/sh", "-c", "exec gunicorn --bind 0.0.0.0:$PORT --threads 8 'shop:create_app()'"]
