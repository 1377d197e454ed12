"""The executor: a plan made once from a graph, and the session that runs it."""
