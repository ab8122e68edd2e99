"""`homeport env`: the variables of a project. Values are never printed unless `--reveal` asks for it."""

from __future__ import annotations

import sys
from pathlib import Path

from app.errors import BadInput, Conflict, EnvKeysLost, NotFound
from app.inputs import EnvChanged, EnvPatch
from app.model import ENV_KEY
from tui.commands.deploy import conclude
from tui.grammar import Parser, Verbs, suggestion, with_project
from tui.output import Painted
from tui.session import Session

MASK = "••••••"
ASCII_MASK = "******"


def add(verbs: Verbs) -> None:
    noun = verbs.noun("env", "list and change environment variables")
    parser = noun.add("list", index, "list the variables, masked")
    with_project(parser)
    parser.add_argument("--reveal", action="store_true", help="with their values; this leaves an event")
    parser.add_argument("--version", type=int, metavar="V", help="an older version")
    parser = noun.add("set", set_, "set variables", "K=- reads the value from stdin, so that it is in no history.")
    with_project(parser)
    parser.add_argument("pairs", nargs="*", metavar="K=V", help="variables; K=- reads the value from stdin")
    parser.add_argument("--from-file", action="append", default=[], metavar="K=FILE", help="the value is the content of a file")
    parser.add_argument("--build", action="store_true", help="the build sees them too, and runs again when they change")
    _carrying(parser)
    parser = noun.add("unset", unset, "remove variables")
    with_project(parser, positional=False)
    parser.add_argument("keys", nargs="+", metavar="K", help="the variables")
    _carrying(parser)
    parser = noun.add("import", import_, "set variables from a file of KEY=value lines", "Shows the keys first.")
    with_project(parser, positional=False)
    parser.add_argument("file", metavar="FILE", help="such as .env; `-` is stdin")
    parser.add_argument("--replace", action="store_true", help="exactly these: keys that are not in the file go away")
    parser.add_argument("--lose-env", action="store_true", help="yes, they may")
    _carrying(parser)
    parser = noun.add("diff", diff, "compare with a file, or with an older version")
    with_project(parser, positional=False)
    parser.add_argument("file", nargs="?", metavar="FILE", help="such as .env; `-` is stdin")
    parser.add_argument("--version", type=int, metavar="V", help="an older version, instead of a file")
    parser.add_argument("--reveal", action="store_true", help="compare the values too, unseen; this leaves an event")


def _carrying(parser: Parser) -> None:
    parser.add_argument("--no-deploy", action="store_true", help="let it wait for the next deploy")
    parser.add_argument("--detach", action="store_true", help="do not wait for the deploy that carries it")


def index(session: Session) -> None:
    """With --json too, values only with --reveal."""
    arguments, out = session.arguments, session.out
    found = session.client.env.show(session.project(), arguments.version, arguments.reveal)
    if out.json:
        out.emit(found)
        return
    for variable in found.variables:
        value = (MASK if out.unicode else ASCII_MASK) if variable.value is None else repr_value(variable.value)
        out.say(f"{variable.key}=", value, Painted("  (build)", "dim") if variable.build else "")
    out.note(f"version {found.number}, {len(found.variables)} variables")


