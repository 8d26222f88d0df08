"""The ledger: checkpoints, evidence, history, replay, and the access log."""
