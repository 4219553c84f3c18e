"""Template tags: one for the pages of others, one for the dashboard's own."""
