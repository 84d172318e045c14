"""Connections to addresses that tenants give us: which are allowed (`rules`), and names looked up by us (`vetting`)."""
