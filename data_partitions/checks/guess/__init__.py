"""Drafts of a description, from what the files of a folder look like."""
