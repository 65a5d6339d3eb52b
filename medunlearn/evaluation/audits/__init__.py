"""Is what should be forgotten still known? From the prediction table alone."""
