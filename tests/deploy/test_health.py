from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from app.adapters.edge_routes import UNKNOWN_PAGE
from app.appliance import Appliance
from app.deploy import health, routing
from app.errors import Canceled, StageFailed, Unavailable
from app.model import Deployment, Environment, HealthCheck, Plan, Running, Switch
from app.store import Store
from tests.edge import Calls
from tests.nouns import claimed

Answer = tuple[int, str] | Exception


class Caddy(Calls):
    """Answers from a list, the last one for ever; calls `before` first."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[Answer] = [(200, "ok")]
        self.asked: list[tuple[str, str]] = []
        self.before: Callable[[], None] = lambda: None

    def answer(self, host: str, path: str, timeout: float) -> tuple[int, str]:
        assert 1 <= timeout <= 10
        self.before()
        self.asked.append((host, path))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def environment(store: Store, environment: Environment) -> Environment:
    store.domains.add(environment, "web.localhost", "internal", generated=True, actor="ada")
    return environment


@pytest.fixture
def caddy() -> Caddy:
    return Caddy()


Switched = tuple[Deployment, Switch]
Turn = Callable[..., Switched]


@pytest.fixture
def turned(box: Appliance, store: Store, environment: Environment) -> Turn:
    """Makes a deployment with this check whose traffic has just been turned."""

    def turn(path: str | None = None, timeout: float = 0.3, addresses: tuple[str, ...] = ("10.0.0.1:80",)) -> Switched:
        for unfinished in store.deployments.active():
            store.deployments.end(unfinished, "failed", None)
        deployment = claimed(store, environment)
        check = HealthCheck(path=path, timeout=timeout, interval=0.05)
        store.deployments.planned(deployment, Plan(bundle="b", language="l", health=check))
        running = Running(deployment_id=deployment.id, number=deployment.number, runtime="docker", addresses=addresses)
        return deployment, routing.switch(box, deployment, running)

    return turn


def test_two_good_answers_in_a_row_and_no_pause_between(box: Appliance, caddy: Caddy, turned: Turn) -> None:
    deployment, switch = turned(timeout=30)
    health.confirm(box, deployment, switch)
    assert caddy.asked == [("web.localhost", "/")] * 2
    assert routing.serving(box, switch.environment_id) == 1


def test_a_bad_answer_in_between_starts_the_count_again(box: Appliance, caddy: Caddy, turned: Turn) -> None:
    deployment, switch = turned(path="/up", timeout=30)
    caddy.answers = [(200, ""), (404, ""), Unavailable("no answer"), (302, ""), (204, "")]
    health.confirm(box, deployment, switch)
    assert caddy.asked == [("web.localhost", "/up")] * 5


@pytest.mark.parametrize(
    ("path", "answer", "words"),
    [
        (
            None,
            (502, "a\nb"),
            r"http://web\.localhost/ answered 502 through Caddy; below 500, 2 times in a row, was needed within 0\.3 s",
        ),
        ("/up", (404, "a\nb"), r"http://web\.localhost/up answered 404 through Caddy; 200 to 399, "),
        (None, (404, f"{UNKNOWN_PAGE}\n"), r"Caddy does not know the name web\.localhost; "),
        (None, Unavailable("it timed out"), r"it timed out; "),
    ],
)
def test_bad_answers_turn_the_traffic_back(
    box: Appliance, caddy: Caddy, turned: Turn, path: str | None, answer: Answer, words: str
) -> None:
    _, first = turned()
    deployment, switch = turned(path=path)
    assert (first.number, switch.previous) == (1, 1)
    caddy.answers = [answer]
    with pytest.raises(StageFailed, match=words) as caught:
        health.confirm(box, deployment, switch)
    assert caught.value.failure_code == "health-through-proxy"
    assert routing.serving(box, switch.environment_id) == 1
    if isinstance(answer, tuple) and answer[1].startswith("a"):
        assert caught.value.log_tail == ("a", "b")


def test_a_404_of_the_application_itself_is_well_without_a_path(box: Appliance, caddy: Caddy, turned: Turn) -> None:
    deployment, switch = turned()
    caddy.answers = [(404, "no such page")]
    health.confirm(box, deployment, switch)


def test_the_first_deployment_goes_back_to_nothing(box: Appliance, caddy: Caddy, turned: Turn) -> None:
    deployment, switch = turned()
    caddy.answers = [(500, "")]
    with pytest.raises(StageFailed):
        health.confirm(box, deployment, switch)
    assert routing.serving(box, switch.environment_id) is None


def test_good_answers_of_another_deployment_are_none(box: Appliance, caddy: Caddy, turned: Turn) -> None:
    deployment, switch = turned()
    caddy.before = lambda: routing.clear(box, switch.environment_id)
    with pytest.raises(StageFailed, match="the switch names nothing instead of #1") as caught:
        health.confirm(box, deployment, switch)
    assert caught.value.failure_code == "switch-lost"


def test_somebody_elses_switch_is_left_alone(box: Appliance, turned: Turn) -> None:
    deployment, switch = turned()
    turned()
    with pytest.raises(StageFailed, match="the switch names #2 instead of #1"):
        health.confirm(box, deployment, switch)
    assert routing.serving(box, switch.environment_id) == 2


def test_cancel_turns_the_traffic_back(box: Appliance, caddy: Caddy, turned: Turn) -> None:
    turned()
    deployment, switch = turned(timeout=30)
    caddy.answers = [(500, "")]
    caddy.before = box.journal.cancel(deployment).set
    with pytest.raises(Canceled):
        health.confirm(box, deployment, switch)
    assert routing.serving(box, switch.environment_id) == 1


def test_without_a_web_process_there_is_nothing_to_ask(box: Appliance, caddy: Caddy, turned: Turn) -> None:
    deployment, switch = turned(addresses=())
    health.confirm(box, deployment, switch)
    assert caddy.asked == []


def test_a_project_without_a_local_name_is_a_fault_in_words(box: Appliance, store: Store, turned: Turn, tmp_path: Path) -> None:
    deployment, switch = turned()
    with store.write() as db:
        db.execute("DELETE FROM domains")
    with pytest.raises(StageFailed, match=r"no name below \.localhost"):
        health.confirm(box, deployment, switch)
