"""What both sides write, in one numbered transcript; and what happens to an answer that nobody was there to read.

An answer is either acknowledged by the visitor's client or, once the visitor has been away long enough, told as
`chat.reply_missed`, once. The decision is a durable timer's, in the transaction that tells it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from services.ingest.domain import ChatTurn, Draft
from services.ingest.store import chat
from services.ingest.store.chat import NewLine, NewSession
from shared import timers
from shared.contracts import ids
from shared.contracts.chat import ChatReplyMissed
from shared.contracts.message import Channel
from shared.contracts.ticket import AuthorKind, TicketMessageAdded, Visibility
from shared.db import Tx
from shared.envelope import Delete, Emit, Received
from shared.timers import Timer

MISSED = "chat.missed"
"""The timer of a session with answers that may have been missed."""
_SLACK = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Transcript:
    """Appends to transcripts; `leave` is how long a visitor is gone before answers go another way."""

    leave: timedelta

    async def hear(self, tx: Tx, batch: Sequence[Received[TicketMessageAdded]]) -> None:
        """Answers of the desk into the transcripts of those they are for."""
        events = [one.event for one in batch]
        joined = [
            (event.tenant_id, event.message.message_id, event.ticket_id)
            for event in events
            if event.message.author_kind == AuthorKind.REQUESTER and event.message.channel == Channel.CHAT
        ]
        if joined:
            await chat.settle_tickets(tx, sorted(joined))
        answers = [event for event in events if _is_answer(event)]
        if not answers:
            return
        places = await chat.sessions_of(tx, sorted({(event.tenant_id, event.ticket_id) for event in answers}))
        lines = [
            _line(event, session) for event in answers for session in places.get((event.tenant_id, event.ticket_id), ())
        ]
        if not lines:
            return
        sessions = await chat.lock_sessions(tx, sorted({line.session_id for line in lines}))
        await chat.append(tx, lines, {one: row["last_seq"] for one, row in sessions.items()})
        waiting = sorted({line.session_id for line in lines if not line.told})
        await timers.arm(
            tx,
            [
                self._timer(sessions[one]["tenant_id"], one, max(sessions[one]["seen_at"] + self.leave, tx.instant))
                for one in waiting
            ],
        )

    async def missed(self, tx: Tx, due: Sequence[Timer]) -> Sequence[Emit | Delete]:
        """Tell of answers whose visitors have left; look again later at those who have not."""
        sessions = await chat.lock_sessions(tx, sorted(UUID(timer.key) for timer in due))
        open_lines = await chat.untold(tx, list(sessions))
        answers: list[Emit | Delete] = []
        told: list[tuple[UUID, int]] = []
        again: dict[UUID, datetime] = {}
        for line in open_lines:
            session = sessions[line["session_id"]]
            leaves_at = session["seen_at"] + self.leave
            if leaves_at > tx.instant:
                again[line["session_id"]] = max(leaves_at, tx.instant + _SLACK)
                continue
            told.append((line["session_id"], line["seq"]))
            answers.append(
                Emit(
                    ChatReplyMissed(
                        tenant_id=session["tenant_id"],
                        ticket_id=line["ticket_id"],
                        message_id=line["message_id"],
                        person_id=session["person_id"],
                        address=session["address"],
                        left_at=session["seen_at"],
                    )
                )
            )
        if told:
            await chat.mark_told(tx, told)
        await timers.arm(tx, [self._timer(sessions[one]["tenant_id"], one, at) for one, at in again.items()])
        return answers

    @staticmethod
    def _timer(tenant_id: str, session_id: UUID, due_at: datetime) -> Timer:
        return Timer(kind=MISSED, key=str(session_id), tenant_id=tenant_id, due_at=due_at)


async def wrote(tx: Tx, drafts: Iterable[Draft]) -> None:
    """Visitors' messages, stored in this transaction, into their transcripts."""
    turns: list[tuple[Draft, ChatTurn]] = [(draft, draft.chat) for draft in drafts if draft.chat is not None]
    if not turns:
        return
    await chat.begin_sessions(
        tx,
        [
            NewSession(
                session_id=turn.session_id,
                tenant_id=draft.tenant_id,
                person_id=draft.sender.person_id,
                address=turn.address,
            )
            for draft, turn in turns
        ],
    )
    sessions = await chat.lock_sessions(tx, sorted({turn.session_id for _, turn in turns}))
    lines = [
        NewLine(
            session_id=turn.session_id,
            tenant_id=draft.tenant_id,
            message_id=draft.message_id,
            ticket_id=ids.ticket_id(draft.tenant_id, draft.message_id),
            side="visitor",
            client_id=turn.client_id,
            text=draft.body.text,
        )
        for draft, turn in turns
    ]
    await chat.append(tx, lines, {one: row["last_seq"] for one, row in sessions.items()})


def _is_answer(event: TicketMessageAdded) -> bool:
    message = event.message
    ours = message.author_kind in {AuthorKind.AGENT, AuthorKind.SYSTEM}
    return ours and message.visibility == Visibility.PUBLIC and not message.automatic


def _line(event: TicketMessageAdded, session_id: UUID) -> NewLine:
    message = event.message
    blob = message.body.text_blob
    return NewLine(
        session_id=session_id,
        tenant_id=event.tenant_id,
        message_id=message.message_id,
        ticket_id=event.ticket_id,
        side="agent" if message.author_kind == AuthorKind.AGENT else "system",
        text=message.body.text,
        text_sha256=None if blob is None else blob.sha256,
        files=tuple(one.filename.replace("\n", " ") for one in message.attachments),
        # Of a ticket that did not begin as a chat (it was merged) notify tells its people by mail anyway.
        told=event.ticket.channel != Channel.CHAT,
    )
