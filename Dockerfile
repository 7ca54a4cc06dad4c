# The app on a machine of your own: docs/docker.md. A Hugging Face Space makes its image from the card in README.md instead.
ARG PYTHON=3.12
FROM python:${PYTHON}-slim-bookworm AS packages
# An index that has torch's CPU wheels, as PyTorch's install page names it: 3.4 GB less. Empty: wheels with CUDA.
ARG TORCH_INDEX=""
# requirements-scale.txt: with Ray, for REPLICAS=ray://…
ARG REQUIREMENTS=requirements.txt
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH
WORKDIR /requirements
COPY requirements.txt requirements-scale.txt ./
RUN if [ -n "$TORCH_INDEX" ]; then \
        grep -E '^torch(vision)?==' requirements.txt > torch.txt && \
        pip install --no-cache-dir --index-url "$TORCH_INDEX" -r torch.txt; \
    fi && \
    pip install --no-cache-dir -r "$REQUIREMENTS"

FROM python:${PYTHON}-slim-bookworm
WORKDIR /app
COPY packages.txt ./
# Debian's stable keeps one version of each package: a pin would break with its next fix. tini reaps what child processes leave.
# hadolint ignore=DL3008
RUN apt-get update && \
    xargs -a packages.txt apt-get install -y --no-install-recommends tini && \
    rm -rf /var/lib/apt/lists/*
COPY --from=packages /venv /venv
RUN useradd --uid 1000 --create-home app && mkdir /data && chown app:app /data
COPY app.py LICENSE README.md ./
COPY models models
COPY lib lib
COPY web web
COPY spaces spaces
# the root file system may be read-only later
RUN python -m compileall -q .

# What is deployed, as GET /healthz tells it: --build-arg REVISION="$(git rev-parse HEAD)"
ARG REVISION=""
# HOME: libraries' caches lie on the volume, too
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/data \
    HF_HOME=/data/hf \
    DATA_FOLDER=/data/workbench \
    GRADIO_SERVER_NAME=0.0.0.0 \
    GRADIO_SERVER_PORT=7860 \
    REVISION=$REVISION
USER 1000
VOLUME /data
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as web; web.urlopen(f'http://127.0.0.1:{os.environ[\"GRADIO_SERVER_PORT\"]}/readyz', timeout=8)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["tini", "--"]
CMD ["python", "app.py"]
