"""NumPy and SciPy: kernel matrices and linear algebra. Answers what `pytorch.py` answers, of other problems."""
import json
import math
import os
import time

import pytorch
from pytorch import peer

LIBRARY = "NumPy and SciPy"


def answer_open(backend, threads, dtype, limit):
    """Loads them, with as many threads for products and factors."""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    global numpy, scipy
    try:
        import numpy
        import scipy.linalg
        import scipy.spatial
    except ModuleNotFoundError as error:
        raise RuntimeError(f"there is no module '{error.name}': install NumPy and SciPy, or name a Python that has them in SACCADE_PYTHON")
    pytorch.limit_memory(limit)
    return {"threads": threads, "label": f"NumPy {numpy.__version__}, SciPy {scipy.__version__}"}


def read_arrays(path):
    """The arrays of a safetensors file, by name."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = file.read()
    return {
        name: numpy.frombuffer(data, numpy.float32, math.prod(place["shape"]), place["data_offsets"][0]).reshape(place["shape"])
        for name, place in header.items()
    }


def prepare(inputs, dtype, calls):
    peer.memory_before = pytorch.process_memory()
    arrays = {name: numpy.array(each, {"f32": numpy.float32, "f64": numpy.float64}[dtype]) for name, each in read_arrays(inputs).items()}
    peer.call = lambda: calls(**arrays)


def answer_prepare(inputs, op, n, d, dtype):
    linalg = scipy.linalg

    def gaussian(x, y):
        squares = (x * x).sum(1)[:, None] + (y * y).sum(1) - 2 * (x @ y.T)
        return numpy.exp(squares * numpy.float32(-0.5 / d))

    def laplace(x, y):
        return numpy.exp(scipy.spatial.distance.cdist(x, y, "cityblock") / -d)

    prepare(inputs, dtype, {
        "product": lambda x, y: x @ y.T,
        "gaussian": gaussian,
        "gaussian-product": lambda x, y, v: gaussian(x, y) @ v,
        "laplace": laplace,
        "laplace-product": lambda x, y, v: laplace(x, y) @ v,
        "cholesky": lambda a: linalg.cholesky(a, lower=True, check_finite=False),
        "cholesky-f64": lambda a: linalg.cholesky(a, lower=True, check_finite=False),
        "solve": lambda a, b: linalg.solve(a, b, assume_a="pos", check_finite=False),
        "eigh": lambda a: linalg.eigh(a, driver="evd", check_finite=False),
    }[op])


def answer_run(calls):
    """Milliseconds of one call."""
    start = time.perf_counter()
    for _ in range(calls):
        peer.out = peer.call()
    return (time.perf_counter() - start) * 1000 / calls


def answer_result(path):
    """Into a file, row-major float32."""
    out = peer.out[0] if isinstance(peer.out, tuple) else peer.out
    numpy.ascontiguousarray(out, numpy.float32).tofile(path)


def answer_memory():
    """Bytes that preparing and running added at most; None if the system does not tell."""
    before, now = peer.memory_before, pytorch.process_memory()
    if not now:
        return None
    return (now["VmHWM"] if now["VmHWM"] > before["VmHWM"] else now["VmRSS"]) - before["VmRSS"]


ANSWERS = {
    "open": answer_open,
    "prepare": answer_prepare,
    "run": answer_run,
    "result": answer_result,
    "memory": answer_memory,
}

if __name__ == "__main__":
    pytorch.serve(ANSWERS)
