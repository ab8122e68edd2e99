"""The plan in words, and what stops a deployment before anything was built."""

from __future__ import annotations

import pytest

from app.deploy.planning import described, refuse_loss, refuse_missing
from app.errors import EnvKeysLost, StageFailed
from app.model import Choice, Plan


def plan(**fields: object) -> Plan:
    return Plan(**{"bundle": "python", "language": "python", **fields})  # type: ignore[arg-type]


def test_a_plan_in_words() -> None:
    found = described(
        plan(
            framework="flask",
            choices=(
                Choice(name="python", value="3.11", because=".python-version"),
                Choice(name="port", value="8000", because="Procfile"),
            ),
            warnings=("no lock file",),
        )
    )
    assert found == [
        "python (flask): runs as docker",
        "  python = 3.11  (because .python-version)",
        "  port = 8000  (because Procfile)",
        "  warning: no lock file",
    ]


@pytest.mark.parametrize("framework", [None, "python"])
def test_a_framework_that_says_nothing_new_is_left_out(framework: str | None) -> None:
    assert described(plan(framework=framework, runtime="static")) == ["python: runs as static"]


@pytest.mark.parametrize(("required", "defaults", "env"), [((), {}, {}), (("A",), {"A": "1"}, {}), (("A",), {}, {"A": ""})])
def test_what_is_required_and_set_passes(required: tuple[str, ...], defaults: dict[str, str], env: dict[str, str]) -> None:
    refuse_missing(plan(env_required=required, env=defaults), env)


@pytest.mark.parametrize(
    ("required", "cause", "hint"),
    [
        (("A",), "homeport.toml requires A, which is not set", "homeport env set A=…"),
        (("C", "A", "B"), "homeport.toml requires A, C, which are not set", "homeport env set A=… C=…"),
    ],
)
def test_what_is_required_and_missing_is_named_with_the_command(required: tuple[str, ...], cause: str, hint: str) -> None:
    with pytest.raises(StageFailed) as raised:
        refuse_missing(plan(env_required=required), {"B": "1"})
    assert (raised.value.cause, raised.value.failure_code, raised.value.hint) == (cause, "missing-env", hint)


@pytest.mark.parametrize(("before", "after"), [(set(), set()), (set(), {"A"}), ({"A"}, {"A", "B"})])
def test_keys_that_stay_are_no_loss(before: set[str], after: set[str]) -> None:
    refuse_loss(before, after)


def test_keys_that_would_go_are_named() -> None:
    with pytest.raises(EnvKeysLost, match="the live deployment has A, C; this one would not") as raised:
        refuse_loss({"C", "A", "B"}, {"B", "D"})
    assert raised.value.extra == {"keys": ["A", "C"]}
    assert "--lose-env" in raised.value.hint
