# The service: web page and HTTP API, with workers of its own or on Ray, in one image; see compose.yaml.
#   docker build -t magicanimate .                                                             for the CPU
#   docker build -t magicanimate:cuda --build-arg TORCH_INDEX=https://pypi.org/simple .    for NVIDIA
# The package index has torch for CUDA, with the CUDA libraries; the host needs a driver and the NVIDIA container toolkit.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=/src/constraints.txt
WORKDIR /src
RUN python -m venv /opt/magicanimate
ENV PATH=/opt/magicanimate/bin:$PATH
COPY constraints.txt ./
# torch first and from its own index, so that the package index's CUDA build is never fetched for the CPU.
RUN pip install --index-url "$TORCH_INDEX" "$(grep '^torch==' constraints.txt)"
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY src ./src
RUN pip install ".[serve,scale]"

FROM python:${PYTHON}-slim-bookworm
RUN useradd --create-home --uid 10001 magicanimate \
    && install -d -o magicanimate -g magicanimate /data /models
COPY --from=build /opt/magicanimate /opt/magicanimate
ENV PATH=/opt/magicanimate/bin:$PATH \
    MAGICANIMATE_DATA=/data \
    MAGICANIMATE_HOME=/models \
    GRADIO_ANALYTICS_ENABLED=False \
    RAY_USAGE_STATS_ENABLED=0 \
    PYTHONUNBUFFERED=1
USER magicanimate
VOLUME ["/data", "/models"]
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/api/v1/health', timeout=4)"]
# A token is needed, since others can reach the address: docker run -e MAGICANIMATE_TOKEN=...
CMD ["magicanimate", "serve", "--host", "0.0.0.0"]
