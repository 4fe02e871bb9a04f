"""Every answer and every fault of a connection becomes the right error, and tells no secret."""

from __future__ import annotations

import inspect
import socket
import ssl
from typing import Any

import orjson
import pytest
import urllib3.exceptions

from controller.api.errors import (
    AccessDenied,
    ApiConflict,
    ApiExpired,
    ApiRefused,
    ApiThrottled,
    ApiUnavailable,
    ObjectExists,
    ObjectNotFound,
)
from controller.kube.errors import (
    Call,
    answer_error,
    network_error,
    network_reason,
    status_error,
)
from controller.kube.resource import DEPLOYMENTS, LEASES, SECRETS

CALL = Call("create", DEPLOYMENTS, "shop", "orders")
CANARY = "hunter2"


def _status(code: int, reason: str = "", message: str = "words", **details: Any) -> dict[str, Any]:
    return {
        "kind": "Status",
        "code": code,
        "reason": reason,
        "message": message,
        "details": details,
    }


#: As kube-apiserver words it.
TYPED_PATCH = (
    "failed to create typed patch object (shop/orders; apps/v1, Kind=Deployment): errors:\n"
    '  .spec.containers[name="runner"].env: duplicate entries for key [name="A"]\n'
    '  .spec.containers[name="runner"].nosuch: field not declared in schema\n'
    f"  .spec.enableServiceLinks: expected boolean, got &{{{CANARY}}}"
)


def test_an_apply_that_does_not_fit_the_schema_is_refused_though_it_is_a_500() -> None:
    error = status_error(CALL, 500, _status(500, message=TYPED_PATCH))

    assert isinstance(error, ApiRefused)
    assert 'spec.containers[name="runner"].env: duplicate entries for key;' in str(error)
    assert 'spec.containers[name="runner"].nosuch: field not declared in schema' in str(error)
    assert str(error).endswith("spec.enableServiceLinks: expected boolean")


def test_of_a_secret_that_does_not_fit_the_schema_nothing_is_quoted() -> None:
    call = Call("patch", SECRETS, "shop", "config")

    error = status_error(call, 500, _status(500, message=TYPED_PATCH))

    assert isinstance(error, ApiRefused)
    assert "spec." not in str(error)
    assert CANARY not in str(error)


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (400, "BadRequest", ApiRefused),
        (401, "Unauthorized", AccessDenied),
        (403, "Forbidden", AccessDenied),
        (404, "NotFound", ObjectNotFound),
        (405, "MethodNotAllowed", ApiRefused),
        (408, "", ApiUnavailable),
        (409, "AlreadyExists", ObjectExists),
        (409, "Conflict", ApiConflict),
        (410, "Expired", ApiExpired),
        (410, "Gone", ApiExpired),
        (413, "RequestEntityTooLarge", ApiRefused),
        (415, "UnsupportedMediaType", ApiRefused),
        (422, "Invalid", ApiRefused),
        (429, "TooManyRequests", ApiThrottled),
        (500, "InternalError", ApiUnavailable),
        (503, "ServiceUnavailable", ApiUnavailable),
        (504, "Timeout", ApiUnavailable),
        (302, "", ApiRefused),
    ],
)
def test_a_status_maps_by_what_the_caller_can_do(code: int, reason: str, kind: type) -> None:
    error = answer_error(CALL, code, orjson.dumps(_status(code, reason)), None)

    assert kind is type(error)
    assert str(error).startswith("create deployments.apps shop/orders: ")


@pytest.mark.parametrize("code", [400, 403, 404, 409, 422, 429, 502, 503])
@pytest.mark.parametrize("body", [b"", b"<html>proxy</html>", b"[1]", b'"text"', b"null", b"{}"])
def test_an_answer_without_a_status_maps_by_its_code_and_is_not_quoted(
    code: int, body: bytes
) -> None:
    error = answer_error(CALL, code, body, None)

    assert type(status_error(CALL, code, {})) is type(error)
    assert f"the server answered {code}" in str(error)
    assert "proxy" not in str(error)


