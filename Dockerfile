# One image for coordinator and sites: code and dependencies, no data, no secrets.

# In a network with a proxy or its own certificates, give an image derived from python:3.11-slim with settings for pip.
# Only the packages that it installs are copied into the final image.
ARG BUILD_IMAGE=python:3.11-slim

# This stage is separate, so that packages are installed again only when their list has changed.
FROM ${BUILD_IMAGE} AS requirements
COPY pyproject.toml /
# Ray, which only the simulation needs, is excluded: in containers every site is a process.
RUN python -c 'import tomllib; project = tomllib.load(open("/pyproject.toml", "rb"))["project"]; \
      print(*project["dependencies"], sep="\n")' | sed 's/\[simulation\]//' > /requirements.txt

FROM ${BUILD_IMAGE} AS packages
# Package index for torch in addition to PyPI. If empty, torch is PyPI's, which is for CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN python -m venv /opt/packager && python -m venv --without-pip /opt/condi
COPY --from=requirements /requirements.txt /opt/
RUN /opt/packager/bin/pip --python /opt/condi/bin/python install --no-cache-dir \
      ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -r /opt/requirements.txt \
 && cd /opt/condi/lib/python3.11/site-packages/torch && rm -rf include test
# The project is copied as an app, so that `condi submit` can send it from a container.
WORKDIR /opt/condi/app
COPY pyproject.toml README.md LICENSE ./
COPY condi_core condi_core
COPY data_partitions data_partitions
COPY client_app client_app
COPY server_app server_app
RUN /opt/packager/bin/pip --python /opt/condi/bin/python install --no-cache-dir --no-deps -e .

FROM python:3.11-slim
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
