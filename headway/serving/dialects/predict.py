"""One prediction for a person or a plain program: features by name in, label and score out; and its description.

`POST /v1/predict/{deployment}`. What a request may hold follows from the signature and the contract, and so does the
OpenAPI document.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from numpy.typing import NDArray

from headway.errors import BadTensor, ContractBroken, HeadwayError, Invalid
from headway.kernel.naming import nearest
from headway.lifecycle.datasets.contract import ColumnRule, Contract, Use, WhenSkewed
from headway.lifecycle.models.records import Datatype, Signature
from headway.serving.capture.exchange import Exchange
from headway.serving.dialects.dialect import Outputs
from headway.serving.dialects.features import by_name
from headway.serving.dialects.protocol import Aware, Name, RequestParameters, encode, hint
from headway.serving.loaded import LoadedRoute, LoadedTable
from headway.serving.lookups import LookUps
from headway.serving.messages import Answer, Head
from headway.serving.tensors import Batch

_TYPES = {Datatype.BOOL: "boolean", Datatype.INT32: "integer", Datatype.INT64: "integer", Datatype.BYTES: "string"}


class Prediction(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """`features` by name; those that are left out are looked up by `entities`, which are the columns that a feature
    view is looked up by, if the model names one. `id` names the prediction for its label, and is made if left out."""

    features: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    entities: dict[str, Any] = {}
    id: Name | None = None
    key: Name | int | None = None
    event_at: Aware | None = None

    @property
    def parameters(self) -> RequestParameters:
        return RequestParameters(key=self.key, event_at=self.event_at)


class Predicted(msgspec.Struct, gc=False):
    id: str
    label: Any
    """What the model says of this row in one value; None when it gives a score only."""
    score: float | None
    """Of several classes, the probability of the likeliest."""
    release: str
    model: str
    version: int
    fallback: str | msgspec.UnsetType = msgspec.UNSET
    """What answered in the place of the release that should: another one, or `constant`."""
    probabilities: dict[str, float] | msgspec.UnsetType = msgspec.UNSET
    """By class, where the model tells several apart."""
    outputs: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    """All that the model gives, where that is more than label and score."""


_DESCRIBED = "/v1/openapi.json describes it"
_decoder = msgspec.json.Decoder(Prediction)


class NamedPrediction:
    def read(self, body: bytes, head: Head) -> Prediction:
        try:
            asked = _decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Invalid(f"the body is not a prediction request: {error}{hint(body)}; {_DESCRIBED}") from None
        if asked.features is msgspec.UNSET and not asked.entities:
            raise Invalid(f"the body is not a prediction request: it lacks `features`; {_DESCRIBED}")
        return asked

    def batch(self, asked: Prediction, loaded: LoadedRoute) -> Batch:
        known, features = loaded.inputs.columns, {} if asked.features is msgspec.UNSET else asked.features
        if unknown := [name[:200] for name in features if name not in known][:10]:
            raise BadTensor(f"there is no feature {unknown[0]!r}{nearest(unknown[0], known)}", unknown=unknown)
        if wide := next((name for name, value in features.items() if type(value) is list), None):
            raise BadTensor(f"feature {wide!r} takes one value, not a list", tensor=wide)
        if asked.entities:
            if loaded.lookups is None:
                raise BadTensor("this model looks nothing up; send its features", unknown=list(asked.entities)[:10])
            features = loaded.lookups.completed(asked.entities, features, asked.event_at or datetime.now(UTC))
        features = features or dict.fromkeys(loaded.inputs.defaults)
        return by_name(loaded.inputs, {name: [value] for name, value in features.items()})

    def answer(self, asked: Prediction, exchange: Exchange, loaded: LoadedRoute, outputs: Outputs) -> Answer:
        route, [score] = loaded.route, exchange.scores or [float("nan")]
        place = route.signature.label_place
        label = None if place is None else outputs[place].ravel().tolist()[0]
        said = Predicted(exchange.request, label, score, route.release, route.model, route.version)
        if exchange.fallback:
            said.fallback = exchange.fallback
        if loaded.classes:
            said.label = loaded.labels(outputs, 1)[0]
            said.probabilities = dict(zip(map(str, loaded.classes), exchange.probabilities[0].tolist(), strict=True))
        elif _gives_more(route.signature):
            names = [spec.name for spec in route.signature.outputs]
            said.outputs = {name: _plain(each) for name, each in zip(names, outputs, strict=True)}
        return Answer(200, encode(said))

    def refuse(self, status: int, message: str, error: Exception) -> Answer:
        """Features that do not fit are 422, as those that break the contract; `fields` names them."""
        status = 422 if isinstance(error, BadTensor) else status
        return Answer(status, encode({"error": message, "fields": _fields(error)}))


PREDICTION = NamedPrediction()


def openapi(table: LoadedTable) -> dict[str, Any]:
    """The OpenAPI 3.1 description of predictions, from the first route's signature and contract."""
    path = f"/v1/predict/{table.table.deployment}"
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": table.table.deployment, "version": str(table.table.generation)},
        "paths": {},
    }
    if table.routes:
        route = table.routes[0].route
        request = _asked(route.signature, route.contract, table.routes[0].lookups)
        answer = _answered(route.signature)
        document["paths"][path] = {
            "post": {
                "summary": f"One prediction of {table.table.deployment}",
                "operationId": "predict",
                "requestBody": {"required": True, "content": {"application/json": {"schema": request}}},
                "responses": {
                    "200": _response("The prediction", answer),
                    "400": _response("The body is not a prediction request", _FAILED),
                    "413": _response("The body is too large", _FAILED),
                    "422": _response("Features do not fit the model or break its contract", _FAILED),
                    "429": _response("There are more requests than are taken", _FAILED),
                    "503": _response("No release is deployed yet, or too much waits", _FAILED),
                    "504": _response("The deadline was over before the request could run", _FAILED),
                },
            }
        }
    return document


