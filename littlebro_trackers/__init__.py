"""The trackers that come with littlebro, each found through its entry point as a stranger's would be."""
