"""Who may: the relationship graph."""