_FAILED = {
    "type": "object",
    "required": ["error", "fields"],
    "properties": {"error": {"type": "string"}, "fields": {"type": "array", "items": {"type": "string"}}},
}


def _response(about: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": about, "content": {"application/json": {"schema": schema}}}


def _asked(signature: Signature, contract: Contract | None, lookups: LookUps | None) -> dict[str, Any]:
    rules = _asked_for(contract) if contract else {}
    features = {name: _feature(spec.datatype, rules.get(name)) for spec in signature.inputs for name in spec.columns}
    found = lookups.features if lookups else frozenset()
    needed = [name for name in features if name not in found and (name not in rules or rules[name].default is None)]
    return {
        "type": "object",
        "required": ["features"] if needed or not lookups else [],
        "additionalProperties": False,
        "properties": {
            "features": {
                "type": "object",
                "required": needed,
                "additionalProperties": False,
                "properties": features,
            },
            **({"entities": _entities(lookups)} if lookups else {}),
            "id": {"type": ["string", "null"], "maxLength": 200},
            "key": {"type": ["string", "integer", "null"]},
            "event_at": {"type": ["string", "null"], "format": "date-time"},
        },
    }


def _entities(lookups: LookUps) -> dict[str, Any]:
    return {
        "type": "object",
        "description": f"by these are looked up, if left out: {', '.join(sorted(lookups.features))}",
        "additionalProperties": False,
        "properties": {name: {"type": ["string", "number", "boolean"]} for name in lookups.entities},
    }


def _asked_for(contract: Contract) -> dict[str, ColumnRule]:
    """What requests must keep, by feature: no rules of values where others are let pass."""
    refusing = contract.columns_to(WhenSkewed.REFUSE)
    return {
        rule.name: rule if rule.name in refusing else rule.but(nulls=1.0, low=None, high=None, levels=None)
        for rule in contract.columns if rule.use is Use.FEATURE
    }  # fmt: skip


def _feature(datatype: Datatype, rule: ColumnRule | None) -> dict[str, Any]:
    kind = _TYPES.get(datatype, "number")
    defaults = rule is not None and rule.default is not None
    nullable = rule is not None and (defaults or (rule.nulls > 0 and kind == "number"))
    schema: dict[str, Any] = {"type": [kind, "null"] if nullable else kind}
    if rule is None:
        return schema
    bounds = {"minimum": rule.low, "maximum": rule.high} if kind in ("number", "integer") else {}
    levels: dict[str, list[str | None]] = (
        {"enum": [*rule.levels]} if rule.levels is not None and kind == "string" else {}
    )
    if levels and nullable:
        levels["enum"].append(None)
    unit: dict[str, Any] = {"description": rule.unit} if rule.unit else {}
    if defaults:
        unit["default"] = rule.default
    return schema | {name: bound for name, bound in bounds.items() if bound is not None} | levels | unit


def _gives_more(signature: Signature) -> bool:
    """Whether there are outputs beside label and score, or several columns that are no probabilities of two classes."""
    place = signature.label_place
    width = next(spec.shape[1:] for spec in signature.outputs if spec.name == signature.score)
    return len(signature.outputs) > 1 + (place is not None) or (place is None and width not in ((), (1,)))


def _plain(output: NDArray[Any]) -> Any:
    """The values of the only row: one value, or a list."""
    values = output.ravel().tolist()
    return values[0] if len(values) == 1 else values


def _answered(signature: Signature) -> dict[str, Any]:
    place = signature.label_place
    label = "null" if place is None else _TYPES.get(signature.outputs[place].datatype, "number")
    properties = {
        "id": {"type": "string"},
        "label": {"type": label},
        "score": {"type": ["number", "null"]},
        "release": {"type": "string"},
        "model": {"type": "string"},
        "version": {"type": "integer"},
    }
    if signature.classes:
        names = [str(name) for name in signature.classes]
        chances = {name: {"type": "number"} for name in names}
        texts = isinstance(signature.classes[0], str)
        properties["label"] = {"type": "string" if texts else "integer", "enum": list(signature.classes)}
        properties["probabilities"] = {"type": "object", "required": names, "properties": chances}
    elif _gives_more(signature):
        properties["outputs"] = {"type": "object"}
    required = list(properties)
    properties["fallback"] = {"type": "string", "description": "what answered in the place of a model that failed"}
    return {"type": "object", "required": required, "properties": properties}


def _fields(error: Exception) -> list[str]:
    if isinstance(error, ContractBroken):
        return [violation.column for violation in error.details["violations"]]
    details = error.details if isinstance(error, HeadwayError) else {}
    named = [details["tensor"]] if "tensor" in details else []
    return [*named, *details.get("missing", ()), *details.get("unknown", ())]
