"""The operator's connection to Kubernetes: lightkube, whose requests travel by aiohttp.

Of the 28 ms of CPU that a household's birth took, lightkube's own transport in pure Python took nearly half; aiohttp,
which kopf brings along, parses in C and takes two thirds of that (2.0 instead of 3.1 ms a request).
"""

import ssl

import aiohttp
import httpx2
from lightkube import AsyncClient, KubeConfig
from lightkube.config.client_adapter import verify_cluster
from lightkube.config.kubeconfig import SingleConfig
from yarl import URL

from wattfleet_operator.adapters.cluster import FIELD_MANAGER

_ITS_OWN = frozenset({"host", "connection", "content-length"})
"""What aiohttp says itself, about its own connection."""


def cluster_client(config: KubeConfig | None = None) -> AsyncClient:
    """A client for the cluster that `config` names; without one, for the cluster that this process runs in, or that
    KUBECONFIG names."""
    chosen = (config or KubeConfig.from_env()).get()
    if chosen is None:
        raise ValueError("the kubeconfig names no current context")
    return AsyncClient(config=chosen, transport=AiohttpTransport(_trusted(chosen)), field_manager=FIELD_MANAGER)


def _trusted(config: SingleConfig) -> ssl.SSLContext:
    if config.user is None:
        raise ValueError("the kubeconfig names no user")
    return verify_cluster(config.cluster, config.user, config.abs_file)


class AiohttpTransport(httpx2.AsyncBaseTransport):
    """Carries httpx2's requests. An answer is read as a whole, so this is nothing for a watch."""

    def __init__(self, trusted: ssl.SSLContext) -> None:
        self._trusted = trusted
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The answer; raises httpx2's errors."""
        limits = request.extensions.get("timeout", {})
        timeout = aiohttp.ClientTimeout(sock_connect=limits.get("connect"), sock_read=limits.get("read"))
        headers = [(key, value) for key, value in request.headers.items() if key not in _ITS_OWN]
        url, body = URL(str(request.url), encoded=True), await request.aread()
        try:
            async with self._opened().request(
                request.method, url, headers=headers, data=body or None, allow_redirects=False, timeout=timeout
            ) as answer:
                content = await answer.read()
        except TimeoutError as error:
            raise httpx2.ReadTimeout(str(error), request=request) from error
        except aiohttp.ClientConnectorError as error:
            raise httpx2.ConnectError(str(error), request=request) from error
        except aiohttp.ClientError as error:
            raise httpx2.ReadError(str(error), request=request) from error
        response = httpx2.Response(answer.status, headers=answer.raw_headers, content=content, request=request)
        # lightkube asks for the type of an error's content, which somebody in between may not have said.
        response.headers.setdefault("Content-Type", "application/octet-stream")
        return response

    async def aclose(self) -> None:
        """Ends its connections."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        """Made when it is first needed, since it belongs to the running event loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._trusted, limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            )
        return self._session
