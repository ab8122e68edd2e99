"""Asking for deployments: what a rollback may bring back, what it copies, and when a deployment is over."""

from __future__ import annotations

from typing import Any

import pytest

from app import deployments
from app.appliance import Appliance
from app.deploy import source
from app.errors import BadInput, Conflict, NotFound
from app.inputs import NewDeployment, NewRollback
from app.model import Environment, EnvVar, Failure
from app.store import Store
from tests.nouns import COMMIT, IMAGE, PLAN, actions, claimed, live, queued

FAILURE = Failure(stage="plan", code="c", cause="c", hint="h")


def test_over_is_ended_and_drained(store: Store, environment: Environment) -> None:
    assert not deployments.over(queued(store, environment))
    running = claimed(store, environment)
    assert not deployments.over(running)
    serving = store.deployments.make_live(running)
    assert not deployments.over(serving)
    store.deployments.drained(running, None)
    assert deployments.over(store.deployments.get(running.id))
    failed = claimed(store, environment)
    store.deployments.end(failed, "failed", FAILURE)
    assert deployments.over(store.deployments.get(failed.id))


def test_a_deployment_is_of_the_pinned_commit_with_the_env_of_now(
    store: Store, environment: Environment, box: Appliance, rung: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pinning asks a far machine, and somebody sets a variable meanwhile."""

    def pin(box: Appliance, project: Any, ref: str | None) -> tuple[str, str]:
        store.env.create(environment, {"A": EnvVar(key="A", value="1")}, "eve")
        return COMMIT, ref or "main"

    monkeypatch.setattr(source, "pin", pin)
    new = NewDeployment(git_ref="v1")
    deployment = deployments.create(box, "web", new, "bob", deployments.pin(box, "web", new))
    assert (deployment.trigger, deployment.commit, deployment.ref) == ("git", COMMIT, "v1")
    assert (deployment.env_version, deployment.created_by) == (1, "bob")
    assert rung == ["wake"]


def test_an_upload_must_be_there(store: Store, environment: Environment, box: Appliance, monkeypatch: pytest.MonkeyPatch) -> None:
    def require(box: Appliance, project: Any, commit: str) -> None:
        if commit != COMMIT:
            raise NotFound("no such upload")

    monkeypatch.setattr(source, "require", require)
    with pytest.raises(NotFound):
        deployments.pin(box, "web", NewDeployment(commit="f" * 40))
    new = NewDeployment(commit=COMMIT, ref="topic", dirty=True, lose_env=True)
    deployment = deployments.create(box, "web", new, "bob", deployments.pin(box, "web", new))
    assert (deployment.trigger, deployment.ref, deployment.dirty, deployment.lose_env) == ("upload", "topic", True, True)


def test_a_rollback_brings_back_image_plan_and_a_copy_of_the_env(
    store: Store, environment: Environment, box: Appliance, rung: list[str]
) -> None:
    first = store.env.create(environment, {"A": EnvVar(key="A", value="1", build=True)}, "ada")
    live(store, environment, env_version=first.number, message="good", ref="main")
    second = store.env.create(environment, {"A": EnvVar(key="A", value="2")}, "ada")
    live(store, environment, env_version=second.number)
    deployment = deployments.rollback(box, "web", NewRollback(), "bob")
    assert (deployment.trigger, deployment.rollback_to, deployment.message) == ("rollback", 1, "good")
    assert (deployment.commit, deployment.plan, deployment.image) == (COMMIT, PLAN, IMAGE)
    assert deployment.env_version == 3
    assert store.env.version(environment.id, 3).variables == first.variables
    assert store.environments.get(environment.id).env_version == 3
    assert store.projects.named("web").paused_because == "rolled back to #1 by bob"
    assert rung == ["wake"]
    assert actions(store)[-2:] == ["env.rolled_back", "deployment.queued"]


def test_a_rollback_with_the_same_env_makes_no_version(store: Store, environment: Environment, box: Appliance) -> None:
    live(store, environment)
    live(store, environment)
    assert deployments.rollback(box, "web", NewRollback(number=1), "bob").env_version == 0
    assert store.environments.get(environment.id).env_version == 0


def test_without_a_number_it_is_the_one_before_the_live_one(store: Store, environment: Environment, box: Appliance) -> None:
    live(store, environment)
    live(store, environment)
    failed = claimed(store, environment)
    store.deployments.end(failed, "failed", FAILURE)
    live(store, environment)
    assert deployments.rollback(box, "web", NewRollback(), "bob").rollback_to == 2


def test_what_cannot_come_back_is_refused_with_what_can(store: Store, environment: Environment, box: Appliance) -> None:
    with pytest.raises(Conflict, match="no earlier deployment") as raised:
        deployments.rollback(box, "web", NewRollback(), "bob")
    assert "Kept for rollback: none." in raised.value.hint
    keep = box.settings.keep_deployments
    for _ in range(keep + 2):
        live(store, environment)
    failed = claimed(store, environment)
    store.deployments.end(failed, "failed", FAILURE)
    with pytest.raises(Conflict, match=f"#{keep + 2} is live already") as raised:
        deployments.rollback(box, "web", NewRollback(number=keep + 2), "bob")
    kept = ", ".join(f"#{number}" for number in range(keep + 1, 1, -1))
    assert f"Kept for rollback: {kept}." in raised.value.hint
    with pytest.raises(BadInput, match=f"#{failed.number} is failed: it never served"):
        deployments.rollback(box, "web", NewRollback(number=failed.number), "bob")
    with pytest.raises(BadInput, match="the image of #1 is not kept any more"):
        deployments.rollback(box, "web", NewRollback(number=1), "bob")
    with pytest.raises(NotFound):
        deployments.rollback(box, "web", NewRollback(number=99), "bob")
    assert store.projects.named("web").paused_because is None
    assert deployments.rollback(box, "web", NewRollback(number=2), "bob").rollback_to == 2


def test_a_rollback_tells_what_is_under_way_to_stop(store: Store, environment: Environment, box: Appliance) -> None:
    live(store, environment)
    live(store, environment)
    running = claimed(store, environment)
    cancel = box.journal.cancel(running)
    deployments.rollback(box, "web", NewRollback(), "bob")
    assert cancel.is_set()


def test_resuming_is_told_once(store: Store, environment: Environment, box: Appliance) -> None:
    live(store, environment)
    live(store, environment)
    deployments.rollback(box, "web", NewRollback(), "bob")
    assert deployments.resume(box, "web", "eve").paused_because is None
    assert deployments.resume(box, "web", "eve").paused_because is None
    assert actions(store).count("project.resumed") == 1


def test_a_canceled_one_is_told_to_stop(store: Store, environment: Environment, box: Appliance) -> None:
    running = claimed(store, environment)
    cancel = box.journal.cancel(running)
    deployments.cancel(box, "web", running.number, "bob")
    assert cancel.is_set()


def test_the_log_is_read_on_until_nothing_more_can_come(store: Store, environment: Environment, box: Appliance) -> None:
    running = claimed(store, environment)
    box.journal.log(running)("one")
    assert deployments.log(box, "web", 1, 0) == (["one"], 1, False)
    assert deployments.log(box, "web", 1, 1) == ([], 1, False)
    box.journal.log(running)("two")
    store.deployments.end(running, "failed", FAILURE)
    box.journal.ended(running)
    assert deployments.log(box, "web", 1, 1) == (["two"], 2, False)
    assert deployments.log(box, "web", 1, 2) == ([], 2, True)
