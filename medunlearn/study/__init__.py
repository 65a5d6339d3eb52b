"""The grid of models, the store that holds them, and the jobs that compute them."""
