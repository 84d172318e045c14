"""Who is asking and what they may do, verified offline from what directory publishes."""

from shared.auth.authenticator import Authenticator
from shared.auth.credentials import Credentials, FixedCredentials, ReplicaCredentials
from shared.auth.keys import SecretError, api_key_id, derive, is_api_key, new_api_key, unwrap, wrap
from shared.auth.permissions import ROLE_PERMISSIONS, Permission, TicketScope, allows, forbidden, require
from shared.auth.principal import Principal
from shared.auth.tokens import Unauthenticated, issue, new_signing_key, public_part

__all__ = [
    "ROLE_PERMISSIONS",
    "Authenticator",
    "Credentials",
    "FixedCredentials",
    "Permission",
    "Principal",
    "ReplicaCredentials",
    "SecretError",
    "TicketScope",
    "Unauthenticated",
    "allows",
    "api_key_id",
    "derive",
    "forbidden",
    "is_api_key",
    "issue",
    "new_api_key",
    "new_signing_key",
    "public_part",
    "require",
    "unwrap",
    "wrap",
]
