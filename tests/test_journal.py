"""The journal: a stage's status, time, log and errors; cancels; who holds an environment; what a failure says."""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.errors import BadInput, Canceled, LostLease, OutOfSpace, StageFailed
from app.journal import TAIL, Journal
from app.model import Deployment, Environment, EnvVar
from app.redaction import MASK
from app.settings import Settings
from app.store import Store
from tests.nouns import claimed, new_environment, queued


@pytest.fixture
def journal(store: Store, tmp_path: Path) -> Journal:
    return Journal(Settings(data=str(tmp_path)), store)


@pytest.fixture
def deployment(store: Store, environment: Environment, journal: Journal) -> Iterator[Deployment]:
    made = claimed(store, environment)
    yield made
    journal.ended(made)


# -- stages


def test_a_stage_is_entered_told_and_timed(store: Store, journal: Journal, deployment: Deployment) -> None:
    with journal.stage(deployment, "plan"):
        assert store.deployments.get(deployment.id).status == "plan"
        journal.log(deployment)("python: 3.11")
    assert journal.lines(deployment, 0) == ["-----> plan", "python: 3.11"]
    assert journal.lines(deployment, 1) == ["python: 3.11"]
    assert list(store.deployments.get(deployment.id).stage_seconds) == ["plan"]
    assert journal.log_path(deployment.project_id, 1).name == "1.log"


FULL = OSError(errno.ENOSPC, "No space left on device", "/data/x")
QUOTA = OSError(errno.EDQUOT, "Disk quota exceeded")


@pytest.mark.parametrize(
    ("error", "code", "cause"),
    [
        (BadInput("no such ref", hint="push it"), "bad-input", "no such ref"),
        (OutOfSpace("the disk is full: x"), "disk-full", "the disk is full: x"),
        (FULL, "disk-full", "the disk is full: /data/x"),
        (QUOTA, "disk-full", "the disk is full: image"),
        (OSError(errno.EIO, "canary-text"), "internal", "Homeport itself failed in image: OSError"),
        (ValueError("canary-text"), "internal", "Homeport itself failed in image: ValueError"),
    ],
    ids=["ours", "out of space", "ENOSPC", "quota", "EIO", "a fault of ours"],
)
def test_an_error_becomes_a_failed_stage(
    store: Store, journal: Journal, deployment: Deployment, error: Exception, code: str, cause: str
) -> None:
    with pytest.raises(StageFailed) as raised, journal.stage(deployment, "image"):
        raise error
    assert (raised.value.failure_code, raised.value.cause) == (code, cause)
    assert raised.value.hint
    assert raised.value.__cause__ is error
    assert list(store.deployments.get(deployment.id).stage_seconds) == ["image"]


@pytest.mark.parametrize(
    "error",
    [StageFailed("c", failure_code="wrong-port", hint="h"), Canceled("c"), LostLease("c")],
    ids=lambda e: type(e).__name__,
)
def test_what_is_said_already_passes_as_it_is(journal: Journal, deployment: Deployment, error: Exception) -> None:
    with pytest.raises(type(error)) as raised, journal.stage(deployment, "rollout"):
        raise error
    assert raised.value is error


def test_a_cancel_stops_before_the_next_stage(store: Store, journal: Journal, deployment: Deployment) -> None:
    journal.cancel(deployment).set()
    with pytest.raises(Canceled), journal.stage(deployment, "plan"):
        raise AssertionError("not reached")
    assert store.deployments.get(deployment.id).status == "source"
    assert journal.lines(deployment, 0) == []


def test_a_stale_worker_enters_no_stage(store: Store, journal: Journal, deployment: Deployment) -> None:
    store.deployments.release_dead(lambda _: False)
    store.deployments.claim("other")
    with pytest.raises(LostLease), journal.stage(deployment, "plan"):
        raise AssertionError("not reached")


def test_a_lease_lost_within_a_stage_does_not_hide_its_error(store: Store, journal: Journal, deployment: Deployment) -> None:
    def lose_it_and_fail() -> None:
        with journal.stage(deployment, "plan"):
            store.deployments.release_dead(lambda _: False)
            store.deployments.claim("other")
            raise BadInput("no such ref")

    with pytest.raises(StageFailed, match="no such ref"):
        lose_it_and_fail()
    assert store.deployments.get(deployment.id).stage_seconds == {}


# -- the log


def test_no_secret_reaches_the_log(store: Store, journal: Journal, environment: Environment) -> None:
    project = store.projects.named("web")
    store.projects.set_secret(project, "deploy_key", "-----BEGIN-----\nS0VZTElORTE=\n-----END-----")
    store.projects.set_secret(project, "git_credential", "ada:token-of-ada")
    version = store.env.create(environment, {"TOKEN": EnvVar(key="TOKEN", value="env-canary")}, "ada")
    deployment = claimed(store, environment, env_version=version.number)
    journal.log(deployment)("env-canary S0VZTElORTE= https://ada:token-of-ada@example.test token-of-ada \x1b[2Jend")
    journal.ended(deployment)
    assert journal.lines(deployment, 0) == [f"{MASK} {MASK} https://{MASK}@example.test {MASK} end"]


