"""The ledger, its proofs, history and the check of the record."""
