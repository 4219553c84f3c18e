"""What the reports should say, worked out again in plain Python over lists of events.

Written from the rules alone, as slowly and as plainly as they read; shares no code with `littlebro.analysis`.
"""
