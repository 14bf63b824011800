# Playspot with TensorRT and CUDA on a PC or a server (amd64); docs/gpu.md says what the host needs.
#   docker build -f docker/gpu.Dockerfile -t playspot:gpu .
#   docker run --rm --gpus all --network host playspot:gpu doctor --gpu --out /state/doctor
ARG CUDA=13.0.1

# PyCUDA comes as source: it is built where the CUDA headers are, and they stay behind.
FROM nvidia/cuda:${CUDA}-devel-ubuntu24.04 AS wheels
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ python3-dev python3-pip \
    && rm -rf /var/lib/apt/lists/*
ENV CUDA_ROOT=/usr/local/cuda LIBRARY_PATH=/usr/local/cuda/lib64/stubs
RUN pip wheel --no-deps --wheel-dir /wheels pycuda

FROM nvidia/cuda:${CUDA}-runtime-ubuntu24.04
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/playspot
ENV PATH=/opt/playspot/bin:$PATH
COPY --from=wheels /wheels /tmp/wheels
COPY . /tmp/playspot
# onnxruntime and onnxruntime-gpu share one folder; the one that is wanted goes in last.
RUN pip install --no-cache-dir --find-links /tmp/wheels '/tmp/playspot[gpu,web,mqtt]' \
    && pip uninstall --yes onnxruntime \
    && pip install --no-cache-dir --force-reinstall --no-deps onnxruntime-gpu \
    && rm -rf /tmp/wheels /tmp/playspot

RUN useradd --create-home --groups video playspot
RUN install -d -o playspot /state /data
USER playspot
ENV XDG_CACHE_HOME=/state/cache XDG_STATE_HOME=/state
VOLUME /state
WORKDIR /data
ENTRYPOINT ["playspot"]
CMD ["doctor"]
