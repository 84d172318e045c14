"""How triage decides: texts to findings, findings to a decision. Pure."""
