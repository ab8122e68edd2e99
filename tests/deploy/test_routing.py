from __future__ import annotations

import pytest

from app.adapters.edge import EdgeSite, render
from app.appliance import Appliance
from app.deploy import routing
from app.errors import OutOfSpace, StageFailed
from app.model import Deployment, Environment, HealthCheck, Plan, Running, Switch
from app.store import Store
from tests.edge import Calls
from tests.nouns import PLAN, claimed, live, new_environment


@pytest.fixture
def environment(store: Store, environment: Environment) -> Environment:
    store.domains.add(environment, "www.example.org", "acme", generated=False, actor="ada")
    store.domains.add(environment, "web.localhost", "internal", generated=True, actor="ada")
    return environment


def candidate(store: Store, environment: Environment, plan: Plan = PLAN) -> Deployment:
    """A deployment on its way, as `deploy` holds it: without the plan that is stored by now."""
    deployment = claimed(store, environment)
    store.deployments.planned(deployment, plan)
    return deployment


def up(deployment: Deployment, address: str = "10.0.0.1:80") -> Running:
    return Running(deployment_id=deployment.id, number=deployment.number, runtime="docker", addresses=(address,))


def test_the_first_switch_is_not_probed(box: Appliance, store: Store, environment: Environment, prober: Calls) -> None:
    deployment = candidate(store, environment)
    switch = routing.switch(box, deployment, up(deployment))
    assert switch == Switch(environment_id=environment.id, number=1, previous=None)
    assert routing.serving(box, environment.id) == 1
    assert prober.made == []
    assert store.intents.open() == []


def test_a_switch_is_probed_under_the_local_name_and_the_health_path(
    box: Appliance, store: Store, environment: Environment, prober: Calls
) -> None:
    first = live(store, environment)
    routing.switch(box, first, up(first))
    second = candidate(store, environment, Plan(bundle="b", language="l", health=HealthCheck(path="/up")))
    assert routing.switch(box, second, up(second)) == Switch(environment_id=environment.id, number=2, previous=1)
    assert prober.made == [("start", environment.id, "web.localhost", "/up"), ("mark", environment.id)]
    assert routing.switch(box, second, up(second)).number == 2
    assert len(prober.made) == 2
    assert routing.serving(box, environment.id) == 2


def test_the_prober_starts_before_the_traffic_turns(
    box: Appliance, store: Store, environment: Environment, prober: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = live(store, environment)
    routing.switch(box, first, up(first))
    second = candidate(store, environment)
    seen: list[int | None] = []
    monkeypatch.setattr(prober, "mark", lambda *_: seen.append(routing.serving(box, environment.id)))
    routing.switch(box, second, up(second))
    assert seen == [1]


def test_an_intent_is_written_before_the_turn_and_stays_when_it_fails(
    box: Appliance, store: Store, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = candidate(store, environment)
    seen: list[str] = []

    def full(*_: object) -> None:
        seen.extend(f"{row['kind']} {row['name'].split('/')[0]}" for row in store.intents.open())
        raise OutOfSpace("no room")

    monkeypatch.setattr(box.disk, "publish", full)
    with pytest.raises(OutOfSpace):
        routing.switch(box, deployment, up(deployment))
    assert seen == [f"route {environment.id}"]
    assert [row["kind"] for row in store.intents.open()] == ["route"]
    assert routing.serving(box, environment.id) is None


def test_a_deployment_without_a_plan_is_not_routed(box: Appliance, store: Store, environment: Environment) -> None:
    deployment = claimed(store, environment)
    with pytest.raises(StageFailed, match="#1 has no plan"):
        routing.switch(box, deployment, up(deployment))


def test_every_name_of_the_box_is_told_to_caddy(box: Appliance, store: Store, environment: Environment, caddy: Calls) -> None:
    other = new_environment(store, "api")
    store.domains.add(other, "api.localhost", "internal", generated=True, actor="ada")
    wanted = render(
        box.settings,
        [
            EdgeSite(environment.id, (("www.example.org", "acme"), ("web.localhost", "internal"))),
            EdgeSite(other.id, (("api.localhost", "internal"),)),
        ],
    )
    assert routing.sync_edge(box) is False
    assert caddy.made == [("ensure_running", wanted), ("apply", wanted)]
    caddy.changes = True
    assert routing.sync_edge(box) is True


def test_a_caddy_that_was_started_has_the_configuration_already(box: Appliance, caddy: Calls) -> None:
    caddy.starts = True
    assert routing.sync_edge(box) is True
    assert routing.repair_edge(box) == ["started Caddy"]
    assert [name for name, _ in caddy.made] == ["ensure_running", "ensure_running"]


def test_a_foreign_edit_is_put_back_and_said(box: Appliance, caddy: Calls) -> None:
    assert routing.repair_edge(box) == []
    caddy.drifts, caddy.changes = ["apps.http was changed"], True
    assert routing.repair_edge(box) == ["put Caddy's configuration back: apps.http was changed"]
    assert [name for name, _ in caddy.made] == ["ensure_running", "drift", "apply"] * 2
    assert routing.drift(box) == ["apps.http was changed"]
