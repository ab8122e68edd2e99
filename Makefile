# Every target uses .venv, which ./tests/run makes from requirements-dev.lock.
BIN := .venv/bin
LOCK := $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --resolver=backtracking \
	--no-header --no-annotate --no-emit-index-url --no-emit-trusted-host --no-emit-find-links

.PHONY: check lint fast lock schema docs bench

check: lint
	$(BIN)/pytest

lint:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fast: lint
	$(BIN)/pytest -m "not e2e"

# The runtime's pins first; the development pins are made to agree with them.
lock:
	$(LOCK) --output-file=requirements.lock pyproject.toml
	$(LOCK) --extra=dev --constraint=requirements.lock --output-file=requirements-dev.lock pyproject.toml

schema:
	$(BIN)/python -c 'import json; from app.config import json_schema; print(json.dumps(json_schema(), indent=2))' \
		> docs/homeport.schema.json

docs: schema
	$(BIN)/python -m tests.cli_page > docs/cli.md.new
	mv docs/cli.md.new docs/cli.md

bench:
	$(BIN)/python -m tests.bench.run
