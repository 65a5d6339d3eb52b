"""The grid of models, the ledger that holds them, and the jobs that compute them."""
