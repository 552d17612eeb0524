"""Own the OpenAPI 3.1 document: what each route answers, each problem it can have, and the schemas of both."""

import json
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from gateway import incident_schemas, problems, schemas, tenant_schemas, trail_schemas, webhook_schemas
from gateway.auth import Admission

_REF: Final = "#/components/schemas/{model}"
_MODELS: Final[list[tuple[type[BaseModel], JsonSchemaMode]]] = [
    (schemas.BindRequest, "validation"),
    (schemas.RotateRequest, "validation"),
    (schemas.UpdateRequest, "validation"),
    (schemas.ExecuteRequest, "validation"),
    (schemas.Binding, "serialization"),
    (schemas.BindingPage, "serialization"),
    (schemas.Balances, "serialization"),
    (schemas.StatusEvent, "serialization"),
    (schemas.ExchangeGuide, "serialization"),
    (trail_schemas.AuditPage, "serialization"),
    (incident_schemas.FreezeRequest, "validation"),
    (incident_schemas.Freeze, "serialization"),
    (incident_schemas.FreezeList, "serialization"),
    (incident_schemas.RevocationRequest, "validation"),
    (incident_schemas.Revocation, "serialization"),
    (tenant_schemas.TenantRequest, "validation"),
    (tenant_schemas.TenantPatch, "validation"),
    (tenant_schemas.Tenant, "serialization"),
    (tenant_schemas.TenantPage, "serialization"),
    (webhook_schemas.WebhookRequest, "validation"),
    (webhook_schemas.WebhookChange, "validation"),
    (webhook_schemas.WebhookRewind, "validation"),
    (webhook_schemas.WebhookSecret, "serialization"),
    (webhook_schemas.WebhookList, "serialization"),
    (webhook_schemas.WebhookAttempts, "serialization"),
    (webhook_schemas.WebhookDeadLetters, "serialization"),
    (webhook_schemas.WebhookReplay, "serialization"),
    (problems.ProblemBody, "serialization"),
]
# What every route can answer, before it looks at anything of its own.
_ALWAYS: Final = (
    "malformed_request",
    "secret_in_query",
    "invalid_parameter",
    "unauthenticated",
    "invalid_token",
    "insufficient_scope",
    "permission_denied",
    "not_provisioned",
    "tenant_disabled",
    "not_found",
    "method_not_allowed",
    "request_timeout",
    "body_too_large",
    "too_many_requests",
    "quota_exceeded",
    "headers_too_large",
    "internal",
    "unavailable",
    "deadline_exceeded",
)
DESCRIPTION: Final = """Bind a customer's exchange key once, know truthfully whether it works and what it can do.

Every call brings an RFC 9068 access token. Errors are RFC 9457 problems with a stable `code`; answers are never cached.
"""


def answers(good: dict[int, tuple[str, str, str | None]], *codes: str) -> dict[int | str, dict[str, Any]]:
    """Return a route's responses: `good` is {status: (description, media type, schema)}, `codes` its own problems."""
    documented: dict[int | str, dict[str, Any]] = {}
    for status, (description, media_type, model) in good.items():
        documented[status] = {"description": description}
        if model is not None:
            documented[status]["content"] = {media_type: {"schema": {"$ref": _REF.format(model=model)}}}
    by_status: dict[int, list[str]] = {}
    for code in (*_ALWAYS, *codes):
        by_status.setdefault(problems.TYPES[code][0], []).append(code)
    for status, members in sorted(by_status.items()):
        text = "; ".join(f"`{code}`: {problems.TYPES[code][1]}" for code in members)
        content = {problems.MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}}
        documented[status] = {"description": text, "content": content}
    return documented


def body(model: str) -> dict[str, Any]:
    """Return the OpenAPI of a required JSON body."""
    content = {"application/json": {"schema": {"$ref": _REF.format(model=model)}}}
    return {"requestBody": {"required": True, "content": content}}


def opened_by(scope: str, *, also_without: bool = False) -> dict[str, Any]:
    """Return the OpenAPI of a route that a token with `scope` opens, and if told so no token at all."""
    return {"security": [{"token": [scope]}, *([{}] if also_without else [])]}


def document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of the app."""
    made = get_openapi(title="Strongroom", version="1", description=DESCRIPTION, routes=app.routes)
    _, models = models_json_schema(_MODELS, ref_template=_REF)
    components = made.setdefault("components", {})
    components["schemas"] = dict(sorted(models["$defs"].items()))
    components["schemas"]["Problem"] = components["schemas"].pop("ProblemBody")
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "at+jwt (RFC 9068)"}}
    made["security"] = [{"token": []}]
    for route in app.routes:
        if isinstance(route, APIRoute):
            for scope in [one.call.scope for one in route.dependant.dependencies if isinstance(one.call, Admission)]:
                for method in route.methods or ():
                    made["paths"][route.path_format][method.lower()] |= opened_by(scope)
    for operation in [one for path in made["paths"].values() for one in path.values()]:
        if "HTTPValidationError" in str(operation["responses"].get("422")):
            del operation["responses"]["422"]  # the framework's own, which is never sent
    return made


def text(app: FastAPI) -> str:
    """Return the document as it is committed."""
    return json.dumps(document(app), indent=2, sort_keys=False) + "\n"
