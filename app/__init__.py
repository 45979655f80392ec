"""Pages and the report: what a reader sees."""
