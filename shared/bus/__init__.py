"""The consume loop: one batch, one transaction, offsets afterwards; three kinds of failure, none of which loses."""

from shared.bus.breaker import FailureLimits
from shared.bus.bus import Bus
from shared.bus.route import Route

__all__ = ["Bus", "FailureLimits", "Route"]
