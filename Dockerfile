# One image for coordinator and sites: code and dependencies, no data, no secrets.

# A network with a proxy or certificates of its own: an image derived from python:3.11-slim with its pip settings.
# Of it only the installed packages go on.
ARG BUILD_IMAGE=python:3.11-slim

# Alone, so that packages are installed anew only when the list has changed.
FROM ${BUILD_IMAGE} AS requirements
COPY pyproject.toml /
# Ray, of the simulation, is left out: here every site is a process of its own.
RUN python -c 'import tomllib; project = tomllib.load(open("/pyproject.toml", "rb"))["project"]; \
      print(*project["dependencies"], sep="\n")' | sed 's/\[simulation\]//' > /requirements.txt

FROM ${BUILD_IMAGE} AS packages
# Where torch comes from beside PyPI. Empty: PyPI's own, which is for CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN python -m venv /opt/packager && python -m venv --without-pip /opt/condi
COPY --from=requirements /requirements.txt /opt/
RUN /opt/packager/bin/pip --python /opt/condi/bin/python install --no-cache-dir \
      ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -r /opt/requirements.txt \
 && cd /opt/condi/lib/python3.11/site-packages/torch && rm -rf include test
# The code is kept as the app that it is, so that it can be submitted from here.
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
