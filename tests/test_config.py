"""homeport.toml: what is read, what is refused, and the words for it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest

from app import config
from app.errors import ConfigInvalid

SCHEMA = Path(__file__).parent.parent / "docs" / "homeport.schema.json"

WHOLE = """
[build]
bundle = "flask"
root = "./services//api/"
command = "make site && echo \\"done\\""
memory = "1.5g"
timeout = "2m"
args = { VERSION = 3 }

[run]
port = 5000
stop_timeout = 10
memory = 268435456
cpu = 0.5

[run.processes]
web = "gunicorn app:app"
worker = "celery worker"

[run.health]
path = "/healthz"
timeout = "500ms"

[env]
GREETING = "hello"
WORKERS = 2
DEBUG = false
required = ["DATABASE_URL"]
build = ["SENTRY_*", "TOKEN"]

[scale]
web = 2

[static]
spa = true
not_found = "errors/404.html"

[[domains]]
name = "shop.example.com"
"""


def test_the_whole_file_is_read_in_plain_units() -> None:
    read = config.parse(WHOLE)
    assert (read.build.memory, read.build.timeout, read.build.root) == (1610612736, 120.0, "services/api")
    assert (read.run.stop_timeout, read.run.memory, read.run.health.timeout) == (10.0, 268435456, 0.5)
    assert read.env.defaults == {"GREETING": "hello", "WORKERS": "2", "DEBUG": "false"}
    assert (read.env.required, read.env.build) == (("DATABASE_URL",), ("SENTRY_*", "TOKEN"))
    assert read.scale.counts == {"web": 2}
    assert read.build.args == {"VERSION": "3"}
    assert [domain.name for domain in read.domains] == ["shop.example.com"]
    assert read.warnings == ()


def test_an_empty_file_says_nothing() -> None:
    assert config.parse("") == config.Config()


REFUSED = {
    '[build]\nmemry = "1g"': ("line 2", "build.memry", "did you mean 'memory'?"),
    "bild = 1": ("line 1", "bild", "did you mean 'build'?"),
    "[run]\n\n[run.healt]\npath = 1": ("line 3", "run.healt", "did you mean 'health'?"),
    '[[domains]]\nname = "a.example"\n[[domains]]\nnme = "b.example"': ("line 4", "domains[1].nme", "did you mean 'name'?"),
    "[build]\nzzz = 1": ("line 2", "build.zzz", "known here: args, bundle"),
    '[build]\nmemory = "1x"': ("line 2", "build.memory", "no size"),
    '[build]\nmemory = "1k"': ("line 2", "build.memory", "at least 6m"),
    '[build]\ntimeout = "soon"': ("line 2", "build.timeout", "no duration"),
    "[build]\ntimeout = 0": ("line 2", "build.timeout", "no usable duration"),
    '[run]\nport = "x"': ("line 2", "run.port", "Expected int, got str"),
    "[run]\nport = 70000": ("line 2", "run.port", "<= 65535"),
    "build = 3": ("line 1", "build", "Expected a table"),
    '[build]\nroot = "../x"': ("line 2", "build.root", "leads out"),
    '[build]\nroot = "a/../b"': ("line 2", "build.root", "holds `..`"),
    '[build]\ncontext = "/etc"': ("line 2", "build.context", "absolute"),
    '[build]\ndockerfile = "-f"': ("line 2", "build.dockerfile", "starts with"),
    '[build]\ndockerfile = "./-f"': ("line 2", "build.dockerfile", "starts with"),
    '[build]\noutput = "a$b"': ("line 2", "build.output", "characters"),
    '[build]\ncommand = """a\nb"""': ("line 2", "build.command", "newlines"),
    '[run.health]\npath = "healthz"': ("line 2", "run.health.path", "no URL path"),
    '[run.health]\npath = "//evil.example"': ("line 2", "run.health.path", "no URL path"),
    '[run.processes]\nWeb_1 = "x"': ("line 2", "run.processes.Web_1", "lower-case"),
    '[run.processes]\nok = "x"\nbad = 3': ("line 3", "run.processes.bad", "text in quotes"),
    '[env]\nA = "x"\nB = [3]': ("line 3", "env.B", "text in quotes"),
    '[env]\n"A B" = "x"': ("line 2", "env.A B", "letters, digits"),
    '[env]\nrequired = "A"': ("line 2", "env.required", "Expected array"),
    '[env]\nbuild = ["A*B"]': ("line 2", "env.build", "prefix that ends"),
    '[scale]\nweb = "2"': ("line 2", "scale.web", "Expected int"),
    "[scale]\nweb = 101": ("line 2", "scale.web", "<= 100"),
    '[[domains]]\nname = "not a host"': ("line 2", "domains[0].name", "no host name"),
    '[[cron]]\nname = "n"\nschedule = "daily"\ncommand = "x"': ("line 3", "cron[0].schedule", "matching regex"),
    '[[static.redirects]]\nfrom = "/a"\nto = "/b"\nstatus = 200': (
        "line 4",
        "static.redirects[0].status",
        "Invalid enum value 200",
    ),
}


@pytest.mark.parametrize(("text", "words"), REFUSED.items(), ids=[" ".join(text.split())[:40] for text in REFUSED])
def test_what_is_wrong_is_said_with_line_and_key(text: str, words: tuple[str, str, str]) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        config.parse(text)
    line, key, what = words
    assert f"homeport.toml {line}, {key}: " in str(refused.value)
    assert what in str(refused.value)
    assert refused.value.extra == {"line": int(line.split()[1]), "key": key}


def test_what_is_not_toml_is_said_with_its_line() -> None:
    with pytest.raises(ConfigInvalid, match="line 2"):
        config.parse('[build]\nroot = "a\n')


def test_sections_that_do_not_run_yet_are_said() -> None:
    read = config.parse(
        '[run]\nrelease = "migrate"\n[scale.auto]\nmin = 1\n[preview]\n[static.headers."/*"]\nX-A = "1"\n'
        '[[static.redirects]]\nfrom = "/a"\nto = "/b"\n'
        '[[cron]]\nname = "n"\nschedule = "0 3 * * *"\ncommand = "x"\n'
        '[[volumes]]\nname = "v"\npath = "/data"\nsize = "1g"\n[[services]]\nname = "db"\nbundle = "postgres"\n'
    )
    names = ["[[cron]]", "[[volumes]]", "[[services]]", "[preview]", "[scale.auto]", "[static] headers", "[static] redirects"]
    assert read.warnings == tuple(f"{name} is read, but this version does not run it yet" for name in [*names, "[run] release"])


def test_loading_from_a_folder(tmp_path: Path) -> None:
    assert config.load(tmp_path) is None
    (tmp_path / "homeport.toml").write_text("[run]\nport = 1\n")
    read = config.load(tmp_path)
    assert read is not None
    assert read.run.port == 1


def test_a_link_out_of_the_checkout_is_not_read(tmp_path: Path) -> None:
    outside = tmp_path / "outside.toml"
    outside.write_text("[run]\nport = 1\n")
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    os.symlink(outside, checkout / "homeport.toml")
    assert config.load(checkout) is None


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "homeport.toml")
    assert config.load(tmp_path) is None


def test_the_published_schema_is_current(update_golden: bool) -> None:
    text = json.dumps(config.json_schema(), indent=2) + "\n"
    if update_golden:
        SCHEMA.write_text(text)
    assert SCHEMA.read_text() == text, "run pytest --update-golden tests/test_config.py"


def test_the_schema_knows_every_key_and_refuses_others() -> None:
    document = config.json_schema()
    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    tables = {name: table for name, table in document["$defs"].items() if name not in ("Env", "Scale")}
    assert all(table["additionalProperties"] is False for table in tables.values())
    assert set(document["$defs"]["Config"]["properties"]) == {
        field.encode_name for field in msgspec.structs.fields(config.Config)
    }
    assert set(document["$defs"]["Env"]["properties"]) == {"required", "build"}
    assert document["$defs"]["Scale"]["additionalProperties"] == {"type": "integer", "minimum": 0, "maximum": 100}
    assert '"null"' not in json.dumps(document)


def test_the_schema_describes_every_setting_of_build_and_run() -> None:
    definitions = config.json_schema()["$defs"]
    for table in ("Build", "Run", "Env"):
        for name, entry in definitions[table]["properties"].items():
            assert "description" in entry or "$ref" in entry, f"{table}.{name}"
