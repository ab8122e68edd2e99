"""The history: numbers, what a newer one supersedes, what one commit changes, and what can be canceled."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.errors import Canceled, Conflict, NotFound
from app.model import STAGES, Deployment, Environment, Traffic
from app.store import Store
from tests.nouns import FAILURE, IMAGE, PLAN, actions, claimed, live, new_environment, new_project, queued, status, usage_rows

# -- asking for one


def test_numbers_count_per_project_from_one(store: Store) -> None:
    first, second = new_environment(store, "a"), new_environment(store, "b")
    assert [queued(store, e).number for e in (first, first, second, first)] == [1, 2, 1, 3]
    assert (store.projects.named("a").number, store.projects.named("b").number) == (3, 1)


def test_sixteen_callers_get_sixteen_numbers_and_one_stays_queued(store: Store, environment: Environment) -> None:
    start = threading.Barrier(16)

    def ask(_: int) -> int:
        start.wait(10)
        return queued(store, environment).number

    with ThreadPoolExecutor(16) as pool:
        assert sorted(pool.map(ask, range(16))) == list(range(1, 17))
    assert [d.number for d in store.deployments.waiting()] == [16]


def test_a_newer_one_supersedes_what_is_queued_in_its_environment(store: Store, environment: Environment) -> None:
    other = queued(store, new_environment(store, "other"))
    running = claimed_first(store, other)
    older = queued(store, environment)
    newer = queued(store, environment)
    assert [status(store, d) for d in (older, newer, running)] == ["superseded", "queued", "source"]
    assert store.deployments.get(older.id).finished_at is not None
    event = next(e for e in store.events.after(0) if e.action == "deployment.superseded")
    assert (event.target, event.detail) == (older.id, {"number": 1, "by": 2})


def claimed_first(store: Store, wanted: Deployment) -> Deployment:
    found = store.deployments.claim("worker")
    assert found is not None
    assert found.id == wanted.id
    return found


def test_what_runs_is_not_superseded(store: Store, environment: Environment) -> None:
    running = claimed(store, environment)
    queued(store, environment)
    assert status(store, running) == "source"


def test_a_rollback_supersedes_the_queue_pauses_the_project_and_stops_what_is_before_its_switch(
    store: Store, environment: Environment
) -> None:
    running, waiting = claimed(store, environment), queued(store, environment)
    rollback = queued(store, environment, "rollback", rollback_to=1)
    assert [status(store, d) for d in (running, waiting, rollback)] == ["source", "superseded", "queued"]
    assert store.deployments.cancel_asked() == {running.id: f"rollback #{rollback.number}"}
    assert store.projects.named("web").paused_because == "rolled back to #1 by ada"


def test_a_rollback_leaves_alone_what_has_switched(store: Store, environment: Environment) -> None:
    running = claimed(store, environment)
    store.deployments.enter(running, "route")
    queued(store, environment, "rollback", rollback_to=1)
    assert store.deployments.cancel_asked() == {}


def test_a_later_deployment_does_not_supersede_a_rollback(store: Store, environment: Environment) -> None:
    rollback = queued(store, environment, "rollback", rollback_to=1)
    queued(store, environment)
    assert status(store, rollback) == "queued"


# -- reading


def test_reading_by_number_page_and_state(store: Store, environment: Environment) -> None:
    first = live(store, environment)
    second = live(store, environment)
    failed = claimed(store, environment)
    store.deployments.end(failed, "failed", FAILURE)
    waiting = queued(store, environment)
    project = environment.project_id
    deployments = store.deployments
    assert deployments.numbered(project, 2).id == second.id
    assert [d.number for d in deployments.page(project)] == [4, 3, 2, 1]
    assert [d.number for d in deployments.page(project, 2, before=4)] == [3, 2]
    assert [d.number for d in deployments.once_live(environment.id, 10)] == [2, 1]
    assert [d.number for d in deployments.once_live(environment.id, 1)] == [2]
    assert [d.id for d in deployments.unfinished(project)] == [waiting.id]
    assert deployments.active() == []
    assert [d.number for d in deployments.everything()] == [1, 2, 3, 4]
    assert [status(store, d) for d in (first, second)] == ["retired", "live"]
    with pytest.raises(NotFound):
        deployments.get("dep_x")
    with pytest.raises(NotFound):
        deployments.numbered(project, 9)


# -- what a worker writes


def test_stages_add_up_and_builds_are_metered(store: Store, environment: Environment) -> None:
    running = claimed(store, environment)
    for stage, seconds in (("source", 0.5), ("image", 2.0), ("image", 1.5)):
        store.deployments.timed(running, stage, seconds)
    assert store.deployments.get(running.id).stage_seconds == {"source": 0.5, "image": 3.5}
    assert [(u["metric"], u["quantity"], u["ended_at"] is None) for u in usage_rows(store)] == [
        ("build_seconds", 2.0, False),
        ("build_seconds", 1.5, False),
    ]


def test_replicas_are_metered_in_intervals_that_news_ends(store: Store, environment: Environment) -> None:
    first, second = live(store, environment), live(store, environment)
    for deployment, replicas in ((first, 1), (first, 1), (second, 1), (second, 3), (second, 0), (second, 0)):
        store.usage.meter(deployment, replicas)
    assert [(u["deployment_id"], u["quantity"], u["ended_at"] is None) for u in usage_rows(store)] == [
        (first.id, 1.0, False),
        (second.id, 1.0, False),
        (second.id, 3.0, False),
    ]


def test_what_the_stages_decide_is_stored(store: Store, environment: Environment) -> None:
    running = claimed(store, environment)
    store.deployments.pinned(running, "t" * 40, "first")
    store.deployments.planned(running, PLAN)
    store.deployments.built(running, IMAGE)
    found = store.deployments.get(running.id)
    assert (found.tree, found.message, found.plan, found.image) == ("t" * 40, "first", PLAN, IMAGE)


def test_live_is_one_commit(store: Store, environment: Environment) -> None:
    first = live(store, environment)
    store.environments.change(environment, "environment.stopped", "ada", stopped=True)
    second = claimed(store, environment)
    found = store.deployments.make_live(second)
    assert (found.status, found.finished_at is not None, found.drained_at) == ("live", True, None)
    assert status(store, first) == "retired"
    after = store.environments.get(environment.id)
    assert (after.live_deployment_id, after.stopped) == (second.id, False)
    assert actions(store)[-1] == "deployment.live"
    assert [d.id for d in store.deployments.undrained()] == [second.id]


def test_live_that_fails_half_way_changes_nothing(
    store: Store, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = live(store, environment)
    second = claimed(store, environment)
    usage = usage_rows(store)

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(store.events, "append", broken)
    with pytest.raises(ZeroDivisionError):
        store.deployments.make_live(second)
    assert [status(store, d) for d in (first, second)] == ["live", "source"]
    assert store.environments.get(environment.id).live_deployment_id == first.id
    assert usage_rows(store) == usage


def test_one_replaced_before_it_had_drained_counts_as_drained(store: Store, environment: Environment) -> None:
    first = claimed(store, environment)
    store.deployments.make_live(first)
    second = claimed(store, environment)
    store.deployments.make_live(second)
    assert store.deployments.get(first.id).drained_at is not None
    assert [d.id for d in store.deployments.undrained()] == [second.id]


@pytest.mark.parametrize("traffic", [None, Traffic(probes=500, dropped=2, longest_wait_ms=31)])
def test_the_figures_of_the_prober_are_kept_or_null(store: Store, environment: Environment, traffic: Traffic | None) -> None:
    running = claimed(store, environment)
    store.deployments.make_live(running)
    store.deployments.drained(running, traffic)
    found = store.deployments.get(running.id)
    assert found.drained_at is not None
    expected = (None, None, None) if traffic is None else (500, 2, 31)
    assert (found.probes, found.dropped, found.longest_wait_ms) == expected


def test_an_end_says_why_and_who(store: Store, environment: Environment) -> None:
    failed = claimed(store, environment)
    store.deployments.end(failed, "failed", FAILURE)
    assert store.deployments.get(failed.id).failure == FAILURE
    event = store.events.newest(limit=1)[0]
    assert (event.action, event.actor) == ("deployment.failed", "ada")
    assert event.detail == {"number": 1, "code": "not-recognised", "stage": "plan"}


# -- canceling


def test_a_queued_one_is_canceled_at_once(store: Store, environment: Environment) -> None:
    waiting = queued(store, environment)
    found = store.deployments.ask_to_cancel(waiting, "bob")
    assert (found.status, found.finished_at is not None) == ("canceled", True)
    event = store.events.newest(limit=1)[0]
    assert (event.action, event.actor) == ("deployment.canceled", "bob")
    assert store.deployments.claim("worker") is None


@pytest.mark.parametrize("stage", ["source", "plan", "image", "rollout"])
def test_a_running_one_is_asked_and_stops_at_its_next_stage(store: Store, environment: Environment, stage: str) -> None:
    running = claimed(store, environment)
    store.deployments.enter(running, stage)
    assert store.deployments.ask_to_cancel(running, "bob").status == stage
    assert store.deployments.cancel_asked() == {running.id: "bob"}
    with pytest.raises(Canceled, match="canceled by bob"):
        store.deployments.enter(running, STAGES[STAGES.index(stage) + 1])
    assert status(store, running) == stage
    store.deployments.end(running, "canceled", FAILURE)
    event = store.events.newest(limit=1)[0]
    assert (event.action, event.actor) == ("deployment.canceled", "bob")
    assert store.deployments.cancel_asked() == {}


@pytest.mark.parametrize("stage", ["route", "health"])
def test_one_that_takes_traffic_cannot_be_canceled(store: Store, environment: Environment, stage: str) -> None:
    running = claimed(store, environment)
    store.deployments.enter(running, stage)
    with pytest.raises(Conflict, match=f"#1 is {stage} and cannot be canceled"):
        store.deployments.ask_to_cancel(running, "bob")
    assert store.deployments.cancel_asked() == {}


def test_one_that_has_ended_cannot_be_canceled(store: Store, environment: Environment) -> None:
    done = live(store, environment)
    with pytest.raises(Conflict, match="#1 is live") as raised:
        store.deployments.ask_to_cancel(done, "bob")
    assert "rollback" in raised.value.hint


def test_asking_is_never_lost_between_two_stages(store: Store, environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Either the worker stops before its switch, or the caller is told that it is too late."""
    running = claimed(store, environment)
    store.deployments.enter(running, "rollout")
    asked: list[threading.Thread] = []
    answers: list[str] = []

    def ask() -> None:
        try:
            store.deployments.ask_to_cancel(running, "bob")
            answers.append("asked")
        except Conflict:
            answers.append("too late")

    look = store.deployments.cancel_asked

    def look_and_let_somebody_ask() -> dict[str, str]:
        seen = look()
        asked.append(threading.Thread(target=ask))
        asked[0].start()
        asked[0].join(0.2)
        return seen

    monkeypatch.setattr(store.deployments, "cancel_asked", look_and_let_somebody_ask)
    store.deployments.enter(running, "route")
    asked[0].join(10)
    assert answers == ["too late"]


def test_the_store_of_one_project_says_nothing_of_another(store: Store) -> None:
    first = new_project(store, "a")
    queued(store, new_environment(store, "b"))
    assert store.deployments.page(first.id) == []
    assert store.deployments.unfinished(first.id) == []