@pytest.mark.parametrize(
    ("header", "details", "seconds"),
    [
        ("7", {}, 7.0),
        (None, {"retryAfterSeconds": 3}, 3.0),
        ("7", {"retryAfterSeconds": 3}, 7.0),
        (None, {}, 1.0),
        ("soon", {}, 1.0),
        ("-5", {}, 1.0),
        ("nan", {}, 1.0),
        ("inf", {}, 1.0),
        ("86400", {}, 300.0),
    ],
)
def test_throttling_says_how_long(header: str | None, details: Any, seconds: float) -> None:
    error = status_error(CALL, 429, _status(429, **details), header)

    assert isinstance(error, ApiThrottled)
    assert seconds == error.retry_after_s


def test_an_unavailable_server_may_say_how_long() -> None:
    with_header = status_error(CALL, 503, {}, "9")
    without = status_error(CALL, 503, {}, None)

    assert isinstance(with_header, ApiUnavailable)
    assert with_header.retry_after_s == 9
    assert isinstance(without, ApiUnavailable)
    assert without.retry_after_s is None


def test_a_denial_names_the_right_that_is_missing() -> None:
    message = (
        'leases.coordination.k8s.io is forbidden: User "system:serviceaccount:backup:controller"'
        ' cannot list resource "leases" in API group "coordination.k8s.io" in the namespace "shop"'
    )
    status = _status(403, "Forbidden", message)

    error = status_error(Call("list", LEASES, "shop"), 403, status)

    assert str(error).endswith(
        f"{message}; a Role or ClusterRole that is bound to this user has to allow 'list' on"
        " 'leases.coordination.k8s.io'"
    )


@pytest.mark.parametrize(
    "message",
    [
        'deployments.apps "orders" is forbidden: exceeded quota: compute, requested: pods=1',
        'admission webhook "policy.example.com" denied the request: team is not set',
        'violates PodSecurity "restricted:latest": hostPath volumes',
    ],
)
def test_a_denial_by_a_quota_or_by_admission_is_no_matter_of_roles(message: str) -> None:
    error = status_error(CALL, 403, _status(403, "Forbidden", message))

    assert isinstance(error, AccessDenied)
    assert str(error) == f"create deployments.apps shop/orders: {message}"


def test_a_namespace_that_goes_is_no_matter_of_rights() -> None:
    status = _status(403, "Forbidden", causes=[{"reason": "NamespaceTerminating"}])

    error = status_error(CALL, 403, status)

    assert isinstance(error, ApiRefused)
    assert "being deleted" in str(error)


FIELD_MESSAGES = {
    f'Invalid value: "{CANARY}": must be short': "Invalid value: must be short",
    f'Invalid value: "a \\"{CANARY}\\": b": must be short': "Invalid value: must be short",
    "Invalid value: 4242: must be small": "Invalid value: must be small",
    f'Invalid value: {{"pass":"{CANARY}"}}: no such thing': "Invalid value",
    f'Invalid value: "{CANARY}"': "Invalid value",
    f'Unsupported value: "{CANARY}": supported values: "a", "b"': (
        'Unsupported value: supported values: "a", "b"'
    ),
    f'Duplicate value: "{CANARY}"': "Duplicate value",
    "Required value": "Required value",
    "Required value: one of a, b": "Required value: one of a, b",
    "Forbidden: may not change": "Forbidden: may not change",
    f"{CANARY} is not good: at all": "FieldValueInvalid",
    CANARY: "FieldValueInvalid",
    "": "FieldValueInvalid",
}  # fmt: skip


def _invalid(message: str) -> dict[str, Any]:
    cause = {"reason": "FieldValueInvalid", "field": "spec.x[1].y", "message": message}
    return _status(422, "Invalid", f"it is invalid: {message}", causes=[cause])


