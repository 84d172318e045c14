"""What reached people: the mails at the sink by address, and a colleague's phone, which rings with pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx2

from tests.support.waiting import eventually

if TYPE_CHECKING:
    from tests.support.installation import Installation

Mail = Mapping[str, Any]
PATIENCE = 60.0


async def mails_of(installation: Installation, tenant: str, to: str | None = None) -> list[Mail]:
    """What was sent in a tenant's name, or of that to one address, oldest first; customers may be everybody's."""
    answer = await installation.client.get(f"{installation.url('sink')}/mails", params={"to": to} if to else {})
    answer.raise_for_status()
    items: list[Mail] = answer.json()["items"]
    return [one for one in items if f"{tenant}.example" in one["headers"].get("from", "")]


class Inbox:
    """The mails that one address got from one tenant."""

    def __init__(self, installation: Installation, tenant: str, address: str) -> None:
        self._installation = installation
        self._tenant = tenant
        self.address = address

    async def mails(self, *, subject: str = "", about: str = "") -> list[Mail]:
        """What has arrived whose subject has these words; `about` is a ticket's number."""
        mails = await mails_of(self._installation, self._tenant, self.address)
        return [one for one in mails if subject in one["subject"] and about in one["subject"] + one["text"]]

    async def expects(self, *, subject: str, about: str = "", times: int = 1) -> Mail:
        """Wait for such a mail, the newest of exactly so many."""

        async def arrived() -> list[Mail]:
            found = await self.mails(subject=subject, about=about)
            assert len(found) >= times, f"{len(found)} of {times}"
            return found

        what = f"a mail to {self.address} about {about or 'anything'} with {subject!r}"
        found = await eventually(arrived, within=PATIENCE, every=0.1, what=what)
        assert len(found) == times, f"{len(found)} of them: {[one['subject'] for one in found]}"
        return found[-1]

    async def has_nothing(self, *, subject: str = "", about: str = "") -> None:
        """Once everything is done that was to be done: no such mail."""
        await self._installation.quiet()
        found = await self.mails(subject=subject, about=about)
        assert found == [], [one["subject"] for one in found]


class Phone:
    """The pages that reached one colleague."""

    def __init__(self, installation: Installation, tenant: str, address: str) -> None:
        self._inbox = Inbox(installation, tenant, address)
        self._installation = installation

    async def rang(self, about: Mapping[str, Any], step: str = "") -> list[Mail]:
        """Pages so far about a ticket; those of one step of the path, if it is named."""
        return [
            one for one in await self._inbox.mails(subject="PAGE:", about=about["number"]) if step in one["subject"]
        ]

    async def expects(self, about: Mapping[str, Any], *, step: str = "", times: int = 1) -> Mail:
        """Wait for it to ring about a ticket, at this step of the path; by then exactly so many times."""

        async def ringing() -> list[Mail]:
            found = await self.rang(about, step)
            assert len(found) >= times, f"{len(found)} of {times}"
            return found

        what = f"a page to {self._inbox.address} about {about['number']} {step}"
        found = await eventually(ringing, within=PATIENCE, every=0.1, what=what)
        assert len(found) == times, [one["subject"] for one in found]
        return found[-1]

    async def stays_silent(self, about: Mapping[str, Any], *, step: str = "", after: int = 0) -> None:
        """Once the installation is quiet: it has not rung about a ticket, or not again `after` so many times."""
        await self._installation.quiet()
        pages = [one["subject"] for one in await self.rang(about, step)]
        assert len(pages) == after, pages

    async def acknowledge(self, about: Mapping[str, Any]) -> None:
        """Follow the link in the newest page, as its reader would, and take it."""
        assert "acknowledged" in await self._answer(about, "acknowledged")

    async def decline(self, about: Mapping[str, Any]) -> None:
        """Follow the link in the newest page and say no."""
        assert "declined" in await self._answer(about, "declined")

    async def shows(self, about: Mapping[str, Any]) -> str:
        """What the link in the newest page leads to now."""
        return await follow((await self.rang(about))[-1], "/v1/pages/")

    async def _answer(self, about: Mapping[str, Any], answer: str) -> str:
        return await follow((await self.rang(about))[-1], "/v1/pages/", answer=answer)


def link_in(mail: Mail, path: str) -> str:
    """The first link of a mail that leads to such a path."""
    return next(str(url) for url in mail["links"] if urlsplit(url).path.startswith(path))


async def follow(mail: Mail, path: str, **form: str) -> str:
    """Open a link of a mail without any login, fill in the form if there is one to fill in; the page then shown."""
    async with httpx2.AsyncClient(timeout=40.0, trust_env=False) as browser:
        shown = await browser.get(link_in(mail, path))
        shown.raise_for_status()
        if form:
            shown = await browser.post(link_in(mail, path), data=form)
            shown.raise_for_status()
    return shown.text
