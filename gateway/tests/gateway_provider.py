"""A small, strict OpenID Connect provider on a port of its own: PKCE enforced, codes good once, tokens signed RS256.

It vouches for whoever `who` names, without asking for a password. `twist` changes the claims of the next id token and
`forge` replaces its signature, so that tests can see what the gateway does not believe.
"""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import Any
from urllib.parse import urlencode

from gateway_serving import served
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT_ID, CLIENT_SECRET = "wattfleet-gateway", "the secret of the client"

Claims = dict[str, Any]


@cache
def rsa_key(number: int) -> RSAKey:  # making one takes half a second
    return RSAKey.generate_key(2048, {"kid": f"key-{number}", "use": "sig", "alg": "RS256"})


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _signing_input(header: Claims, claims: Claims) -> str:
    return f"{_base64(json.dumps(header).encode())}.{_base64(json.dumps(claims).encode())}"


class Provider:
    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.who: Claims = {"sub": "alice", "name": "Alice Ampere"}
        self.userinfo: Claims = {}
        self.twist: Callable[[Claims], Claims] = lambda claims: claims
        self.forge: Callable[[Claims], str] = self.signed
        self.name_of_itself = issuer
        self.refuses = ""
        self.signed_out: list[dict[str, str]] = []
        self.asked: list[dict[str, str]] = []
        self.rotate_key()
        self._codes: dict[str, dict[str, str]] = {}

    def rotate_key(self) -> None:
        self.key = next(key for key in (rsa_key(0), rsa_key(1)) if key is not getattr(self, "key", None))

    def signed(self, claims: Claims) -> str:
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, self.key)

    def signed_by_another(self, claims: Claims) -> str:
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, rsa_key(2))

    def unsigned(self, claims: Claims) -> str:
        return _signing_input({"alg": "none"}, claims) + "."

    def signed_with_the_public_key(self, claims: Claims) -> str:
        """The well-known confusion: HS256 with our published key as the shared secret."""
        text = _signing_input({"alg": "HS256", "kid": self.key.kid}, claims)
        return f"{text}.{_base64(hmac.digest(self.key.as_pem(private=False), text.encode(), 'sha256'))}"

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._discovery),
                Route("/keys", self._keys),
                Route("/authorize", self._authorize),
                Route("/token", self._token, methods=["POST"]),
                Route("/userinfo", self._userinfo),
                Route("/end-session", self._end_session),
            ]
        )

    async def _discovery(self, _request: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self.name_of_itself,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "userinfo_endpoint": f"{self.issuer}/userinfo",
                "jwks_uri": f"{self.issuer}/keys",
                "end_session_endpoint": f"{self.issuer}/end-session",
                "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
            }
        )

    async def _keys(self, _request: Request) -> Response:
        return JSONResponse({"keys": [self.key.as_dict(private=False)]})

    async def _authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        self.asked.append(asked)
        assert asked["client_id"] == CLIENT_ID
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        if self.refuses:
            back = {"error": self.refuses, "state": asked["state"]}
        else:
            code = secrets.token_urlsafe(16)
            self._codes[code] = asked
            back = {"code": code, "state": asked["state"], "iss": self.issuer}
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(back)}", 303)

    async def _token(self, request: Request) -> Response:
        form = await request.form()
        asked = self._codes.pop(str(form.get("code")), None)
        wanted = "Basic " + base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if request.headers.get("authorization") != wanted:
            return JSONResponse({"error": "invalid_client"}, 401)
        if asked is None or form.get("redirect_uri") != asked["redirect_uri"]:
            return JSONResponse({"error": "invalid_grant"}, 400)
        digest = hashlib.sha256(str(form.get("code_verifier", "")).encode()).digest()
        if _base64(digest) != asked["code_challenge"]:
            return JSONResponse({"error": "invalid_grant"}, 400)
        now_s = int(time.time())
        claims = {"iss": self.issuer, "aud": [CLIENT_ID], "iat": now_s, "exp": now_s + 600, "nonce": asked["nonce"]}
        id_token = self.forge(self.twist(claims | self.who))
        return JSONResponse({"access_token": "access", "token_type": "Bearer", "expires_in": 600, "id_token": id_token})

    async def _userinfo(self, request: Request) -> Response:
        assert request.headers["authorization"] == "Bearer access"
        return JSONResponse(self.userinfo)

    async def _end_session(self, request: Request) -> Response:
        asked = dict(request.query_params)
        self.signed_out.append(asked)
        return RedirectResponse(asked["post_logout_redirect_uri"], 303)


@asynccontextmanager
async def running_provider(port: int) -> AsyncIterator[Provider]:
    provider = Provider(f"http://127.0.0.1:{port}")
    async with served(provider.app, port):
        yield provider
