# Playspot on a Jetson with JetPack 7.2 (Ubuntu 24.04, Python 3.12, CUDA 13.2, TensorRT 10.16).
#   docker build -f docker/jetson.Dockerfile -t playspot:jetson .
#   docker run --rm --runtime nvidia --network host playspot:jetson doctor --gpu --out /state/doctor
# L4T is the release of Jetson Linux on the device (`cat /etc/nv_tegra_release`).
ARG L4T=r39.2

FROM ubuntu:24.04
ARG L4T
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl gnupg \
    && curl -fsSL https://repo.download.nvidia.com/jetson/jetson-ota-public.asc \
        | gpg --dearmor -o /usr/share/keyrings/jetson.gpg \
    && echo "deb [signed-by=/usr/share/keyrings/jetson.gpg] https://repo.download.nvidia.com/jetson/common ${L4T} main" \
        > /etc/apt/sources.list.d/jetson.list \
    && apt-get update \
    && apt-get install -y --no-install-recommends \
        cuda-toolkit g++ python3-dev python3-libnvinfer python3-venv tensorrt \
    && rm -rf /var/lib/apt/lists/*

# TensorRT's Python bindings are JetPack's own, so the environment sees the system's packages.
RUN python3 -m venv --system-site-packages /opt/playspot
ENV PATH=/opt/playspot/bin:/usr/local/cuda/bin:$PATH \
    CUDA_ROOT=/usr/local/cuda \
    LD_LIBRARY_PATH=/usr/local/cuda/lib64
COPY . /tmp/playspot
RUN LIBRARY_PATH=/usr/local/cuda/lib64/stubs pip install --no-cache-dir pycuda \
    && pip install --no-cache-dir '/tmp/playspot[web,mqtt]' \
    && rm -rf /tmp/playspot

RUN useradd --create-home --groups video playspot
RUN install -d -o playspot /state /data
USER playspot
ENV XDG_CACHE_HOME=/state/cache XDG_STATE_HOME=/state
VOLUME /state
WORKDIR /data
ENTRYPOINT ["playspot"]
CMD ["doctor"]
