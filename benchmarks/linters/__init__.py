"""Other linters of migrations, and how they are asked."""
