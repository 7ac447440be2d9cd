# One image: `bellcrier run`, as a user of its own, with its data in /data.
FROM python:3.11-slim AS build
WORKDIR /build
COPY . .
RUN python -m venv /opt/bellcrier && /opt/bellcrier/bin/pip install --no-cache-dir -c constraints.txt '.[postgres]'

FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /data bellcrier && mkdir /data && chown bellcrier /data
COPY --from=build /opt/bellcrier /opt/bellcrier
ENV PATH=/opt/bellcrier/bin:$PATH PYTHONUNBUFFERED=1 BELLCRIER_HOST=0.0.0.0
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["bellcrier", "healthcheck"]
ENTRYPOINT ["bellcrier"]
CMD ["run"]
