"""A site: answers the coordinator's messages with sums and weights, never with records."""
