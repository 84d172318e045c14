"""Policy packs: judged, compared, put in force, taken back."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Header, Path
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from starlette.requests import Request
from starlette.responses import Response

from services.directory.api.desk import Desk, caller_of
from services.directory.commands import packs as commands
from services.directory.domain.pack_check import Pack, PackRefusedError, check
from services.directory.domain.pack_diff import Difference, told
from services.directory.domain.pack_source import Problem as PackProblem
from services.directory.domain.tenancy import PackVersion
from services.directory.store import packs
from shared.auth import Permission, Principal
from shared.http import (
    CursorText,
    Page,
    PageLimit,
    Router,
    etag,
    if_match,
    if_none_match,
    not_modified,
    problems,
    requires,
)
from shared.problem import FieldError, Problem, not_found

Reader = Annotated[Principal, requires(Permission.POLICY_READ)]
Writer = Annotated[Principal, requires(Permission.POLICY_WRITE)]
MaybeIfMatch = Annotated[
    str | None, Header(alias="If-Match", description='The version this was compared with: `"3"`, `"0"` for none.')
]
PACK_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The pack as YAML, or JSON; at most 256 kB.",
        "content": {
            "application/yaml": {"schema": {"type": "string"}},
            "application/json": {"schema": {"type": "object"}},
        },
    }
}


class LineError(FieldError):
    """One thing wrong with a pack, with its place in the text."""

    line: int
    column: int


class Note(BaseModel):
    """One thing worth knowing of a pack that is no reason to refuse it."""

    pointer: str
    line: int
    detail: str


class DifferenceView(BaseModel):
    """One thing that changes."""

    section: str
    kind: str
    what: str
    old: JsonValue = None
    new: JsonValue = None


class Verdict(BaseModel):
    """A pack that may be put in force."""

    pack: str
    sections: list[str]
    warnings: list[Note]


class DiffView(BaseModel):
    """What would change."""

    current_version: int = Field(description="The version in force; 0 for none.")
    text: str
    """The differences as people read them."""
    differences: list[DifferenceView]
    warnings: list[Note]


class VersionView(BaseModel):
    """One version of the tenant's pack."""

    version: int
    pack: str
    applied_by: UUID | None
    applied_at: datetime
    rolled_back_to: int | None = Field(description="The version whose text this is again.")


class PackView(VersionView):
    """One version with what was written."""

    text: str


class AppliedView(VersionView):
    """What became of a pack."""

    sections: list[str] = Field(description="Those published or withdrawn; none when nothing changed.")
    text: str
    """The differences as people read them."""
    differences: list[DifferenceView]
    warnings: list[Note]


