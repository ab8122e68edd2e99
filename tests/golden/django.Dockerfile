FROM python:3.11.9-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
RUN python -m venv /venv
ENV VIRTUAL_ENV=/venv UV_PROJECT_ENVIRONMENT=/venv PATH=/venv/bin:/tool/bin:$PATH
WORKDIR /app
COPY ["requirements.txt", "./"]
RUN --mount=type=cache,id=@CACHE_ID@-pip,target=/root/.cache --mount=type=secret,id=homeport_env,required=false ["/bin/sh", "-ec", "[ ! -f /run/secrets/homeport_env ] || { set -a; . /run/secrets/homeport_env; set +a; }; pip install -r requirements.txt"]
RUN --mount=type=cache,id=@CACHE_ID@-pip,target=/root/.cache ["/venv/bin/python", "-m", "pip", "install", "gunicorn"]
COPY . .
RUN --mount=type=cache,id=@CACHE_ID@-pip,target=/root/.cache --mount=type=secret,id=homeport_env,required=false ["/bin/sh", "-ec", "[ ! -f /run/secrets/homeport_env ] || { set -a; . /run/secrets/homeport_env; set +a; }; export SECRET_KEY=\"${SECRET_KEY:-unused}\" DJANGO_SECRET_KEY=\"${DJANGO_SECRET_KEY:-unused}\";python manage.py collectstatic --noinput"]

FROM python:3.11.9-slim
RUN useradd --uid 10001 --create-home app
ENV PYTHONUNBUFFERED=1 VIRTUAL_ENV=/venv PATH=/venv/bin:$PATH PYTHONPATH=/app PORT=8080
WORKDIR /app
RUN chown 10001:10001 /app
COPY --from=build /venv /venv
COPY --from=build --chown=10001:10001 /app /app
USER 10001:10001
CMD ["/bin/sh", "-c", "exec gunicorn --bind 0.0.0.0:$PORT --threads 8 mysite.wsgi:application"]
