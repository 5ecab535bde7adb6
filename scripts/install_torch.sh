#!/usr/bin/env bash
# Install the one torch that this machine needs: the CPU build where there is no NVIDIA GPU.
# Usage: install_torch.sh PYTHON VERSION CPU_INDEX
set -u
python=$1 version=$2 cpu_index=$3

has_nvidia_gpu() {
    [ -e "${NVIDIA_DRIVER_FOLDER:-/proc/driver/nvidia}" ] && return 0
    command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1
}

install() { echo "pip install $*"; "$python" -m pip install -qq "$@"; }

if has_nvidia_gpu; then
    echo "An NVIDIA GPU: installing torch $version with its CUDA libraries, several GB, some minutes"
    install "torch==$version"
    exit
fi

# --no-deps: torch's few pure Python dependencies come with the package afterwards, from the usual index, at
# our pins. The first try serves machines whose pip is already set up with a folder or index of CPU wheels.
echo "No NVIDIA GPU: installing the CPU build of torch $version, about 190 MB to fetch and 0.75 GB on disk, a minute"
install --no-deps "torch==$version+cpu" 2>/dev/null && exit
install --no-deps --retries 2 --timeout 30 --index-url "$cpu_index" "torch==$version+cpu" 2>/dev/null && exit
echo "No CPU build of torch $version for this Python in pip's indexes or at $cpu_index: taking the plain build,"
echo "which may bring CUDA libraries: several GB, some minutes"
install "torch==$version"
