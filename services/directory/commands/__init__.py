"""One change each: the rows, and what the other services are told of them, in the caller's transaction.

A command raises the problem that refuses it; then the transaction is rolled back whole. Rows are locked before the
first event is drawn, so that events leave in the order of the changes.
"""
