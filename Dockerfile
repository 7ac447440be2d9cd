# One image: `bellcrier run`, as a numeric user, with its data in /data and nothing else written.
# The base by its digest, which never changes: --build-arg BASE=python:3.11-slim@sha256:… (see docs/deploying.md).
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
WORKDIR /build
COPY deploy/image deploy/image
RUN python -m venv /opt/bellcrier && python -m venv /opt/build \
    && /opt/bellcrier/bin/pip install --no-cache-dir --require-hashes -r deploy/image/requirements.txt \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes -r deploy/image/build-requirements.txt
COPY . .
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation -w /wheel . \
    && /opt/bellcrier/bin/pip install --no-deps --no-index /wheel/*.whl \
    && /opt/bellcrier/bin/pip check \
    && /opt/bellcrier/bin/pip uninstall --yes pip setuptools

FROM ${BASE}
RUN mkdir /data && chown 10001:10001 /data
COPY --from=build /opt/bellcrier /opt/bellcrier
ENV PATH=/opt/bellcrier/bin:$PATH HOME=/data PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 BELLCRIER_HOST=0.0.0.0
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
# A stop may take 60 seconds: `docker run --stop-timeout 60`.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["bellcrier", "healthcheck"]
ENTRYPOINT ["bellcrier"]
CMD ["run"]
