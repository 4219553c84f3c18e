"""The dashboard: what the reports say, as pages inside Django's admin.

A request flows in by `urls`, is admitted by `access`, read by `questions`; `pages` draw the frame, `panels` ask
the reports and draw the answers, `charts` draw SVG. Nothing here writes events. Extra: `analytics`.
"""
