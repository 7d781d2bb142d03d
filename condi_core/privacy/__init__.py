"""Differential privacy: noise, clipped contributions of patients, and the accountant."""
