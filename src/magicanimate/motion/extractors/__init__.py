"""Networks that find people in ordinary videos."""
