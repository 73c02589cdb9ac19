"""scikit-learn: kernel matrices by `metrics.pairwise`, and their products."""
import pytorch
import scipy_kernels


def answer_open(**setting):
    opened = scipy_kernels.answer_open(**setting)
    global sklearn
    try:
        import sklearn.metrics.pairwise
    except ModuleNotFoundError:
        raise RuntimeError("there is no module 'sklearn': install scikit-learn, or name a Python that has it in SACCADE_PYTHON")
    return {**opened, "label": f"scikit-learn {sklearn.__version__}"}


def answer_prepare(inputs, op, n, d, dtype):
    pairwise = sklearn.metrics.pairwise
    kernels = {
        "gaussian": lambda x, y: pairwise.rbf_kernel(x, y, gamma=0.5 / d),
        "laplace": lambda x, y: pairwise.laplacian_kernel(x, y, gamma=1 / d),
    }
    kernel = kernels[op.removesuffix("-product")]
    scipy_kernels.prepare(inputs, dtype, lambda x, y, v=None: kernel(x, y) if v is None else kernel(x, y) @ v)


if __name__ == "__main__":
    pytorch.serve({**scipy_kernels.ANSWERS, "open": answer_open, "prepare": answer_prepare})
