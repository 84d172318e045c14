"""Every SQL statement of directory, by noun. Each one names its tenant; none reads across tenants but by its key."""
