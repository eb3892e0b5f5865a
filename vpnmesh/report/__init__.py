"""Tables, figures and pages of a report, as values and then as HTML, Markdown and SVG."""
