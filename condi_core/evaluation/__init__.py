"""Metrics of imputers and task models, computed from sums that add up over sites."""
