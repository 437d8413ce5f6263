"""The report as text: on a console, in Markdown, LaTeX, and tidy CSV."""
