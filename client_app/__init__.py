"""A site. It answers the coordinator's messages with sums and weights, never with records."""
