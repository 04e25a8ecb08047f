#!/usr/bin/env bash
# Everything that needs a GPU, within nine minutes, on a machine whose Python already has torch.
#
#   bench/gpu_suite.sh OUT [WHEELS]
#
# Tests, kernels, all schemes eager and graphed, a short check, and claims; each step's log and record land under
# OUT, and OUT/summary.txt says how each ended. WHEELS is a folder with what that Python lacks.
# Exit code: 0 if every step ended well, else 1. A rehearsal without a GPU:
# DEVICE=cpu MODEL=tiny LMM_MODEL=mrt1-tiny,mrt2-tiny bench/gpu_suite.sh OUT
set -u
out=${1:?"usage: bench/gpu_suite.sh OUT [WHEELS]"}
wheels=${2:-}
device=${DEVICE:-cuda}
model=${MODEL:-sao-small}
lmm=${LMM_MODEL:-mrt1-large,mrt2-small}
python=${PYTHON:-python3}
cd "$(dirname "$0")/.."
mkdir -p "$out"
out=$(cd "$out" && pwd)
# Seconds for all of it; a step that would start later is left out, and the summary says so.
total=540
began=$SECONDS
failed=0
: >"$out/summary.txt"

if [ -n "$wheels" ]; then
    "$python" -m pip install --quiet --no-index --no-deps "$wheels"/*.whl || exit 1
fi
export PYTHONPATH="$PWD:$PWD/kernels:$PWD/bench:$PWD/tests${PYTHONPATH:+:$PYTHONPATH}"
# Kernels must never run in the interpreter here, whatever the caller's environment says.
[ "$device" = cpu ] || unset TRITON_INTERPRET
bench() { "$python" -c 'from lmdm_bench.cli import main; main()' "$@"; }

# step NAME SECONDS COMMAND…: at most so many seconds, and no longer than what is left of all.
step() {
    local name=$1 seconds=$2 start=$SECONDS code=0
    shift 2
    local left=$((total - (start - began)))
    if [ "$left" -lt 15 ]; then
        printf '%-28s left out: no time\n' "$name" | tee -a "$out/summary.txt"
        failed=1
        return
    fi
    [ "$seconds" -lt "$left" ] || seconds=$left
    export -f bench
    export python
    timeout --signal=INT --kill-after=10 "$seconds" bash -c '"$@"' step "$@" \
        >"$out/$name.log" 2>&1 || code=$?
    [ "$code" -eq 0 ] || failed=1
    printf '%-28s exit %3d after %3d s\n' "$name" "$code" $((SECONDS - start)) |
        tee -a "$out/summary.txt"
}

marker=gpu
[ "$device" = cpu ] && marker="not gpu and not parity"
step doctor 30 bench doctor
step tests 150 "$python" -m pytest -q -rs -m "$marker" -p no:cacheprovider \
    tests/lmdm_kernels tests/lmdm_bench/test_graphs.py
step kernels 150 bench kernels --device "$device" --window 192+48,768+256 --model sao-small \
    --batch 1 --budget-minutes 2 --out "$out/kernels"
all=outpaint,encoder-decoder,block-causal
attention=triton
graph=--graph
[ "$device" = cpu ] && attention=range graph=
step eager-range 40 bench run --scheme "$all" --model "$model" --device "$device" \
    --out "$out/eager-range"
step eager-kernels 40 bench run --scheme "$all" --model "$model" --device "$device" \
    --attention "$attention" --out "$out/eager-kernels"
# shellcheck disable=SC2086
step graphed-kernels 60 bench run --scheme "$all,lmm-encoder-decoder,lmm-frame-wise" \
    --model "$model" --lmm-model "$lmm" --device "$device" --attention "$attention" $graph \
    --out "$out/graphed-kernels"
# Whatever the verdict is, it is an answer: what counts is that there is a record of it.
# shellcheck disable=SC2016,SC2086
step check 60 bash -c 'bench check block-causal "$@"; test -s "${!#}/check.json"' check \
    --model "$model" --device "$device" --attention "$attention" $graph --minutes 0.4 \
    --out "$out/check"
# shellcheck disable=SC2086
step claims 120 bench claims --model "$model" --lmm-model "$lmm" --device "$device" \
    --attention "$attention" $graph --budget-minutes 1.5 --out "$out/claims"
exit $failed
