"""The dashboard: what its addresses ask, what its pages show to whom, and how it looks and feels in Chromium."""
