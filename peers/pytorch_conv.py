"""Convolutions by PyTorch: answers what `pytorch.py` answers, of pictures that are channels last outside."""
import time

import pytorch
from pytorch import peer


def answer_prepare(inputs, kernel, stride, groups, **_):
    """`inputs` is a safetensors file of x [1, rows, columns, c] and weight [o, c / groups, kernel, kernel]."""
    torch = pytorch.torch
    peer.memory_before = pytorch.process_memory()
    tensors = {name: each.to(torch.float32, copy=True) for name, each in pytorch.read_tensors(inputs).items()}
    x = tensors["x"].permute(0, 3, 1, 2).contiguous()
    weight = tensors["weight"]

    def call():
        peer.out = torch.nn.functional.conv2d(x, weight, None, stride, (kernel - 1) // 2, 1, groups)

    peer.call = call


def answer_run(calls):
    """Milliseconds of one call."""
    with pytorch.torch.inference_mode():
        start = time.perf_counter()
        for _ in range(calls):
            peer.call()
        return (time.perf_counter() - start) * 1000 / calls


def answer_result(path):
    """Into a file, channels last, float32."""
    torch = pytorch.torch
    out = peer.out.permute(0, 2, 3, 1).reshape(-1)
    torch.from_file(path, shared=True, size=out.numel()).copy_(out)


if __name__ == "__main__":
    own = {"prepare": answer_prepare, "run": answer_run, "result": answer_result}
    pytorch.serve({**pytorch.ANSWERS, **own})
