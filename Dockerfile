# One image for every role: `docker run millrace ledger` is `python -m ledger`; the command is `millrace`.
FROM python:3.13-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
# The dependencies first: these layers change only when a lock does.
COPY requirements.lock requirements.runtime.lock ./
RUN python -m venv /opt/build && /opt/build/bin/pip install --require-hashes --no-deps -r requirements.lock
RUN python -m venv /opt/millrace \
    && /opt/millrace/bin/pip install --require-hashes --no-deps -r requirements.runtime.lock
COPY pyproject.toml README.md LICENSE ./
COPY libs ./libs
COPY services ./services
COPY lab ./lab
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation -w /wheels ./libs/millrace . \
    && /opt/millrace/bin/pip install --no-deps --no-index /wheels/*.whl \
    && /opt/millrace/bin/python -m compileall -q /opt/millrace

FROM python:3.13-slim
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin millrace
COPY --from=build /opt/millrace /opt/millrace
# Which fields are personal: with the code that seals them, so that no release runs by another's rules.
COPY schemas/sealing.yaml /opt/millrace/sealing.yaml
# The root file system may be read-only: nothing is written but to /tmp.
ENV PATH=/opt/millrace/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    MILLRACE_SEALING=/opt/millrace/sealing.yaml
WORKDIR /tmp
USER 10001:10001
ENTRYPOINT ["python", "-m"]
