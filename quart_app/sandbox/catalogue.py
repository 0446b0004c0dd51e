"""The tricks by name: each a sentence, and what it is made of. Every part of one can be given another value."""

from typing import Any, NamedTuple

HTML = {"Content-Type": "text/html; charset=utf-8"}
TEXT = {"Content-Type": "text/plain; charset=utf-8"}
OOPS = "<!doctype html><title>502 Bad Gateway</title><h1>502 Bad Gateway</h1>"
SIGN_IN = "<!doctype html><title>Sign in</title><form><input name=user><input name=password type=password></form>"


class Entry(NamedTuple):
    says: str
    fields: dict[str, Any]


TIMES_AND_ENDS = {
    "slow_request": Entry("Waits for 5 s before it looks at the request", {"delay_seconds": 5}),
    "slow_answer": Entry("Spends the token, then waits for 5 s", {"answer_delay_seconds": 5}),
    "lost_request": Entry("Closes the connection, nothing is spent", {"ends": "closed"}),
    "lost_answer": Entry("Spends the token, then closes without a byte", {"ends": "closed", "when": "after"}),
    "reset": Entry("Spends the token, then resets the connection", {"ends": "reset", "when": "after"}),
    "cut": Entry("Spends the token, then breaks off in mid-answer", {"ends": "cut", "when": "after"}),
    "hang": Entry("Spends the token and never answers", {"ends": "never", "when": "after"}),
    "clock_ahead": Entry("Says a Date that is an hour ahead", {"skew_seconds": 3600}),
    "clock_behind": Entry("Says a Date that is an hour behind", {"skew_seconds": -3600}),
}

STATUSES = {
    "status_500": Entry("500 with a line of text", {"status": 500, "body": "Internal error\n", "headers": TEXT}),
    "status_502": Entry("502 with a page of HTML", {"status": 502, "body": OOPS, "headers": HTML}),
    "status_503": Entry("503, Retry-After: 1", {"status": 503, "body": "", "headers": {"Retry-After": "1"}}),
    "status_429": Entry("429, Retry-After: 1", {"status": 429, "body": "", "headers": {"Retry-After": "1"}}),
    "redirect": Entry("307 to the same endpoint", {"status": 307, "body": "", "headers": {"Location": "/oauth/token"}}),
}

BODIES = {
    "html_ok": Entry("200 with a sign-in page", {"body": SIGN_IN, "headers": HTML}),
    "empty": Entry("200 with no body", {"body": ""}),
    "not_json": Entry("200 with text that is no JSON", {"body": "access_token=abc", "headers": TEXT}),
    "json_array": Entry("200 with a JSON array", {"body": "[]"}),
    "json_null": Entry("200 with null", {"body": "null"}),
    "not_utf8": Entry(
        "The answer in Latin-1, with a letter that shows it", {"answer": {"n": "é"}, "encoding": "latin-1"}
    ),
    "large_answer": Entry("The answer with 70,000 bytes more", {"long": {"padding": 70_000}}),
    "extra_fields": Entry(
        "The answer with members that no standard has",
        {"answer": {"ok": True, "user": {"id": 7}, "scopes": ["a"], "error": None}},
    ),
}

ERRORS = {
    code: Entry(f"The error {code}", {"error": code})
    for code in (
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "invalid_scope",
        "unauthorized_client",
        "unsupported_grant_type",
        "access_denied",
        "slow_down",
        "server_error",
        "temporarily_unavailable",
    )
} | {"error_with_200": Entry("The error invalid_grant with status 200", {"error": "invalid_grant", "status": 200})}

VALUES = {
    "expires_in_string": Entry('expires_in is "3600"', {"answer": {"expires_in": "3600"}}),
    "expires_in_words": Entry('expires_in is "soon"', {"answer": {"expires_in": "soon"}}),
    "expires_in_zero": Entry("expires_in is 0", {"answer": {"expires_in": 0}}),
    "expires_in_negative": Entry("expires_in is -1", {"answer": {"expires_in": -1}}),
    "expires_in_huge": Entry("expires_in is 1e20", {"answer": {"expires_in": 1e20}}),
    "expires_in_null": Entry("expires_in is null", {"answer": {"expires_in": None}}),
    "expires_in_lie": Entry("expires_in is an hour, whatever is true", {"answer": {"expires_in": 3600}}),
    "no_expires_in": Entry("No expires_in", {"without": ("expires_in",)}),
    "no_access_token": Entry("No access token", {"without": ("access_token",)}),
    "token_with_newline": Entry("CR and LF in the access token", {"answer": {"access_token": "a\r\nX-Injected: b"}}),
    "huge_token": Entry("An access token of 1 MiB", {"long": {"access_token": 1024**2}}),
    "no_refresh_token": Entry("No refresh token, though it rotated", {"without": ("refresh_token",)}),
    "empty_refresh_token": Entry('refresh_token is ""', {"answer": {"refresh_token": ""}}),
    "null_refresh_token": Entry("refresh_token is null", {"answer": {"refresh_token": None}}),
    "token_type_mac": Entry('token_type is "mac"', {"answer": {"token_type": "mac"}}),
    "token_type_dpop": Entry('token_type is "DPoP"', {"answer": {"token_type": "DPoP"}}),
    "token_type_upper": Entry('token_type is "BEARER"', {"answer": {"token_type": "BEARER"}}),
    "no_token_type": Entry("No token_type", {"without": ("token_type",)}),
    "other_scope": Entry("Less scope than was asked for", {"answer": {"scope": "items:read"}}),
    "no_id_token": Entry("No ID token", {"without": ("id_token",)}),
    "wrong_nonce": Entry("An ID token with another nonce", {"claims": {"nonce": "another"}}),
    "wrong_audience": Entry("An ID token for another client", {"claims": {"aud": "another-client"}}),
    "wrong_token_issuer": Entry("An ID token of another issuer", {"claims": {"iss": "https://wrong.example"}}),
    "old_id_token": Entry("An ID token that has expired", {"claims": {"exp": 1}}),
    "unsigned_id_token": Entry("An ID token without a signature", {"answer": {"id_token": "eyJhbGciOiJub25lIn0.e30."}}),
}

REDIRECTS = {
    name: Entry(entry.says, {"at": "authorization", **entry.fields})
    for name, entry in {
        "wrong_issuer": Entry("iss is another server's", {"answer": {"iss": "https://wrong.example"}}),
        "no_issuer": Entry("No iss", {"without": ("iss",)}),
        "wrong_state": Entry("state is another one", {"answer": {"state": "wrong"}}),
        "no_state": Entry("No state", {"without": ("state",)}),
        "no_code": Entry("No code", {"without": ("code",)}),
        "wrong_code": Entry("A code that is unknown", {"answer": {"code": "wrong"}}),
        "code_and_error": Entry("A code and an error", {"answer": {"error": "server_error"}}),
        "denied": Entry("access_denied, whatever the person said", {"error": "access_denied"}),
        "unavailable": Entry("temporarily_unavailable", {"error": "temporarily_unavailable"}),
    }.items()
}

CATALOGUE: dict[str, Entry] = TIMES_AND_ENDS | STATUSES | BODIES | ERRORS | VALUES | REDIRECTS