def repr_value(value: str) -> str:
    """A value on one line, as a .env file would hold it. Pure."""
    if value and all(character.isalnum() or character in "_-./:@%+,=" for character in value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r").replace("$", "\\$")
    return f'"{escaped}"'


def set_(session: Session) -> int:
    """Raises BadInput for what is not K=V, without ever showing a value."""
    arguments = session.arguments
    pairs = list(arguments.pairs)
    if arguments.project is not None and "=" in arguments.project:
        pairs.insert(0, arguments.project)
        arguments.project = None
    values = {key: _typed(key, value) for key, value in _split(pairs)}
    values |= {key: _content(name) for key, name in _split(arguments.from_file)}
    if not values:
        raise BadInput("Nothing to set.", hint="For example: homeport env set API_URL=https://api.example.com")
    build = tuple(values) if arguments.build else ()
    return _change(session, EnvPatch(set=values, build=build, deploy=not arguments.no_deploy))


def unset(session: Session) -> int:
    """Raises NotFound for a key that is not there: a misspelt one would stay otherwise."""
    keys = session.arguments.keys
    known = [variable.key for variable in session.client.env.show(session.project()).variables]
    for key in keys:
        if key not in known:
            raise NotFound(f"there is no variable {key!r}{suggestion(key, known)}", hint="`homeport env list` shows the keys.")
    return _change(session, EnvPatch(unset=tuple(keys), deploy=not session.arguments.no_deploy))


def import_(session: Session) -> int:
    """Keys first, then a question when some would go away. Raises EnvKeysLost when nobody can be asked."""
    arguments, out = session.arguments, session.out
    values = _file(arguments.file)
    known = {variable.key for variable in session.client.env.show(session.project()).variables}
    lost = sorted(known - values.keys()) if arguments.replace else []
    for mark, key in compared(known, set(values), lost):
        out.note(f"{mark} {key}")
    if lost and not arguments.lose_env and not out.ask(f"{', '.join(lost)} would go away. Go on?"):
        raise EnvKeysLost(f"{', '.join(lost)} would go away", hint="Add them to the file, or import with --lose-env.")
    patch = EnvPatch(set=values, replace=arguments.replace, lose_env=bool(lost), deploy=not arguments.no_deploy)
    return _change(session, patch)


def diff(session: Session) -> int:
    """Exit code 1 when there is a difference, as diff(1) does."""
    arguments, out = session.arguments, session.out
    if (arguments.file is None) == (arguments.version is None):
        raise BadInput("Compare with what?", hint="Give a FILE, or --version V.")
    slug = session.project()
    reveal = arguments.reveal
    now = {one.key: one.value for one in session.client.env.show(slug, reveal=reveal).variables}
    other: dict[str, str | None]
    if arguments.file is not None:
        other = dict(_file(arguments.file))
    else:
        other = {one.key: one.value for one in session.client.env.show(slug, arguments.version, reveal).variables}
    lines = [line for line in compared(set(now), set(other), sorted(now.keys() - other.keys())) if line[0] != "~"]
    lines += [("~", key) for key in sorted(now.keys() & other.keys()) if reveal and now[key] != other[key]]
    for mark, key in lines:
        if out.json:
            out.emit({"key": key, "change": {"+": "added", "-": "removed", "~": "changed"}[mark]})
        out.say(f"{mark} {key}")
    return 1 if lines else 0


def compared(known: set[str], given: set[str], lost: list[str]) -> list[tuple[str, str]]:
    """`+` for a new key, `~` for one that is there already, `-` for one that goes. Pure; no values."""
    new = [("+", key) for key in sorted(given - known)]
    return new + [("~", key) for key in sorted(given & known)] + [("-", key) for key in lost]


def _change(session: Session, patch: EnvPatch) -> int:
    out = session.out
    slug = session.project()
    changed: EnvChanged = session.client.env.change(slug, patch)
    for word, keys in (("added", changed.added), ("changed", changed.changed), ("removed", changed.removed)):
        if keys:
            out.note(f"{word} {', '.join(keys)}")
    if not (changed.added or changed.changed or changed.removed):
        out.note("nothing differs; nothing was changed")
    if changed.deployment is None:
        if out.json:
            out.emit(changed)
        out.say(f"env of {slug} is at version {changed.version.number}")
        return 0
    return conclude(session, slug, changed.deployment)


def _split(pairs: list[str]) -> list[tuple[str, str]]:
    found = []
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not ENV_KEY.fullmatch(key):
            shown = repr(key) if equals else "one of the arguments"
            raise BadInput(f"{shown} is not K=V with the name of a variable", hint="For example: homeport env set PORT=8080")
        found.append((key, value))
    return found


def _typed(key: str, value: str) -> str:
    if value != "-":
        return value
    text = sys.stdin.read()
    if not text:
        raise Conflict(f"nothing came on stdin for {key}", hint=f'For example: printf %s "$VALUE" | homeport env set {key}=-')
    return text.removesuffix("\n")


def _file(name: str) -> dict[str, str]:
    from tui import dotenv

    return dotenv.parse(_content(name))


def _content(name: str) -> str:
    try:
        return sys.stdin.read() if name == "-" else Path(name).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{name} cannot be read: {error}", hint="Give the path of a text file.") from error
