"""The builder's command line, which CLI is taken, and what plain progress is read as."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.adapters import buildkit
from app.adapters.buildkit import Build, Built, Cli, Progress
from app.detection import dockerfile
from app.errors import Unavailable

BUILD = Build(
    context=Path("/w/src"),
    dockerfile=Path("/w/b/Dockerfile"),
    tag="hp-shop:1",
    labels={"homeport.managed": "1"},
    args={"B": "2", "A": "1 x"},
    secrets={"homeport_env": Path("/w/b/env")},
)


def test_argv_of_the_builtin_builder() -> None:
    assert buildkit.argv(Cli("/usr/bin/docker", buildx=False), BUILD, "/ignored") == [
        *("/usr/bin/docker", "build", "--progress", "plain", "--file", "/w/b/Dockerfile", "--tag", "hp-shop:1"),
        *("--label", "homeport.managed=1", "--build-arg", "A=1 x", "--build-arg", "B=2"),
        *("--secret", "id=homeport_env,src=/w/b/env", "/w/src"),
    ]


def test_argv_of_buildx() -> None:
    build = Build(context=Path("/w"), dockerfile=Path("/d"), tag="hp-shop:1")
    assert buildkit.argv(Cli("/bin/docker", buildx=True), build, "/homeport-build") == [
        *("/bin/docker", "buildx", "--builder", "default", "build", "--progress", "plain", "--file", "/d"),
        *("--cgroup-parent", "/homeport-build", "--tag", "hp-shop:1", "--load", "/w"),
    ]


def test_argv_of_files_instead_of_an_image() -> None:
    build = Build(context=Path("/w"), dockerfile=Path("/d"), output=Path("/out"))
    words = buildkit.argv(Cli("/bin/docker", buildx=True), build)
    assert words[-3:] == ["--output", "type=local,dest=/out", "/w"]
    assert "--load" not in words


def test_a_build_ends_with_its_server_where_the_machine_can_do_that() -> None:
    words = ["/usr/bin/docker", "build", "."]
    assert buildkit.tied(words, "/usr/bin/setpriv") == ["/usr/bin/setpriv", "--pdeathsig", "TERM", "--", *words]
    assert buildkit.tied(words, None) == words


def cli(folder: Path, name: str, *, buildx: bool, version: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(
        "#!/bin/sh\n"
        f'case "$*" in "buildx version") exit {0 if buildx else 1};; --version) echo "Docker version {version}, build x";; esac\n'
    )
    path.chmod(0o755)
    return str(path)


def test_the_first_cli_that_can_build_is_taken(tmp_path: Path) -> None:
    newer_without = cli(tmp_path / "a", "docker", buildx=False, version="28.2.2")
    old = cli(tmp_path / "b", "docker", buildx=False, version="20.10.24+dfsg1")
    plugin = cli(tmp_path / "c", "docker", buildx=True, version="28.2.2")
    path = f"{tmp_path}/a:{tmp_path}/b:{tmp_path}/c"
    assert buildkit.find_cli(None, path) == Cli(old, buildx=False)
    assert buildkit.find_cli(plugin, path) == Cli(plugin, buildx=True)
    assert buildkit.find_cli(newer_without, f"{tmp_path}/c") == Cli(plugin, buildx=True)


def test_no_cli_that_can_build_is_said_with_what_was_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = cli(tmp_path, "docker", buildx=False, version="28.2.2")
    monkeypatch.setattr(buildkit, "SYSTEM_CLI", str(tmp_path / "missing"))
    with pytest.raises(Unavailable) as caught:
        buildkit.find_cli(None, str(tmp_path))
    assert caught.value.cause == f"No docker command here can build with BuildKit (tried: {newer})."
    assert "docker-buildx-plugin" in caught.value.hint


def test_the_builder_gets_nothing_of_the_servers_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEPORT_SECRET", "s3cret")
    env = buildkit.env("unix:///x.sock")
    assert (env["DOCKER_HOST"], env["DOCKER_BUILDKIT"], "HOMEPORT_SECRET" in env) == ("unix:///x.sock", "1", False)


FAILED_20_10 = """\
#1 [internal] load build definition from Dockerfile
#1 sha256:0a
#1 transferring dockerfile: 92B done
#1 DONE 0.0s

#4 [1/3] FROM docker.io/library/python:3.11-slim
#4 sha256:1a
#4 CACHED

#5 [2/3] COPY app.py /app.py
#5 sha256:8b
#5 DONE 0.0s

#6 [3/3] RUN pip install nope
#6 sha256:56
#6 0.512 Collecting nope
#6 1.020   10%\r  20%\r
#6 1.500 ERROR: No matching distribution found for nope
#6 ERROR: executor failed running [/bin/sh -c pip install nope]: exit code: 1
------
 > [3/3] RUN pip install nope:
