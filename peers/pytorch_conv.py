"""Convolutions and their gradients by PyTorch: answers what `pytorch.py` answers, of pictures that are channels last outside."""
import time

import pytorch
from pytorch import peer


def answer_prepare(inputs, part, rows, columns, channels, outputs, kernel, stride, groups, **_):
    """`inputs` is a safetensors file of two of x [1, rows, columns, c], weight [o, c / groups, kernel, kernel] and gradOut."""
    torch = pytorch.torch
    peer.memory_before = pytorch.process_memory()
    tensors = {name: each.to(torch.float32, copy=True) for name, each in pytorch.read_tensors(inputs).items()}
    pictures = {name: tensors[name].permute(0, 3, 1, 2).contiguous() for name in ("x", "gradOut") if name in tensors}
    x, grad_out, weight = pictures.get("x"), pictures.get("gradOut"), tensors.get("weight")
    where = (stride, (kernel - 1) // 2, 1, groups)

    def call():
        if part == "out":
            peer.out = torch.nn.functional.conv2d(x, weight, None, *where)
        elif part == "x":
            peer.out = torch.nn.grad.conv2d_input((1, channels, rows, columns), weight, grad_out, *where)
        else:
            shape = (outputs, channels // groups, kernel, kernel)
            peer.out = torch.nn.grad.conv2d_weight(x, shape, grad_out, *where)

    peer.call = call
    peer.is_picture = part != "weight"


def answer_run(calls):
    """Milliseconds of one call."""
    with pytorch.torch.inference_mode():
        start = time.perf_counter()
        for _ in range(calls):
            peer.call()
        return (time.perf_counter() - start) * 1000 / calls


def answer_result(path):
    """Into a file, pictures channels last, float32."""
    torch = pytorch.torch
    out = (peer.out.permute(0, 2, 3, 1) if peer.is_picture else peer.out).reshape(-1)
    torch.from_file(path, shared=True, size=out.numel()).copy_(out)


if __name__ == "__main__":
    own = {"prepare": answer_prepare, "run": answer_run, "result": answer_result}
    pytorch.serve({**pytorch.ANSWERS, **own})
