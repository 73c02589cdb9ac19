"""PyTorch's linear of rows and weights, several matrices in turn: answers the questions that `host.mjs` answers."""
import time

import pytorch
from pytorch import peer, read_tensors


def answer_prepare(inputs, n, d, copies, type, columns):
    """`inputs` is a safetensors file of x [n, d] and weights, whose rows are repeated up to the columns."""
    torch = pytorch.torch
    peer.memory_before = pytorch.process_memory()
    tensors = read_tensors(inputs)
    peer.dtype = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}[type]
    peer.x = tensors["x"].to(peer.dtype)
    first = tensors["weights"]
    whole = first.repeat(-(-columns // len(first)), 1)[:columns].to(peer.dtype)
    peer.weights = [whole.clone() for _ in range(copies)]
    peer.calls = 0


def answer_run(calls):
    """Milliseconds of one call."""
    torch = pytorch.torch
    with torch.inference_mode():
        start = time.perf_counter()
        for _ in range(calls):
            peer.out = torch.nn.functional.linear(peer.x, peer.weights[peer.calls % len(peer.weights)])
            peer.calls += 1
        return (time.perf_counter() - start) * 1000 / calls


def answer_result(path):
    """Into a file, [n, columns] float32."""
    torch = pytorch.torch
    rows = peer.out.reshape(-1).to(torch.float32)
    torch.from_file(path, shared=True, size=rows.numel()).copy_(rows)


pytorch.serve({**pytorch.ANSWERS, "prepare": answer_prepare, "run": answer_run, "result": answer_result})
