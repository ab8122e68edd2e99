"""What the catalog chooses: the bundle, its start, its version and its installer, and the words for what none takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.catalog import Catalog
from app.errors import NotRecognised
from tests.checkouts import APP, GO, choice, package, tree

VITE = {"start": "vite", "build": "vite build"}
NEST = {"start": "nest start", "start:prod": "node dist/main"}
FACTORY = "from shop import create_app\napp = create_app('prod')\n"
FASTAPI = "from fastapi import FastAPI\nfrom app.db import x\napp = FastAPI(\n  title='x',\n)\n"
MANAGE = "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'core.settings')"
DJANGO_BELOW = {"backend/manage.py": MANAGE, "backend/core/settings.py": "WSGI_APPLICATION = 'core.wsgi.application'\n"}
DJANGO_ASGI = {"manage.py": MANAGE, "core/__init__.py": "", "core/asgi.py": "application = 1\n"}
EXPORT = "export default { output: 'export', distDir: 'www' }"

STARTS: dict[str, tuple[dict[str, str], str, str | None]] = {
    "flask in src": ({"requirements.txt": "flask", "src/app.py": APP}, "flask", "--pythonpath src app:app"),
    "flask in a package": ({"requirements.txt": "flask", "site/__init__.py": APP}, "flask", " site:app"),
    "flask below src": (
        {"requirements.txt": "flask", "src/shop/__init__.py": "", "src/shop/web.py": APP},
        "flask",
        "--pythonpath src shop.web:app",
    ),
    "flask by a factory": ({"requirements.txt": "flask", "run.py": FACTORY, "shop/__init__.py": ""}, "flask", " run:app"),
    "flask by a name": ({"requirements.txt": "flask", "server.py": APP.replace("app =", "web: X =")}, "flask", "server:web"),
    "flask without a list": ({"app.py": APP}, "flask", " app:app"),
    "flask with waitress": (
        {"requirements.txt": "flask\nwaitress", "app.py": APP},
        "flask",
        "waitress-serve --listen=0.0.0.0:$PORT app:app",
    ),
    "flask by wsgi.py": (
        {"requirements.txt": "flask", "wsgi.py": "from shop import app as application\n", "shop.py": APP},
        "flask",
        "wsgi:application",
    ),
    "flask in a pipfile": ({"Pipfile": '[packages]\nFlask = "*"\n', "app.py": APP}, "flask", "app:app"),
    "flask of poetry": ({"pyproject.toml": '[tool.poetry.dependencies]\nflask = "^3"\n', "app.py": APP}, "flask", "app:app"),
    "flask by an included list": (
        {"requirements.txt": "-r deps/web.txt\n", "deps/web.txt": "Flask[async]==3.0 ; python_version>'3'\n", "app.py": APP},
        "flask",
        "app:app",
    ),
    "fastapi with hypercorn": (
        {"requirements.txt": "fastapi\nhypercorn", "main.py": "import fastapi\napi = fastapi.FastAPI()\n"},
        "fastapi",
        "hypercorn --bind 0.0.0.0:$PORT main:api",
    ),
    "fastapi that imports by name": ({"requirements.txt": "fastapi", "app/main.py": FASTAPI}, "fastapi", "uvicorn app.main:app "),
    "fastapi by a factory": (
        {"requirements.txt": "fastapi", "main.py": "def create_app():\n    pass\n"},
        "fastapi",
        "--factory main:create_app",
    ),
    "django below": ({"requirements.txt": "django", **DJANGO_BELOW}, "django", "--chdir backend core.wsgi:application"),
    "django by asgi": ({"requirements.txt": "django\nuvicorn", **DJANGO_ASGI}, "django", "uvicorn core.asgi:application --host"),
    "go in cmd": ({"go.mod": "module x\n", "lib.go": "package lib\n", "cmd/x/main.go": GO}, "go", "/app/server"),
    "node by its main": ({"package.json": package(main="./lib/web"), "lib/web.js": ""}, "node", "node lib/web.js"),
    "node by a file": ({"package.json": "{}", "server.js": ""}, "node", "node server.js"),
    "a prestart": ({"package.json": package(scripts={"prestart": "x", "start": "node a.js"})}, "node", "npm start"),
    "yarn starts by yarn": ({"package.json": package(scripts={"start": "tsx a.ts"}), "yarn.lock": ""}, "node", "yarn start"),
    "nest in production": ({"package.json": package("@nestjs/core", scripts=NEST)}, "node", "npm run start:prod"),
    "express beside vite": (
        {"package.json": package("express", "vite", scripts={"start": "node server.js"}), "index.html": ""},
        "express",
        "node server.js",
    ),
    "express as a mock": ({"package.json": package("express", "vite", scripts=VITE), "index.html": ""}, "vite", None),
    "sveltekit": (
        {"package.json": package("vite", "@sveltejs/kit", "@sveltejs/adapter-node", scripts={"build": "x"}), "index.html": ""},
        "node",
        "node build",
    ),
    "a site with tools": ({"package.json": package("prettier"), "index.html": ""}, "static", None),
    "python with a site": ({"requirements.txt": "requests", "docs/index.html": "", "main.py": ""}, "python", "python main.py"),
    "an exported next": (
        {"package.json": package("next", scripts={"build": "next build"}), "next.config.mjs": EXPORT},
        "nextjs",
        None,
    ),
}


@pytest.mark.parametrize("name", STARTS)
def test_what_starts(name: str, catalog: Catalog, tmp_path: Path) -> None:
    files, bundle, start = STARTS[name]
    plan = catalog.detect(tree(tmp_path, files))
    assert plan.bundle == bundle
    if start is None:
        assert (plan.runtime, plan.start, plan.port) == ("static", None, None)
    else:
        assert start in (plan.start or "")


NOT_TAKEN: dict[str, tuple[dict[str, str], str]] = {
    "laravel": ({"composer.json": "{}", "package.json": package("vite", scripts=VITE), "index.html": ""}, "composer.json says"),
    "rails with assets": ({"Gemfile": "", "package.json": package(scripts={"build": "esbuild"})}, "Gemfile says"),
    "jekyll": ({"_config.yml": "", "index.html": "---\n---\n"}, "_config.yml belongs to a site generator"),
    "a go library": ({"go.mod": "module x\n", "lib.go": "package lib\n"}, "no main package was found"),
    "php": ({"index.php": "", "index.html": ""}, "this is a program"),
    "nothing": ({}, "Found: nothing"),
}


@pytest.mark.parametrize("name", NOT_TAKEN)
def test_what_is_not_taken(name: str, catalog: Catalog, tmp_path: Path) -> None:
    files, words = NOT_TAKEN[name]
    with pytest.raises(NotRecognised) as refused:
        catalog.detect(tree(tmp_path, files))
    assert words in str(refused.value)
    assert "Looked for: dockerfile: a Dockerfile" in str(refused.value)
    assert "Add a Dockerfile" in refused.value.hint


NODE = {"package.json": "{}", "server.js": ""}
PIPFILE = '[packages]\nflask = "*"\n[requires]\npython_version = "3.8"\n'
TOOLCHAIN = "module x\n\ngo 1.21\n\ntoolchain go1.22.3\n"
RANGE = "engines.node in package.json (>=18 <21)"

VERSIONS: dict[str, tuple[dict[str, str], str, str]] = {
    "a pin": ({"app.py": APP, ".python-version": "3.12.4\n"}, "3.12.4", ".python-version"),
    "a pin of heroku": ({"app.py": APP, "runtime.txt": "python-3.9.18"}, "3.9.18", "runtime.txt"),
    "a pin of asdf": ({"app.py": APP, ".tool-versions": "nodejs 20.1.0\npython 3.10.2\n"}, "3.10.2", ".tool-versions"),
    "a pin of a pipfile": ({"Pipfile": PIPFILE, "app.py": APP}, "3.8", "python_version in Pipfile"),
    "another interpreter": ({"app.py": APP, ".python-version": "pypy3.9"}, "3.13", "the default of the bundle"),
    "a range of node": ({**NODE, "package.json": package(engines={"node": ">=18 <21"})}, "20", RANGE),
    "a major of node": ({**NODE, "package.json": package(engines={"node": "18.x"})}, "18", "engines.node in package.json"),
    "an alias of nvm": ({**NODE, ".nvmrc": "lts/iron\n"}, "20", ".nvmrc"),
    "any long-term one": ({**NODE, ".nvmrc": "lts/*"}, "24", ".nvmrc (*)"),
    "a pin of volta": ({**NODE, "package.json": package(volta={"node": "20.9.0"})}, "20.9.0", "volta.node in package.json"),
    "a toolchain": ({"go.mod": TOOLCHAIN, "main.go": GO}, "1.22.3", "toolchain in go.mod"),
}


@pytest.mark.parametrize("name", VERSIONS)
def test_versions(name: str, catalog: Catalog, tmp_path: Path) -> None:
    files, value, because = VERSIONS[name]
    plan = catalog.detect(tree(tmp_path, files))
    found = choice(plan, {"node": "node", "go": "go"}.get(plan.language, "python"))
    assert (found.value, found.because) == (value, because)
    assert any(image.endswith((f":{value}", f":{value}-slim")) for image in plan.base_images)


@pytest.mark.parametrize(
    ("files", "value", "because"),
    [
        ({"app.py": APP}, "3.11", "the newest python base image of this box (no registry)"),
        (
            {"app.py": APP, "pyproject.toml": '[project]\nname = "x"\nrequires-python = ">=3.9"\ndependencies = ["flask"]\n'},
            "3.11",
            "requires-python in pyproject.toml (>=3.9), and the newest of this box (no registry)",
        ),
        (
            {"app.py": APP, "pyproject.toml": '[project]\nname = "x"\nrequires-python = ">=3.12"\ndependencies = ["flask"]\n'},
            "3.13",
            "requires-python in pyproject.toml (>=3.12)",
        ),
        ({"app.py": APP, ".python-version": "3.12"}, "3.12", ".python-version"),
    ],
)
def test_stand_ins_serve_only_what_is_not_pinned(
    files: dict[str, str], value: str, because: str, catalog: Catalog, tmp_path: Path
) -> None:
    plan = catalog.detect(tree(tmp_path, files), {"python": ("3.9", "3.11"), "node": ("20",)})
    assert (choice(plan, "python").value, choice(plan, "python").because) == (value, because)
    assert plan.base_images == (f"python:{value}-slim",)


MANAGERS: dict[str, tuple[dict[str, str], str, str | None]] = {
    "npm with a lock": ({"package-lock.json": "{}"}, "npm ci", None),
    "pnpm 8": ({"pnpm-lock.yaml": "lockfileVersion: '6.0'\n"}, "pnpm install --frozen-lockfile", "pnpm@8"),
    "pnpm 9": ({"pnpm-lock.yaml": "lockfileVersion: '9.0'\n"}, "pnpm install --frozen-lockfile", "pnpm@9"),
    "yarn 1": ({"yarn.lock": "# yarn lockfile v1\n"}, "yarn install --frozen-lockfile", "yarn@1.22.22"),
    "yarn 4": ({"yarn.lock": "", ".yarnrc.yml": ""}, "yarn install --immutable", "@yarnpkg/cli-dist@4"),
    "bun": ({"bun.lock": "{}"}, "bun install --frozen-lockfile", "bun@1"),
    "an exact one": ({"package.json": package(packageManager="pnpm@8.6.1+sha256.abc", main="a")}, "pnpm install", "pnpm@8.6.1"),
}


@pytest.mark.parametrize("name", MANAGERS)
def test_package_managers_of_node(name: str, catalog: Catalog, tmp_path: Path) -> None:
    files, install, tool = MANAGERS[name]
    plan = catalog.detect(tree(tmp_path, {"package.json": '{"scripts": {"start": "x"}}', **files}))
    assert plan.install == install
    assert plan.dockerfile is not None
    assert (f"npm install --global --force {tool}\n" in plan.dockerfile) if tool else ("--global" not in plan.dockerfile)


@pytest.mark.parametrize(
    ("files", "install", "tool"),
    [
        ({"uv.lock": "", "requirements.txt": "flask"}, "uv sync --frozen --no-dev --no-install-project", "uv"),
        ({"poetry.lock": "", "pyproject.toml": ""}, "poetry install --no-interaction --no-root --only main", "poetry"),
        ({"pdm.lock": "", "pyproject.toml": ""}, "pdm sync --prod --no-self", "pdm"),
        ({"Pipfile": "[packages]\n", "Pipfile.lock": "{}"}, "pipenv sync", "pipenv"),
        ({"setup.py": "setup(install_requires=['flask'])"}, "pip install .", None),
        ({"requirements/base.txt": "flask"}, "pip install -r requirements/base.txt", None),
        ({"pyproject.toml": '[project]\ndependencies = ["flask"]\n'}, "uv pip install -r pyproject.toml", "uv"),
        ({"pyproject.toml": '[project]\ndynamic = ["dependencies"]\n'}, "pip install .", None),
    ],
)
def test_package_managers_of_python(
    files: dict[str, str], install: str, tool: str | None, catalog: Catalog, tmp_path: Path
) -> None:
    plan = catalog.detect(tree(tmp_path, {"app.py": APP, **files}))
    assert plan.install == install
    assert plan.dockerfile is not None
    assert (f"/tool/bin/pip install {tool}\n" in plan.dockerfile) if tool else ("/tool/bin/pip" not in plan.dockerfile)
    before, _, after = plan.dockerfile.partition(install)
    assert ("COPY . ." in before) == (install == "pip install .")
    assert after


def test_a_procfile_may_call_a_go_program_by_its_module(catalog: Catalog, tmp_path: Path) -> None:
    files = {"go.mod": "module example.test/x/shop/v2\n\ngo 1.19\n", "main.go": GO}
    plan = catalog.detect(tree(tmp_path, files))
    assert "ln -s" not in (plan.dockerfile or "")
    plan = catalog.detect(tree(tmp_path, {"Procfile": "web: bin/shop --verbose\n"}))
    assert "ln -s /app/server /app/bin/shop " in (plan.dockerfile or "")
    assert (plan.dockerfile or "").endswith('CMD ["/bin/sh", "-c", "exec bin/shop --verbose"]\n')


def test_a_build_that_only_makes_files_is_a_site(catalog: Catalog, tmp_path: Path) -> None:
    files = {"package.json": package("react-scripts", scripts={"start": "react-scripts start", "build": "react-scripts build"})}
    plan = catalog.detect(tree(tmp_path, files))
    assert (plan.framework, plan.runtime, plan.output, plan.start, plan.processes) == (
        "create-react-app",
        "static",
        "/build",
        None,
        {},
    )
    assert (plan.dockerfile or "").endswith('FROM scratch\nCOPY --from=build ["/app/build", "/build"]\n')


def test_system_packages_are_those_of_the_dependencies(catalog: Catalog, tmp_path: Path) -> None:
    plan = catalog.detect(tree(tmp_path, {"app.py": APP, "requirements.txt": "flask\npsycopg2\n"}))
    assert plan.dockerfile is not None
    assert "--no-install-recommends gcc libc6-dev libpq-dev" in plan.dockerfile
    assert "--no-install-recommends libpq5" in plan.dockerfile.partition("\nFROM ")[2]
