"""Env changes: what a patch leaves, what it refuses, when it builds, and which commit it carries live."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from app import environments
from app.appliance import Appliance
from app.environments import VALUE_LIMIT, change_env, masked, merged, needs_build, refuse_bad
from app.errors import BadInput, EnvKeysLost
from app.inputs import EnvPatch
from app.model import Environment, EnvVar, EnvVersion, Plan
from app.store import Store
from tests.nouns import COMMIT, IMAGE, PLAN, actions, claimed, live, queued

OTHER = "beef" + "0" * 36


def var(key: str, value: str = "v", build: bool = False) -> EnvVar:
    return EnvVar(key=key, value=value, build=build)


# -- pure


OLD = {"A": var("A", "1"), "B": var("B", "2", build=True)}


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        (EnvPatch(), OLD),
        (EnvPatch(set={"C": "3"}), {**OLD, "C": var("C", "3")}),
        (EnvPatch(set={"A": "9"}), {**OLD, "A": var("A", "9")}),
        (EnvPatch(unset=("A", "Z")), {"B": OLD["B"]}),
        (EnvPatch(set={"A": "9"}, unset=("A",)), {**OLD, "A": var("A", "9")}),
        (EnvPatch(set={"B": "9"}), {**OLD, "B": var("B", "9", build=True)}),
        (EnvPatch(set={"C": "3"}, build=("C",)), {**OLD, "C": var("C", "3", build=True)}),
        (EnvPatch(build=("A", "Z")), {**OLD, "A": var("A", "1", build=True)}),
        (EnvPatch(set={"B": "9", "C": "3"}, replace=True), {"B": var("B", "9", build=True), "C": var("C", "3")}),
        (EnvPatch(replace=True), {}),
    ],
    ids=["nothing", "add", "change", "unset", "set wins", "build stays", "build new", "build old", "replace", "replace all"],
)
def test_a_patch(patch: EnvPatch, expected: dict[str, EnvVar]) -> None:
    before = dict(OLD)
    assert merged(OLD, patch) == expected
    assert before == OLD


@pytest.mark.parametrize("key", ["", "1A", "A-B", "A B", "A=B", "-A", "Ä", "A\n", "A" * 129, "PORT", "HOMEPORT_PROJECT"])
def test_a_bad_key_is_refused(key: str) -> None:
    with pytest.raises(BadInput):
        refuse_bad(EnvPatch(set={key: "v"}))


@pytest.mark.parametrize("value", ["a\0b", "x" * (VALUE_LIMIT + 1), "ü" * (VALUE_LIMIT // 2 + 1)])
def test_a_bad_value_is_refused_without_being_shown(value: str) -> None:
    with pytest.raises(BadInput, match="the value of KEY") as raised:
        refuse_bad(EnvPatch(set={"KEY": value}))
    assert value not in str(raised.value)


@pytest.mark.parametrize(("key", "value"), [("A", ""), ("_a1", "x" * VALUE_LIMIT), ("PORTS", "a\nb\t'\"$(x)"), ("A" * 128, "ü")])
def test_what_a_process_can_take_is_taken(key: str, value: str) -> None:
    refuse_bad(EnvPatch(set={key: value}))


def test_masked_keeps_keys_and_flags_and_no_value() -> None:
    version = EnvVersion(number=3, created_at="now", created_by="ada", variables=(var("A", "canary"), var("B", "canary", True)))
    found = masked(version)
    assert [(v.key, v.value, v.build) for v in found.variables] == [("A", None, False), ("B", None, True)]
    assert (found.number, found.created_by) == (3, "ada")
    assert b"canary" not in msgspec.json.encode(found)


@pytest.mark.parametrize(
    ("keys", "builds"),
    [
        ({"A"}, False),
        ({"B"}, True),
        ({"VITE_API"}, True),
        ({"A", "B"}, True),
        ({"vite_api"}, False),
        ({"EXACT"}, True),
        (set(), False),
    ],
)
def test_only_what_the_build_sees_builds_anew(keys: set[str], builds: bool) -> None:
    plan = Plan(bundle="vite", language="node", env_build=("VITE_*", "EXACT"))
    assert needs_build(plan, OLD.values(), keys) is builds


# -- what is stored and queued


def test_a_change_is_a_version_and_a_deployment_of_the_same_image(
    store: Store, environment: Environment, box: Appliance, rung: list[str]
) -> None:
    live(store, environment, message="first")
    changed = change_env(box, "web", EnvPatch(set={"A": "canary"}), "bob")
    assert (changed.added, changed.changed, changed.removed) == (("A",), (), ())
    assert changed.version.variables == (EnvVar(key="A", value=None),)
    deployment = changed.deployment
    assert deployment is not None
    assert (deployment.trigger, deployment.env_version, deployment.commit, deployment.message) == ("env", 1, COMMIT, "first")
    assert (deployment.plan, deployment.image) == (PLAN, IMAGE)
    assert rung == ["wake"]
    assert b"canary" not in msgspec.json.encode(changed)


def test_nothing_that_differs_changes_nothing(store: Store, environment: Environment, box: Appliance, rung: list[str]) -> None:
    live(store, environment)
    change_env(box, "web", EnvPatch(set={"A": "1"}, deploy=False), "bob")
    before = actions(store)
    for patch in (EnvPatch(), EnvPatch(set={"A": "1"}), EnvPatch(unset=("Z",))):
        changed = change_env(box, "web", patch, "bob")
        assert (changed.version.number, changed.deployment) == (1, None)
    assert actions(store) == before
    assert rung == []


def test_without_deploy_the_version_waits(store: Store, environment: Environment, box: Appliance, rung: list[str]) -> None:
    live(store, environment)
    changed = change_env(box, "web", EnvPatch(set={"A": "1"}, deploy=False), "bob")
    assert changed.deployment is None
    assert store.environments.get(environment.id).env_version == 1
    assert rung == []


def test_before_anything_was_deployed_there_is_nothing_to_carry(store: Store, environment: Environment, box: Appliance) -> None:
    assert change_env(box, "web", EnvPatch(set={"A": "1"}), "bob").deployment is None


def test_a_replace_that_would_lose_keys_asks_and_changes_nothing(store: Store, environment: Environment, box: Appliance) -> None:
    change_env(box, "web", EnvPatch(set={"A": "1", "B": "2", "C": "3"}), "bob")
    with pytest.raises(EnvKeysLost, match="A, B would go away") as raised:
        change_env(box, "web", EnvPatch(set={"C": "3"}, replace=True), "bob")
    assert raised.value.extra == {"keys": ["A", "B"]}
    assert store.env.values(environment.id, store.environments.get(environment.id).env_version) == {"A": "1", "B": "2", "C": "3"}
    changed = change_env(box, "web", EnvPatch(set={"C": "3"}, replace=True, lose_env=True), "bob")
    assert changed.removed == ("A", "B")


@pytest.mark.parametrize("patch", [EnvPatch(set={"B": "9"}), EnvPatch(unset=("B",)), EnvPatch(build=("A",))])
def test_a_build_time_key_builds_anew_also_when_it_goes(
    store: Store, environment: Environment, box: Appliance, patch: EnvPatch
) -> None:
    change_env(box, "web", EnvPatch(set={"A": "1", "B": "2"}, build=("B",)), "bob")
    live(store, environment)
    deployment = change_env(box, "web", patch, "bob").deployment
    assert deployment is not None
    assert (deployment.commit, deployment.plan, deployment.image) == (COMMIT, None, None)


def test_a_change_takes_the_newest_commit_along_and_never_an_older_one(
    store: Store, environment: Environment, box: Appliance
) -> None:
    live(store, environment)
    running = claimed(store, environment, commit=OTHER)
    first = change_env(box, "web", EnvPatch(set={"A": "1"}), "bob").deployment
    assert first is not None
    assert (first.commit, first.image) == (OTHER, None)
    newest = queued(store, environment, commit="abcd" + "0" * 36)
    second = change_env(box, "web", EnvPatch(set={"A": "2"}), "bob").deployment
    assert second is not None
    assert (second.commit, second.env_version) == (newest.commit, 2)
    assert store.deployments.get(newest.id).status == "superseded"
    assert store.deployments.get(running.id).status == "source"


def test_a_change_after_a_waiting_rollback_keeps_what_it_brings_back(
    store: Store, environment: Environment, box: Appliance
) -> None:
    live(store, environment, commit=OTHER)
    live(store, environment)
    queued(store, environment, "rollback", commit=OTHER, plan=PLAN, image=IMAGE, rollback_to=1)
    deployment = change_env(box, "web", EnvPatch(set={"A": "1"}), "bob").deployment
    assert deployment is not None
    assert (deployment.commit, deployment.image) == (OTHER, IMAGE)


def test_values_are_shown_only_when_asked_and_that_is_recorded(store: Store, environment: Environment, box: Appliance) -> None:
    change_env(box, "web", EnvPatch(set={"A": "canary"}), "bob")
    assert environments.env(box, "web", None, False, "bob").variables == (EnvVar(key="A"),)
    assert "env.revealed" not in actions(store)
    assert environments.env(box, "web", None, True, "eve").variables == (EnvVar(key="A", value="canary"),)
    event = store.events.newest(limit=1)[0]
    assert (event.action, event.actor, event.detail) == ("env.revealed", "eve", {"version": 1})
    assert environments.env(box, "web", 0, False, "bob").variables == ()


def test_two_changes_at_once_lose_neither(store: Store, environment: Environment, box: Appliance) -> None:
    def change(number: int) -> Any:
        return change_env(box, "web", EnvPatch(set={f"K{number}": "v"}), "bob")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(change, range(8)))
    head = store.environments.get(environment.id).env_version
    assert set(store.env.values(environment.id, head)) == {f"K{number}" for number in range(8)}
