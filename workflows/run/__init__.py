"""The machinery of a run: provision, measure, impair, keep, resume, show; commands use it, it uses no command."""
