"""The OpenAPI document at /schema/openapi.json: what the framework derives, with our errors and our strictness put right."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
from litestar import Request
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

import app.inputs
from app.api.problems import MEDIA_TYPE
from app.errors import Problem

REFERENCE = "#/components/schemas/{name}"
STRICT = {
    name
    for name, kind in vars(app.inputs).items()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__struct_config__.forbid_unknown_fields
}


def corrected(document: dict[str, Any]) -> dict[str, Any]:
    """`document` with problem+json as the default answer of every operation, and `additionalProperties: false` where
    unknown fields are refused (the framework leaves both out)."""
    document = copy.deepcopy(document)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    _, described = msgspec.json.schema_components([Problem], ref_template=REFERENCE)
    schemas.update(described)
    for name in STRICT & schemas.keys():
        schemas[name]["additionalProperties"] = False
    problem = {"schema": {"$ref": REFERENCE.format(name="Problem")}}
    for path in document.get("paths", {}).values():
        for operation in path.values():
            if isinstance(operation, dict) and "responses" in operation:
                operation["responses"].pop("400", None)
                operation["responses"]["default"] = {"description": "A problem", "content": {MEDIA_TYPE: problem}}
    return document


class _Json(JsonRenderPlugin):
    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return super().render(request, corrected(openapi_schema))


def config(version: str) -> OpenAPIConfig:
    """No pages of documentation from foreign servers: the document alone."""
    return OpenAPIConfig(title="Homeport", version=version, path="/schema", render_plugins=[_Json()], use_handler_docstrings=True)