------
executor failed running [/bin/sh -c pip install nope]: exit code: 1
"""


def read(text: str, exit_code: int) -> tuple[list[str], Built]:
    lines: list[str] = []
    progress = Progress(lines.append)
    for line in text.split("\n"):
        progress.feed(line)
    return lines, progress.built(exit_code)


def test_a_failed_step_is_named_with_its_code_and_its_last_lines() -> None:
    lines, built = read(FAILED_20_10, 1)
    assert lines == [
        "[1/3] FROM docker.io/library/python:3.11-slim",
        "(unchanged)",
        "[2/3] COPY app.py /app.py",
        "[3/3] RUN pip install nope",
        "Collecting nope",
        "  20%",
        "ERROR: No matching distribution found for nope",
    ]
    assert built == Built(
        exit_code=1,
        step="[3/3] RUN pip install nope",
        step_exit_code=1,
        error="executor failed running [/bin/sh -c pip install nope]: exit code: 1",
        tail=("Collecting nope", "  20%", "ERROR: No matching distribution found for nope"),
    )


def test_the_words_of_buildx_are_read_too() -> None:
    text = (
        '#7 [2/2] RUN exit 3\n#7 ERROR: process "/bin/sh -c exit 3" did not complete successfully: exit code: 3\n'
        "------\n > [2/2] RUN exit 3:\n------\nDockerfile:2\n--------------------\n"
        '   2 | >>> RUN exit 3\nERROR: failed to solve: process "/bin/sh -c exit 3" did not complete successfully: exit code: 3\n'
    )
    _, built = read(text, 1)
    assert (built.step, built.step_exit_code) == ("[2/2] RUN exit 3", 3)


def test_a_last_line_without_newline_does_not_hide_the_end_of_its_step() -> None:
    lines, built = read("#5 [1/1] RUN x\n#5 0.1 the reason#5 ERROR: executor failed running [x]: exit code: 9\n", 1)
    assert lines == ["[1/1] RUN x", "the reason"]
    assert (built.step_exit_code, built.tail) == (9, ("the reason",))
    assert read("#5 0.1 fine#5 DONE 0.2s\n", 0)[0] == ["fine"]


def test_steps_that_run_side_by_side_are_headed_again() -> None:
    text = "#5 [a 1/1] RUN one\n#6 [b 1/1] RUN two\n#5 0.1 first\n#5 0.2 second\n#6 0.3 third\n#5 0.4 fourth\n"
    assert read(text, 0)[0] == [
        *("[a 1/1] RUN one", "[b 1/1] RUN two", "[a 1/1] RUN one", "first", "second"),
        *("[b 1/1] RUN two", "third", "[a 1/1] RUN one", "fourth"),
    ]


def test_an_image_that_cannot_be_had_is_named() -> None:
    words = 'failed to do request: Head "https://registry/v2/library/nope/manifests/9": dial tcp: no such host'
    text = f"#3 [internal] load metadata for docker.io/library/nope:9\n#3 sha256:1\n#3 ERROR: {words}\n------\n > [internal] x:\n"
    lines, built = read(text, 1)
    assert lines == []
    assert (built.image, built.step, built.step_exit_code, built.error) == ("docker.io/library/nope:9", "", None, words)


def test_a_dockerfile_that_cannot_be_read_leaves_the_builders_last_words() -> None:
    text = "#2 [internal] load .dockerignore\n#2 DONE 0.0s\nERROR: dockerfile parse error line 1: unknown instruction: FORM\n"
    _, built = read(text, 1)
    assert built.error == "dockerfile parse error line 1: unknown instruction: FORM"


def test_only_the_last_twenty_lines_of_a_step_are_kept() -> None:
    flood = "".join(f"#5 0.{n:03} line {n}\n" for n in range(500))
    _, built = read(f"#5 [1/1] RUN x\n{flood}#5 ERROR: exit code: 9\n", 1)
    assert built.tail == tuple(f"line {n}" for n in range(480, 500))


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("[2/3] COPY app.py /", "[2/3] COPY app.py /"),
        ("[2/3] RUN --mount=type=cache,id=a,target=/b --mount=type=secret,id=c make all", "[2/3] RUN make all"),
        ("[build 2/5] RUN " + dockerfile._sh_env('npm run "b" && ls'), '[build 2/5] RUN npm run "b" && ls'),
        ('[2/3] RUN ["/bin/echo", "x"]', '[2/3] RUN ["/bin/echo", "x"]'),
        ("[2/3] RUN [ -f x ] || touch x", "[2/3] RUN [ -f x ] || touch x"),
    ],
)
def test_a_step_is_named_as_people_mean_it(name: str, plain: str) -> None:
    assert buildkit.plain_step(name) == plain
