"""People who use the platform through its own doors: the provider's sign-in pages and the gateway."""

from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from urllib.parse import urljoin

import httpx


class SignInFailed(Exception):
    """The pages on the way were not as they should be; the text says which."""


class _Form(HTMLParser):
    """The fields of the page's form, as a browser would send them back."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self.action = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "form":
            self.action = attributes.get("action") or ""
        if tag == "input" and (name := attributes.get("name")):
            self.fields[name] = attributes.get("value") or ""


@contextmanager
def signed_in(
    page_url: str, name: str, password: str, transport: httpx.BaseTransport | None = None
) -> Iterator[httpx.Client]:
    """A client with the session of the person `name`, got by filling in the provider's two forms."""
    with httpx.Client(
        base_url=page_url, follow_redirects=True, timeout=30, headers={"Origin": page_url}, transport=transport
    ) as client:
        answer = client.get("/auth/sign-in", params={"return_to": "/"})
        answer = _fill_in(client, answer, login=name)
        answer = _fill_in(client, answer, password=password)
        if not str(answer.url).startswith(page_url):
            raise SignInFailed(f"sign-in of {name} ended at {answer.url}")
        client.get("/api/v1/viewer").raise_for_status()
        yield client


def _fill_in(client: httpx.Client, answer: httpx.Response, **values: str) -> httpx.Response:
    form = _Form(answer.text)
    if missing := values.keys() - form.fields.keys():
        raise SignInFailed(f"{answer.url} has no field {', '.join(missing)}")
    target = urljoin(str(answer.url), form.action) if form.action else str(answer.url)
    return client.post(target, data={**form.fields, **values}, headers={"Referer": str(answer.url)})
