"""Secrets taken out of what is recorded, and put back where a record is sent again."""
