"""Runs, the vocabulary of their outcomes, and verdicts on them."""
