"""Business-time arithmetic: how much of it passes between two instants, and when so much of it will have passed.

Pure: instants are arguments, and nothing is read but the zone database. One of the two rules several services must
agree on, which is why it is here (`docs/architecture`: shared holds mechanism).
"""

from __future__ import annotations

from shared.calendar.business_time import BusinessTime, Open, business_time
from shared.calendar.week import Closed, Week

__all__ = ["BusinessTime", "Closed", "Open", "Week", "business_time"]
