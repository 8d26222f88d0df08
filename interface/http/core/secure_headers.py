"""Security headers of every response: no sniffing, no framing, no scripts."""

import base64
import hashlib
import re

Headers = list[tuple[bytes, bytes]]

# Responses are data: a browser must not execute, load or frame anything in them.
NOTHING = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_EVERY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def secure_headers(content_policy: str, hsts_seconds: int | None) -> Headers:
    """Return the encoded headers. hsts_seconds: how long browsers require TLS; None: no such header."""
    headers = {**_EVERY, "Content-Security-Policy": content_policy}
    if hsts_seconds is not None:
        headers["Strict-Transport-Security"] = f"max-age={hsts_seconds}"
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def policy_of_page(html: str) -> str:
    """Return the content policy of a page that runs its own inline scripts, and scripts of this server only.

    Swagger UI has its icons in data URLs; the policy does not cover the styles that it sets by script.
    """
    digests = [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        for script in _INLINE_SCRIPT.findall(html)
    ]
    allowed = " ".join(["'self'", *(f"'sha256-{digest}'" for digest in digests)])
    return f"{NOTHING}; script-src {allowed}; style-src 'self'; img-src 'self' data:; connect-src 'self'"
