"""From files to pages: studies read from disk, figures and reports written to it."""