def test_a_log_goes_on_after_it_was_closed(journal: Journal, deployment: Deployment) -> None:
    journal.log(deployment)("one")
    journal.ended(deployment)
    journal.log(deployment)("two")
    assert journal.lines(deployment, 0) == ["one", "two"]


def test_what_goes_to_the_servers_log_is_one_clean_line(
    journal: Journal, environment: Environment, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "homeport"):
        journal.warn(environment.id, "a\x1b]0;owned\x07b\nlevel=INFO forged")
    assert caplog.messages == [f"{environment.id}: ab level=INFO forged"]


# -- cancels


def test_only_those_that_were_asked_are_told(store: Store, journal: Journal, deployment: Deployment) -> None:
    other = claimed(store, new_environment(store, "other"))
    cancels = journal.cancel(deployment), journal.cancel(other)
    store.deployments.ask_to_cancel(deployment, "bob")
    journal.spread_cancels()
    assert [cancel.is_set() for cancel in cancels] == [True, False]
    assert journal.cancel(deployment) is cancels[0]
    journal.ended(deployment)
    assert not journal.cancel(deployment).is_set()


# -- holding


def test_one_at_a_time_holds_an_environment(journal: Journal) -> None:
    with journal.holding("a") as first, journal.holding("a") as second, journal.holding("b") as other:
        assert (first, second, other) == (True, False, True)
    with pytest.raises(ZeroDivisionError), journal.holding("a"):
        raise ZeroDivisionError
    with journal.holding("a") as again:
        assert again
    with journal.holding("a"), journal.holding("a", timeout=0.01) as waited:
        assert not waited


def test_waiting_for_ever_gets_it_when_it_is_free(journal: Journal) -> None:
    got = threading.Event()

    def wait() -> None:
        with journal.holding("a", timeout=-1) as taken:
            assert taken
            got.set()

    with journal.holding("a"):
        thread = threading.Thread(target=wait)
        thread.start()
        assert not got.wait(0.05)
    assert got.wait(10)
    thread.join(10)


def test_one_that_did_not_get_it_gives_nothing_back(journal: Journal) -> None:
    with journal.holding("a"):
        with journal.holding("a") as second:
            assert not second
        with journal.holding("a") as third:
            assert not third


# -- intents


def test_an_intent_is_open_while_it_is_carried_out_and_after_a_failure(
    store: Store, journal: Journal, deployment: Deployment
) -> None:
    with journal.intend(deployment, "replica", "one"):
        assert [intent["name"] for intent in store.intents.open()] == ["one"]
    assert store.intents.open() == []
    with pytest.raises(ZeroDivisionError), journal.intend(deployment, "replica", "two"):
        raise ZeroDivisionError
    assert [(intent["kind"], intent["name"]) for intent in store.intents.open()] == [("replica", "two")]


# -- what a failure says


def test_a_failure_carries_the_evidence_of_its_stage(journal: Journal, deployment: Deployment) -> None:
    error = StageFailed("it ended", failure_code="crash", hint="look", log_tail=("a", "b"), exit_code=137)
    failure = journal.failure(deployment, error)
    assert (failure.stage, failure.code, failure.cause, failure.hint) == ("source", "crash", "it ended", "look")
    assert (failure.log_tail, failure.exit_code) == (("a", "b"), 137)


def test_without_evidence_the_end_of_the_log_is_it(journal: Journal, deployment: Deployment) -> None:
    for number in range(50):
        journal.log(deployment)(f"line {number}")
    for error in (StageFailed("c", failure_code="x", hint="h"), BadInput("c")):
        assert journal.failure(deployment, error).log_tail == tuple(f"line {number}" for number in range(50 - TAIL, 50))
    assert journal.failure(deployment, BadInput("c")).code == "bad-input"


def test_a_failure_is_clean_and_without_secrets(store: Store, journal: Journal, environment: Environment) -> None:
    version = store.env.create(environment, {"TOKEN": EnvVar(key="TOKEN", value="env-canary")}, "ada")
    deployment = claimed(store, environment, env_version=version.number)
    text = "it said env-canary and env-\x1b[1mcanary \x1b]0;owned\x07"
    error = StageFailed(text, failure_code="x", hint=text, log_tail=(text,))
    expected = f"it said {MASK} and {MASK} "
    failure = journal.failure(deployment, error)
    assert (failure.cause, failure.hint, failure.log_tail) == (expected, expected, (expected,))
    plain = journal.failure(deployment, BadInput(text, hint=text))
    assert (plain.cause, plain.hint) == (expected, expected)


def test_a_queued_one_has_no_lines(store: Store, journal: Journal, environment: Environment) -> None:
    assert journal.lines(queued(store, environment), 0) == []
