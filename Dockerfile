# One image for every role: `docker run millrace ledger` is `python -m ledger`; the command is `millrace`.
FROM python:3.13-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/millrace
ENV PATH=/opt/millrace/bin:$PATH
WORKDIR /src
# The dependencies first: this layer changes only when the lock does.
COPY requirements.lock ./
RUN pip install --require-hashes --no-deps -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY libs ./libs
COPY services ./services
COPY lab ./lab
RUN pip install --no-deps --no-build-isolation ./libs/millrace . \
    && python -m compileall -q /opt/millrace

FROM python:3.13-slim
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin millrace
COPY --from=build /opt/millrace /opt/millrace
# The root file system may be read-only: nothing is written but to /tmp.
ENV PATH=/opt/millrace/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /tmp
USER 10001:10001
ENTRYPOINT ["python", "-m"]
