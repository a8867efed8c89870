"""Who somebody is, asked of an OpenID Connect provider: authorization code with PKCE, id token checked strictly.

Any provider will do, since its addresses come from its discovery document. Authlib speaks OAuth; the id token is
checked here, because Authlib's own sign-in helper checks no audience and takes any algorithm that the provider lists
(Canaille lists `none`). Ours is pinned to RS256, which every provider must support (OpenID Connect Core, 15.1).
"""

import asyncio
import secrets
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any

import httpx2
from authlib.integrations.base_client import OAuthError  # type: ignore[import-untyped]
from authlib.integrations.httpx_client import AsyncOAuth2Client  # type: ignore[import-untyped]
from authlib.oidc.core import CodeIDToken  # type: ignore[import-untyped]
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry
from pydantic import BaseModel, ValidationError

from wattfleet_gateway.errors import Problem
from wattfleet_gateway.settings import OidcClient

_ALGORITHM = "RS256"
_SCOPE = "openid profile"
_TIMEOUT_S = 10.0
_CLOCK_LEEWAY_S = 60
# Providers rotate keys and move endpoints rarely; an unknown key id makes us look at once, but not at every forgery.
_FRESH_FOR_S = 3600.0
_LOOK_AGAIN_AFTER_S = 10.0
_LONGEST_NAME = 100


class SignInRefused(Problem):
    """The provider, or what it sent, does not prove who this is."""

    def __init__(self, detail: str = "The sign-in could not be completed. Please try again.") -> None:
        super().__init__(HTTPStatus.BAD_REQUEST, detail)


class ProviderUnavailable(Problem):
    """The identity provider does not answer as it should."""

    def __init__(self) -> None:
        super().__init__(HTTPStatus.SERVICE_UNAVAILABLE, "Sign-in cannot be reached right now. Try again soon.")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to sign in. return_to: the path that the person wanted. The others are fresh random secrets."""

    state: str
    nonce: str
    code_verifier: str
    return_to: str


@dataclass(frozen=True, slots=True)
class Person:
    """Whom the provider vouched for. (issuer, subject) is the identity; name is only for show and may be empty."""

    issuer: str
    subject: str
    name: str
    id_token: str


class Discovery(BaseModel):
    """The part of a provider's discovery document that we use."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    end_session_endpoint: str | None = None


@dataclass(frozen=True, slots=True)
class _Known:
    discovery: Discovery
    keys: KeySet
    at_s: float


def new_attempt(return_to: str) -> Attempt:
    """An attempt with fresh secrets: 256 bits each."""
    return Attempt(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(48), return_to)


