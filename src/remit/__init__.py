"""An open control plane for AI-agent tasks in which every task has an owner."""
