"""Dockerfiles: what a repository's own one says, and what a template may make."""

from __future__ import annotations

import pytest

from app.detection.dockerfile import Facts, read, render, shell_argv
from app.errors import BadInput

OWN = r"""
# syntax=docker/dockerfile:1
ARG BASE=node:20
ARG UNSET
from --platform=$BUILDPLATFORM ${BASE}-slim AS build
# FROM commented/out
RUN echo \
  # a comment between
  FROM not/an/instruction
EXPOSE 1111
FROM build AS tests
FROM ${UNSET:-debian:12}-slim
ARG PORT=3000
ENV OTHER=1 REAL_PORT="${PORT}"
COPY --from=build /a /b
COPY --from=ghcr.io/astral-sh/uv:latest /uv /bin/
COPY --from=0 /a /b
RUN --mount=type=bind,from=golang:1.22,source=/x,target=/y true
EXPOSE 53/udp $REAL_PORT
ENTRYPOINT ["node", "a b.js"]
"""


def test_the_facts_of_a_dockerfile() -> None:
    assert read(OWN, {}) == Facts(
        base_images=("node:20-slim", "debian:12-slim", "ghcr.io/astral-sh/uv:latest", "golang:1.22"),
        port=3000,
        command="node 'a b.js'",
    )


def test_build_arguments_change_the_facts() -> None:
    facts = read(OWN, {"BASE": "node:18", "PORT": "4000"})
    assert (facts.base_images[0], facts.port) == ("node:18-slim", 4000)


@pytest.mark.parametrize(
    ("text", "images", "port"),
    [
        ("", (), None),
        ("FROM scratch\n", (), None),
        ("FROM $UNKNOWN\nEXPOSE x\n", (), None),
        ("FROM a:1\nEXPOSE 8000-8010\n", ("a:1",), 8000),
        ("FROM a:1 AS x\nEXPOSE 7000\nFROM x\n", ("a:1",), 7000),
        ("FROM a:1\nENV PORT 9000\nEXPOSE ${PORT}\n", ("a:1",), 9000),
        ("FROM a:1\nEXPOSE 99999\n", ("a:1",), None),
    ],
)
def test_odd_dockerfiles(text: str, images: tuple[str, ...], port: int | None) -> None:
    facts = read(text, {})
    assert (facts.base_images, facts.port) == (images, port)


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("node server.js --port $PORT", "exec node server.js --port $PORT"),
        ("gunicorn 'shop:create_app()'", "exec gunicorn 'shop:create_app()'"),
        ("python migrate.py && gunicorn app", "python migrate.py && gunicorn app"),
        ("A=1 node x", "A=1 node x"),
        ("exec node x", "exec node x"),
        ("cd web; node x", "cd web; node x"),
        ("node $(cat x)", "node $(cat x)"),
    ],
)
def test_a_program_takes_the_place_of_the_shell(command: str, line: str) -> None:
    assert shell_argv(command) == ["/bin/sh", "-c", line]


def test_render_makes_exec_form_and_keeps_the_cache_id() -> None:
    text = render(
        "RUN --mount=type=cache,id={{ cache_id }}-x {{ a | sh_env }}\nCOPY {{ b | names }}\n", {"a": 'x "y"', "b": ["q r", "./"]}
    )
    assert text == (
        'RUN --mount=type=cache,id=@CACHE_ID@-x ["/bin/sh", "-ec", '
        '"[ ! -f /run/secrets/homeport_env ] || { set -a; . /run/secrets/homeport_env; set +a; }; x \\"y\\""]\n'
        'COPY ["q r", "./"]\n'
    )


@pytest.mark.parametrize("name", ["-x", "a$b", "a\nb", "a\\", "", "a`b", 'a"b'])
def test_unsafe_names_are_refused(name: str) -> None:
    with pytest.raises(BadInput):
        render("COPY {{ a | names }}", {"a": [name]})
    with pytest.raises(BadInput):
        render("FROM {{ a | safe }}", {"a": name})


@pytest.mark.parametrize("template", ["{{ missing }}", "{{ ''.__class__.__mro__ }}", "{% if %}"])
def test_templates_are_strict_and_boxed_in(template: str) -> None:
    with pytest.raises(BadInput, match="cannot be made"):
        render(template, {})
