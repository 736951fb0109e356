# One image for a processor and for a GPU: the torch that constraints.txt pins carries CUDA on Linux x86-64, and runs
# without a GPU, too. (A torch without CUDA does not load beside the torchaudio that is pinned.) The host needs a driver
# and, for Docker, the NVIDIA container toolkit; nothing of CUDA need be installed in the image.
#
#     docker build --tag fairlib .
#     docker run --rm --gpus all --volume /path/to/storage:/storage fairlib fairlib reproduce full-size --dry-run
#
# On a cluster: cluster/README.md. Other builds: --build-arg PYTHON=3.13 --build-arg EXTRAS=book,cluster,test
ARG PYTHON=3.11
FROM python:${PYTHON}-slim

# Git says in a report which commit it was made by; fonts are for charts as pictures.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git fonts-dejavu-core \
    && rm -rf /var/lib/apt/lists/* \
    && git config --system --add safe.directory /fairlib

ARG EXTRAS=book,cluster
WORKDIR /fairlib
COPY . .
RUN pip install --no-cache-dir -c constraints.txt -e ".[${EXTRAS}]" && python -m compileall -q fairlib

# Everything that is read or written lies under one folder, so that the image itself may be read-only.
ENV HOME=/storage \
    FAIRLIB_DATA=/storage/corpora \
    FAIRLIB_RUNS=/storage/runs \
    FAIRLIB_STORE=/storage/outcomes \
    FAIRLIB_CACHE=/storage/cache \
    HF_HOME=/storage/models
RUN mkdir --mode=1777 /storage
VOLUME /storage
USER 1000
CMD ["fairlib", "--help"]
