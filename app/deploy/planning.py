"""The plan stage: what to build and run, decided from the checkout, with the guard against env keys that would go away."""

from __future__ import annotations

from app.adapters import edge
from app.appliance import Appliance
from app.errors import AlreadyExists, EnvKeysLost, StageFailed
from app.model import Checkout, Deployment, Plan


def make(box: Appliance, deployment: Deployment, checkout: Checkout) -> Plan:
    """The plan of a checkout, stored with the deployment and told in its log.

    Raises NotRecognised, ConfigInvalid, EnvKeysLost, and StageFailed for a required variable that is not set.
    """
    plan = box.catalog.detect(checkout.path, box.bases.stand_ins())
    log = box.journal.log(deployment)
    for line in described(plan):
        log(line)
    env = box.store.env.values(deployment.environment_id, deployment.env_version)
    refuse_missing(plan, env)
    if not deployment.lose_env:
        refuse_loss(_live_keys(box, deployment), {*plan.env, *env})
    claim_domains(box, deployment, plan)
    box.store.deployments.planned(deployment, plan)
    return plan


def described(plan: Plan) -> list[str]:
    """The plan for people: what it is, each choice with its reason, each warning."""
    kind = f"{plan.bundle} ({plan.framework})" if plan.framework and plan.framework != plan.bundle else plan.bundle
    lines = [f"{kind}: runs as {plan.runtime}"]
    lines += [f"  {choice.name} = {choice.value}  (because {choice.because})" for choice in plan.choices]
    return lines + [f"  warning: {warning}" for warning in plan.warnings]


def refuse_missing(plan: Plan, env: dict[str, str]) -> None:
    """Raises StageFailed naming the keys that homeport.toml requires and nobody has set."""
    missing = sorted(set(plan.env_required) - {*env, *plan.env})
    if missing:
        keys = ", ".join(missing)
        raise StageFailed(
            f"homeport.toml requires {keys}, which is not set"
            if len(missing) == 1
            else f"homeport.toml requires {keys}, which are not set",
            failure_code="missing-env",
            hint=f"homeport env set {' '.join(f'{key}=…' for key in missing)}",
        )


def refuse_loss(before: set[str], after: set[str]) -> None:
    """Raises EnvKeysLost naming the keys that the live deployment has and the next would not."""
    lost = sorted(before - after)
    if lost:
        raise EnvKeysLost(f"the live deployment has {', '.join(lost)}; this one would not", keys=lost)


def claim_domains(box: Appliance, deployment: Deployment, plan: Plan) -> None:
    """Give the environment the domains that homeport.toml names. Raises AlreadyExists for another project's."""
    environment = box.store.environments.get(deployment.environment_id)
    held = {domain.name for domain in box.store.domains.of(environment.id)}
    for name in plan.domains:
        if name in held:
            continue
        try:
            tls = edge.tls_of(name, box.settings)
            box.store.domains.add(environment, name, tls, generated=False, actor=deployment.created_by)
        except AlreadyExists as error:
            raise AlreadyExists(f"homeport.toml: {error.cause}", hint=error.hint) from error


def _live_keys(box: Appliance, deployment: Deployment) -> set[str]:
    live_id = box.store.environments.get(deployment.environment_id).live_deployment_id
    if live_id is None:
        return set()
    live = box.store.deployments.get(live_id)
    defaults = live.plan.env if live.plan else {}
    return {*defaults, *box.store.env.values(live.environment_id, live.env_version)}
