"""Where bytes come from, what they mean, and how they get in exactly once."""
