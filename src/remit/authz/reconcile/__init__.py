"""Reconciliation: rows, local relationships and the projection compared side by side, in the order of their ids."""