class RollbackWanted(BaseModel):
    """Which version is to be in force again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    to: Annotated[int, Field(ge=1, le=2**53)] | None = Field(
        None, description="Without it, the one before the present."
    )


def routes(desk: Desk) -> Router:
    """Path operations on policy packs."""
    router = Router(tags=["policies"])
    _judging(router, desk)
    _changing(router, desk)
    _reading(router, desk)
    return router


def _judging(router: Router, desk: Desk) -> None:
    @router.post("/v1/policies/validate", openapi_extra=PACK_BODY, responses=problems(422))
    async def validate_pack(request: Request, principal: Reader) -> Verdict:
        """Judge a pack without putting it in force. A bad one is answered 422 with the line of every problem."""
        del principal
        pack = await _pack_of(request)
        return Verdict(pack=pack.name, sections=list(pack.sections), warnings=_notes(pack))

    @router.post("/v1/policies/diff", openapi_extra=PACK_BODY, responses=problems(422))
    async def compare_pack(request: Request, response: Response, principal: Reader) -> DiffView:
        """What would change if this pack were put in force."""
        pack = await _pack_of(request)
        async with desk.database.begin() as tx:
            current, differences = await commands.difference(tx, principal.tenant_id, pack)
        response.headers["ETag"] = etag(current)
        return DiffView(
            current_version=current,
            text=told(differences),
            differences=[_difference(item) for item in differences],
            warnings=_notes(pack),
        )


def _changing(router: Router, desk: Desk) -> None:
    @router.put("/v1/policies", openapi_extra=PACK_BODY, responses=problems(422))
    async def apply_pack(
        request: Request, response: Response, principal: Writer, expected: MaybeIfMatch = None
    ) -> AppliedView:
        """Put a pack in force; the sections that changed are published. The same text again changes nothing."""
        pack = await _pack_of(request)
        version = None if expected is None else if_match(request)
        async with desk.change() as tx:
            applied = await commands.apply(tx, caller_of(request, principal), pack, version)
        response.headers["ETag"] = etag(applied.pack.version)
        return _applied(applied, pack)

    @router.post("/v1/policies/rollback", responses=problems(404, 409))
    async def roll_back(
        request: Request,
        response: Response,
        principal: Writer,
        wanted: RollbackWanted | None = None,
        expected: MaybeIfMatch = None,
    ) -> AppliedView:
        """Put an earlier version in force again, as a new version, so that nothing is ever lost."""
        version = None if expected is None else if_match(request)
        to = wanted.to if wanted else None
        async with desk.change() as tx:
            applied = await commands.rollback(tx, caller_of(request, principal), to, version)
        response.headers["ETag"] = etag(applied.pack.version)
        return _applied(applied, None)


def _reading(router: Router, desk: Desk) -> None:
    @router.get("/v1/policies", response_model=PackView)
    async def get_pack(request: Request, response: Response, principal: Reader) -> PackView | Response:
        """The pack in force, as it was written."""
        async with desk.database.begin() as tx:
            latest = await packs.latest(tx, principal.tenant_id)
        if latest is None:
            raise not_found("policy pack")
        if if_none_match(request, latest.version):
            return not_modified(latest.version)
        response.headers["ETag"] = etag(latest.version)
        return PackView(**_version(latest), text=latest.text)

    @router.get("/v1/policies/versions")
    async def list_versions(
        request: Request, response: Response, principal: Reader, limit: PageLimit = 50, cursor: CursorText = None
    ) -> Page[VersionView]:
        """Every version ever in force, newest first."""
        async with desk.database.begin() as tx:
            before = desk.position(request, principal, cursor)
            found = await packs.history(tx, principal.tenant_id, before=before, limit=limit + 1)
        return desk.page(
            request,
            response,
            principal,
            found=found,
            limit=limit,
            key=lambda one: one.version,
            view=lambda one: VersionView(**_version(one)),
        )

    @router.get("/v1/policies/versions/{version}")
    async def get_version(principal: Reader, version: Annotated[int, Path(ge=1, le=2**53)]) -> PackView:
        """One version, as it was written."""
        async with desk.database.begin() as tx:
            found = await packs.get(tx, principal.tenant_id, version)
        if found is None:
            raise not_found("version of the pack")
        return PackView(**_version(found), text=found.text)


async def _pack_of(request: Request) -> Pack:
    """The pack in the body, checked. Raises a 422 problem that names the line of everything wrong with it."""
    body = await request.body()
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise refused([LineError(pointer="", detail=f"line {line}: not UTF-8", line=line, column=1)]) from error
    try:
        # Some hundred milliseconds for the largest pack: the event loop has other callers.
        return await asyncio.to_thread(check, text)
    except PackRefusedError as error:
        raise refused([line_error(problem) for problem in error.problems if not problem.warning]) from error


def line_error(problem: PackProblem) -> LineError:
    """A problem of a pack as the API tells it."""
    mark = problem.mark
    detail = f"line {mark.line}: {problem.message}"
    return LineError(pointer=problem.pointer, detail=detail, line=mark.line, column=mark.column)


def refused(errors: list[LineError]) -> Problem:
    """The answer to a bad pack."""
    count = f"{len(errors)} problem{'s' if len(errors) != 1 else ''}"
    return Problem(422, "pack-refused", "Pack refused", f"{count}; the first: {errors[0].detail}", errors=errors)


def _notes(pack: Pack) -> list[Note]:
    return [Note(pointer=item.pointer, line=item.mark.line, detail=item.message) for item in pack.warnings]


def _difference(item: Difference) -> DifferenceView:
    return DifferenceView(section=item.section, kind=item.kind.value, what=item.what, old=item.old, new=item.new)


def _version(pack: PackVersion) -> dict[str, Any]:
    return {
        "version": pack.version,
        "pack": pack.name,
        "applied_by": pack.applied_by,
        "applied_at": pack.applied_at,
        "rolled_back_to": pack.rolled_back_to,
    }


def _applied(applied: commands.Applied, pack: Pack | None) -> AppliedView:
    return AppliedView(
        **_version(applied.pack),
        sections=applied.sections,
        text=told(applied.differences),
        differences=[_difference(item) for item in applied.differences],
        warnings=_notes(pack) if pack else [],
    )
