"""How secrets look that any program may write, as expressions; each begins with what it is found by."""

PRIVATE_KEY = r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
JSON_WEB_TOKEN = r"eyJ(?<![\w-]eyJ)[\w-]{8,}\.[\w-]{8,}\.[\w-]*"  # noqa: S105 - how one looks
"""RFC 7519."""
