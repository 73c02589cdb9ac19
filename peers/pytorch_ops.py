"""Ops of matrices by PyTorch, into a result that is there: answers what `pytorch.py` answers, of other problems."""
import time

import pytorch
from pytorch import peer


def answer_prepare(inputs, op, n, d):
    """`inputs` is a safetensors file of x [n, d] and, of some ops, y."""
    torch = pytorch.torch
    peer.memory_before = pytorch.process_memory()
    # Copies, since the file's bytes are not aligned as kernels like it.
    tensors = {name: each.to(torch.float32, copy=True) for name, each in pytorch.read_tensors(inputs).items()}
    x, y = tensors["x"], tensors.get("y")
    if op == "f16-f32":
        x = x.half()
    results = {
        "f32-f16": lambda: torch.empty(n, d, dtype=torch.float16),
        "f32-bf16": lambda: torch.empty(n, d, dtype=torch.bfloat16),
        "row-sums": lambda: torch.empty(n),
        "row-maxima": lambda: torch.empty(n),
        "sum-all": lambda: torch.empty(()),
        "transpose": lambda: torch.empty(d, n),
    }
    out = peer.out = results.get(op, lambda: torch.empty(n, d))()
    ops = torch.ops.aten
    mean, deviation = torch.empty(n, 1), torch.empty(n, 1)
    peer.call = {
        "f32-f16": lambda: out.copy_(x),
        "f32-bf16": lambda: out.copy_(x),
        "f16-f32": lambda: out.copy_(x),
        "row-sums": lambda: torch.sum(x, 1, out=out),
        "row-maxima": lambda: torch.amax(x, 1, out=out),
        "sum-all": lambda: ops.sum.IntList_out(x, None, out=out),
        "transpose": lambda: out.copy_(x.T),
        "add": lambda: torch.add(x, y, out=out),
        "gelu": lambda: ops.gelu.out(x, out=out),
        "softmax-rows": lambda: torch.softmax(x, 1, out=out),
        "layer-norm-rows": lambda: ops.native_layer_norm.out(
            x, (d,), None, None, 1e-5, out0=out, out1=mean, out2=deviation
        ),
        "product": lambda: torch.mm(x, y, out=out),
    }[op]


def answer_run(calls):
    """Milliseconds of one call."""
    with pytorch.torch.inference_mode():
        start = time.perf_counter()
        for _ in range(calls):
            peer.call()
        return (time.perf_counter() - start) * 1000 / calls


def answer_result(path):
    """Into a file, row-major float32."""
    torch = pytorch.torch
    out = peer.out.reshape(-1).to(torch.float32)
    torch.from_file(path, shared=True, size=out.numel()).copy_(out)


if __name__ == "__main__":
    own = {"prepare": answer_prepare, "run": answer_run, "result": answer_result}
    pytorch.serve({**pytorch.ANSWERS, **own})
