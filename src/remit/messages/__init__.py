"""Messages of tasks."""
