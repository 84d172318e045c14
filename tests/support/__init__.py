"""What tests share: engines, scratch databases and topics, builders, conditions to wait for."""