class IdentityProvider:
    """The provider of `client`, which sends people back to `redirect_uri`."""

    def __init__(self, client: OidcClient, redirect_uri: str) -> None:
        self._client = client
        self._redirect_uri = redirect_uri
        self._known: _Known | None = None
        self._looking = asyncio.Lock()

    async def authorization_url(self, attempt: Attempt) -> str:
        """Where to send the browser. Raises ProviderUnavailable."""
        discovery = (await self._know()).discovery
        async with self._oauth() as oauth:
            url, _state = oauth.create_authorization_url(
                discovery.authorization_endpoint,
                state=attempt.state,
                nonce=attempt.nonce,
                code_verifier=attempt.code_verifier,
            )
        return str(url)

    async def identify(self, code: str, attempt: Attempt) -> Person:
        """Who came back with `code`. Raises SignInRefused unless all of it is proven, or ProviderUnavailable."""
        discovery = (await self._know()).discovery
        try:
            async with self._oauth() as oauth:
                tokens = await oauth.fetch_token(
                    discovery.token_endpoint, code=code, code_verifier=attempt.code_verifier
                )
                claims = await self._claims(tokens, attempt.nonce)
                name = _name(claims) or await self._name_elsewhere(oauth, discovery, claims["sub"])
        except (OAuthError, JoseError, KeyError, TypeError, ValueError) as error:
            raise SignInRefused from error
        except httpx2.HTTPError as error:
            raise ProviderUnavailable from error
        return Person(claims["iss"], claims["sub"], name, tokens["id_token"])

    async def end_session_url(self, id_token: str, back_to: str) -> str | None:
        """Where to send the browser to sign out at the provider too; None when it has no such page right now."""
        try:
            endpoint = (await self._know()).discovery.end_session_endpoint
        except ProviderUnavailable:
            return None
        if endpoint is None:
            return None
        back = {"id_token_hint": id_token, "client_id": self._client.client_id, "post_logout_redirect_uri": back_to}
        return str(httpx2.URL(endpoint).copy_merge_params(back))

    async def _claims(self, tokens: Mapping[str, Any], nonce: str) -> Mapping[str, Any]:
        claims = CodeIDToken(
            *await self._verified(tokens["id_token"]),
            options={
                "iss": {"essential": True, "value": self._client.issuer},
                "aud": {"essential": True, "value": self._client.client_id},
            },
            params={"nonce": nonce, "client_id": self._client.client_id, "access_token": tokens.get("access_token")},
        )
        claims.validate(leeway=_CLOCK_LEEWAY_S)
        if not isinstance(claims["sub"], str) or not claims["sub"]:
            raise ValueError("the id token has no subject")
        return dict(claims)

    async def _verified(self, id_token: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        registry = JWSRegistry(algorithms=[_ALGORITHM], strict_check_header=False)
        try:
            token = jwt.decode(id_token, (await self._know()).keys, registry=registry)
        except InvalidKeyIdError:
            token = jwt.decode(id_token, (await self._know(_LOOK_AGAIN_AFTER_S)).keys, registry=registry)
        return token.claims, token.header

    async def _name_elsewhere(self, oauth: Any, discovery: Discovery, subject: str) -> str:
        if discovery.userinfo_endpoint is None:
            return ""
        answer = await oauth.get(discovery.userinfo_endpoint)
        told = answer.json() if answer.status_code == HTTPStatus.OK else {}
        return _name(told) if told.get("sub") == subject else ""

    async def _know(self, fresh_for_s: float = _FRESH_FOR_S) -> _Known:
        async with self._looking:
            if self._known is None or time.monotonic() - self._known.at_s > fresh_for_s:
                self._known = await self._look()
            return self._known

    async def _look(self) -> _Known:
        try:
            async with httpx2.AsyncClient(verify=_trusted(), timeout=_TIMEOUT_S) as http:
                found = await http.get(self._client.issuer.rstrip("/") + "/.well-known/openid-configuration")
                discovery = Discovery.model_validate_json(found.raise_for_status().content)
                keys = KeySet.import_key_set((await http.get(discovery.jwks_uri)).raise_for_status().json())
        except (httpx2.HTTPError, JoseError, ValidationError, ValueError, KeyError, TypeError) as error:
            raise ProviderUnavailable from error
        if discovery.issuer != self._client.issuer:
            raise ProviderUnavailable from ValueError(f"the provider calls itself {discovery.issuer!r}")
        return _Known(discovery, keys, time.monotonic())

    def _oauth(self) -> Any:
        return AsyncOAuth2Client(
            self._client.client_id,
            self._client.client_secret,
            scope=_SCOPE,
            redirect_uri=self._redirect_uri,
            code_challenge_method="S256",
            verify=_trusted(),
            timeout=_TIMEOUT_S,
        )


@cache
def _trusted() -> ssl.SSLContext:
    """The certificate authorities; reading them takes 0.1 s, so it is done once and not for every person."""
    return httpx2.create_ssl_context()


def _name(claims: Mapping[str, Any]) -> str:
    for claim in ("name", "given_name", "preferred_username", "nickname"):
        if isinstance(claims.get(claim), str) and claims[claim].strip():
            return str(claims[claim]).strip()[:_LONGEST_NAME]
    return ""
