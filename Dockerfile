# One image for every part: `shadowdrift proxy`, `exporter`, `topics`, … and the demo's models and traffic.
#
#   docker build -t shadowdrift .
#   docker run --read-only --tmpfs /tmp --cap-drop ALL -v ./shadowdrift.yaml:/etc/shadowdrift/shadowdrift.yaml:ro shadowdrift

FROM python:3.13-slim AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PYTHONDONTWRITEBYTECODE=1
RUN python -m venv /opt/shadowdrift
ENV PATH=/opt/shadowdrift/bin:$PATH PIP_CACHE_DIR=/var/cache/pip
WORKDIR /build
# As `make venv`: packages without a wheel are built with the lock's own setuptools, so nothing comes in without a hash.
COPY requirements.lock .
RUN --mount=type=cache,target=/var/cache/pip \
    awk '/^[^ ]/ { wanted = /^setuptools==/ } wanted' requirements.lock > setuptools.lock \
 && pip install --require-hashes -r setuptools.lock \
 && pip install --require-hashes --no-build-isolation --no-compile -r requirements.lock
COPY . .
RUN pip install --no-deps --no-build-isolation --no-compile . \
 && python stack/keep.py

FROM python:3.13-slim
LABEL org.opencontainers.image.title="shadowdrift" org.opencontainers.image.licenses="Apache-2.0"
# Volumes that are mounted here for the first time take over the directories' owner.
RUN mkdir -p /state/active /state/nginx /state/rollback /references /training /etc/shadowdrift \
 && chown -R 10001:10001 /state /references /training
COPY --from=packages /opt/shadowdrift /opt/shadowdrift
RUN python -m compileall -q -j 2 /opt/shadowdrift/lib || true
ENV PATH=/opt/shadowdrift/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp \
    HEALTH_URL=http://127.0.0.1:9101/-/ready
WORKDIR /etc/shadowdrift
USER 10001:10001
EXPOSE 8080 9101 9108 9109
STOPSIGNAL SIGTERM
# Each part names its own address in HEALTH_URL.
HEALTHCHECK --interval=5s --timeout=3s --start-period=120s --retries=3 CMD ["python", "-SEc", \
    "import os, urllib.request as r; r.urlopen(os.environ['HEALTH_URL'], timeout=2)"]
ENTRYPOINT ["shadowdrift"]
CMD ["proxy"]
