"""Problems: what RFC 9457 and RFC 6901 promise of them."""

from __future__ import annotations

import pytest

from shared.problem import TYPE_PREFIX, FieldError, Problem, ProblemDetails, invalid, not_found, pointer, unavailable


def test_a_problem_says_its_stable_type_title_and_status() -> None:
    document = Problem(409, "queue-full", "Queue full", "It has 40 tickets.").document("request-1")
    assert document == {
        "type": TYPE_PREFIX + "queue-full",
        "title": "Queue full",
        "status": 409,
        "detail": "It has 40 tickets.",
        "instance": "request-1",
    }


def test_what_is_not_known_is_left_out() -> None:
    assert set(Problem(404, "not-found", "Not found").document()) == {"type", "title", "status"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ([], ""),
        (["a"], "/a"),
        (["items", 3, "name"], "/items/3/name"),
        (["a/b", "m~n", ""], "/a~1b/m~0n/"),
        (["~1"], "/~01"),
    ],
)
def test_a_pointer_escapes_as_rfc_6901_says(path: list[object], expected: str) -> None:
    assert pointer(path) == expected


def test_an_error_names_its_place_as_in() -> None:
    problem = invalid(["limit"], "at most 200", "query")
    assert problem.status == 422
    assert problem.document()["errors"] == [{"pointer": "/limit", "detail": "at most 200", "in": "query"}]
    assert FieldError.at(["a"], "no").place == "body"


def test_every_problem_is_what_the_openapi_documents() -> None:
    for problem in (not_found("ticket"), invalid(["a", 0], "no"), unavailable("PostgreSQL"), Problem(500, "x", "X")):
        ProblemDetails.model_validate(problem.document("id"))


def test_unavailable_says_when_to_come_back() -> None:
    assert unavailable("Kafka", 7).headers == {"Retry-After": "7"}
