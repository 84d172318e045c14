"""RFC 9457 answers: what went wrong, in a form that both a program and a person can read.

`type` is stable: a client may branch on it. `detail` is for people and may change. Nothing here carries internals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "https://deskwire.dev/problems/"

Place = Literal["body", "query", "path", "header"]


class FieldError(BaseModel):
    """One value that was refused, and where it stands."""

    model_config = ConfigDict(frozen=True)

    pointer: str
    """JSON pointer (RFC 6901) into the body; for a parameter `/` and its name; empty for the whole body."""
    detail: str
    place: Place = Field("body", alias="in")
    """Which part of the request the pointer points into."""

    @classmethod
    def at(cls, path: Sequence[object], detail: str, place: Place = "body") -> FieldError:
        """An error at `path`, the keys and indexes down to the value."""
        return cls.model_validate({"pointer": pointer(path), "detail": detail, "in": place})


class ProblemDetails(BaseModel):
    """The body of an error, as documented in every OpenAPI."""

    type: str = Field(description="Stable name of this kind of problem.", examples=[TYPE_PREFIX + "not-found"])
    title: str = Field(description="The kind of problem in a few words.")
    status: int = Field(description="The HTTP status.")
    detail: str | None = Field(None, description="What happened this time, for a person.")
    instance: str | None = Field(None, description="Id of this request; quote it when asking for help.")
    errors: list[FieldError] | None = Field(None, description="Values that were refused, each with a JSON pointer.")


class Problem(Exception):  # noqa: N818 - RFC 9457 calls it so
    """Raised anywhere under an API to answer with this problem.

    `slug` names the kind (`version-mismatch`); `title` says it in words and never varies for one slug.
    """

    def __init__(
        self,
        status: int,
        slug: str,
        title: str,
        detail: str | None = None,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {slug}: {detail or title}")
        self.status = status
        self.slug = slug
        self.title = title
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})

    def document(self, instance: str | None = None) -> dict[str, object]:
        """The JSON object of the answer."""
        found: dict[str, object] = {"type": TYPE_PREFIX + self.slug, "title": self.title, "status": self.status}
        if self.detail:
            found["detail"] = self.detail
        if instance:
            found["instance"] = instance
        if self.errors:
            found["errors"] = [error.model_dump(by_alias=True) for error in self.errors]
        return found


def pointer(path: Sequence[object]) -> str:
    """The JSON pointer of `path` (RFC 6901: `~` and `/` inside a key are escaped)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def not_found(what: str = "resource") -> Problem:
    """It does not exist, or the caller may not know that it does: the two are answered alike."""
    return Problem(404, "not-found", "Not found", f"There is no such {what}.")


def invalid(path: Sequence[object], detail: str, place: Place = "body") -> Problem:
    """One value that the schema could not refuse but the service must."""
    return Problem(422, "invalid", "Invalid request", errors=[FieldError.at(path, detail, place)])


def conflict(slug: str, title: str, detail: str) -> Problem:
    """The request cannot be done in the present state; `slug` names the state."""
    return Problem(409, slug, title, detail)


def unavailable(what: str, retry_after: int = 5) -> Problem:
    """Something we need is away for now."""
    return Problem(
        503,
        "unavailable",
        "Temporarily unavailable",
        f"{what} cannot be reached.",
        headers={"Retry-After": str(retry_after)},
    )
