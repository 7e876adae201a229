"""Runs a revision on a scratch server full of rows, beside readers and writers, and tells what they felt."""