@pytest.mark.parametrize("message", FIELD_MESSAGES)
def test_an_invalid_field_is_told_by_its_path_without_its_value(message: str) -> None:
    error = status_error(CALL, 422, _invalid(message))

    assert str(error) == f"{CALL}: spec.x[1].y: {FIELD_MESSAGES[message]}"


@pytest.mark.parametrize("message", FIELD_MESSAGES)
def test_nothing_is_quoted_of_a_secret(message: str) -> None:
    error = str(status_error(Call("patch", SECRETS, "shop", "orders"), 422, _invalid(message)))

    assert error.startswith("patch secrets shop/orders: spec.x[1].y: ")
    assert not {CANARY, "must", "supported", "one of"} & set(error.replace(":", " ").split())


def test_a_secret_that_cannot_be_decoded_is_not_quoted() -> None:
    status = _status(400, "BadRequest", f"illegal base64 data: {CANARY}")

    error = status_error(Call("patch", SECRETS, "shop", "orders"), 400, status)

    assert str(error) == "patch secrets shop/orders: the server answered 400 (BadRequest)"


def test_many_invalid_fields_are_counted() -> None:
    causes = [{"field": f"spec.f{n}", "message": "Required value"} for n in range(13)]

    error = str(status_error(CALL, 422, _status(422, "Invalid", causes=causes)))

    assert "spec.f9: Required value; and 3 more" in error
    assert "spec.f10" not in error


def test_long_words_are_cut() -> None:
    error = status_error(CALL, 404, _status(404, "NotFound", "word \n" * 1000))

    assert len(str(error)) < 500
    assert "\n" not in str(error)


URLLIB3_ERRORS = sorted(
    {
        one
        for _, one in inspect.getmembers(urllib3.exceptions, inspect.isclass)
        if issubclass(one, Exception)
        and not issubclass(one, Warning)
        and one.__module__ == "urllib3.exceptions"
    }
    # Never raised itself.
    - {urllib3.exceptions.HTTPError},
    key=lambda one: one.__name__,
)


@pytest.mark.parametrize("one", URLLIB3_ERRORS, ids=lambda one: one.__name__)
def test_every_exception_of_urllib3_has_a_meaning(one: type[Exception]) -> None:
    error = one.__new__(one)
    error.args = ("0x7f",)

    reason = network_reason(error)

    assert reason is not None
    assert f"{CALL}: {reason.words}" == str(network_error(CALL, error))


def test_the_meaning_of_an_unknown_exception_is_not_invented() -> None:
    assert network_reason(urllib3.exceptions.HTTPError("x")) is None
    assert isinstance(network_error(CALL, urllib3.exceptions.HTTPError("x")), ApiUnavailable)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(), "connection refused"),
        (ConnectionResetError(), "closed before the answer"),
        (socket.gaierror(-2, "?"), "cannot be resolved"),
        (TimeoutError(), "no answer within the time limit"),
        (ssl.SSLError(1, "?"), "TLS"),
    ],
)
def test_the_cause_is_found_however_it_is_wrapped(error: Exception, words: str) -> None:
    wrapped = urllib3.exceptions.MaxRetryError(
        None,  # type: ignore[arg-type]
        "/",
        urllib3.exceptions.ProtocolError("broken", error),
    )

    assert words in str(network_error(CALL, error))
    assert words in str(network_error(CALL, wrapped))


def test_an_unreachable_network_is_neither_refusal_nor_silence() -> None:
    cause = OSError(101, "unreachable")
    error = urllib3.exceptions.NewConnectionError(None, "no way")  # type: ignore[arg-type]
    error.__cause__ = cause

    assert "the network failed" in str(network_error(CALL, cause))
    assert "cannot be reached" in str(network_error(CALL, error))


def test_a_kind_that_is_not_served_is_no_missing_object() -> None:
    error = answer_error(CALL, 404, b"404 page not found\n", None)

    assert isinstance(error, ObjectNotFound)
    assert "a CustomResourceDefinition is missing" in str(error)
