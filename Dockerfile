# One image for coordinator and sites: code and dependencies, no data, no secrets.

# To fix the base image to its bytes, give it with its digest: python:3.11-slim@sha256:...
ARG BASE_IMAGE=python:3.11-slim
# In a network with a proxy or its own certificates, give an image derived from BASE_IMAGE with settings for pip.
# Only the packages that it installs are copied into the final image.
ARG BUILD_IMAGE=${BASE_IMAGE}

FROM ${BUILD_IMAGE} AS packages
# The only package index that torch is taken from. If empty, torch is PyPI's, which is for CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN python -m venv /opt/packager && python -m venv --without-pip /opt/condi
ENV PIP="/opt/packager/bin/pip --python /opt/condi/bin/python" \
    INSTALL="install --no-cache-dir --no-deps --require-hashes"
# Packages are installed before the project is copied, so that they are installed again only when their lists change.
COPY requirements /opt/requirements
WORKDIR /opt/requirements
RUN $PIP $INSTALL -r image.txt
RUN packages=/opt/condi/lib/python3.11/site-packages \
 && $PIP $INSTALL ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} -r torch.txt \
 && if grep -q "^Requires-Dist: nvidia-" $packages/torch-*.dist-info/METADATA; then $PIP $INSTALL -r cuda.txt; fi \
 && $PIP check && rm -rf $packages/torch/include $packages/torch/test
# The project is copied as an app, so that `condi submit` can send it from a container.
WORKDIR /opt/condi/app
COPY pyproject.toml README.md LICENSE ./
COPY condi_core condi_core
COPY data_partitions data_partitions
COPY client_app client_app
COPY server_app server_app
RUN $PIP install --no-cache-dir --no-index --no-deps --no-build-isolation -e .

FROM ${BASE_IMAGE}
COPY --from=packages /opt/condi /opt/condi
ENV PATH=/opt/condi/bin:$PATH \
    HOME=/tmp \
    FLWR_HOME=/tmp/flwr \
    FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION=1 \
    FLWR_DISABLE_UPDATE_CHECK=1 \
    FLWR_TELEMETRY_ENABLED=0 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /tmp
USER 1000:1000
CMD ["condi", "--help"]
