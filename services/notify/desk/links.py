"""Addresses that mails and notices carry: all of them below the one origin."""

from __future__ import annotations

from uuid import UUID

from services.notify.domain import page_link
from shared.auth import survey_token


class Links:
    """Makes links with the keys of the installation."""

    def __init__(self, public_url: str, master: bytes) -> None:
        self._origin = public_url.rstrip("/")
        self._page_key = page_link.key_of(master)
        self._survey_key = survey_token.key_of(master)

    def ticket(self, ticket_id: UUID) -> str:
        """Where a ticket is."""
        return f"{self._origin}/v1/tickets/{ticket_id}"

    def page(self, page_id: UUID) -> str:
        """Where a page is answered, by whoever has the link."""
        return f"{self._origin}/v1/pages/{page_link.make(self._page_key, page_id)}"

    def page_of(self, token: str) -> UUID | None:
        """The page that a link's token is for, if it is one of ours."""
        return page_link.verify(self._page_key, token)

    def survey(self, tenant_id: str, ticket_id: UUID, cycle: int, person_id: UUID) -> str:
        """Where a requester says how it was."""
        token = survey_token.make(self._survey_key, tenant_id, ticket_id, cycle, person_id)
        return f"{self._origin}/v1/surveys/{token}"
