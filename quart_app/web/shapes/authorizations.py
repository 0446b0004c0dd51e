"""Sign-ins at a provider: what comes out."""

from quart_app.web.shapes.common import Instant, Shape


class AuthorizationView(Shape):
    """Where a browser goes to sign in: one that has the cookie of this answer, before the instant."""

    authorize_url: str
    redirect_uri: str
    expires_at: Instant
