"""PyTorch's scaled_dot_product_attention: answers the questions that `host.mjs` answers, in lines of JSON."""
import json
import math
import os
import re
import sys
import time


class Peer:
    """What was opened and prepared."""


peer = Peer()


def answer_open(backend, threads, dtype, limit):
    """
    Loads PyTorch: for the backend webgpu on a GPU, if it finds one, else on the processor. `limit` is in bytes of memory.
    Answers with its version and the GPU's name as `label`, and the threads that it uses on the processor.
    """
    global torch
    try:
        import torch
    except ModuleNotFoundError as error:
        raise RuntimeError(
            f"{sys.executable} has no module '{error.name}': install PyTorch ({sys.executable} -m pip install torch), "
            "or name a Python that has it in SACCADE_PYTHON"
        )
    peer.on_gpu = backend == "webgpu" and torch.cuda.is_available()
    peer.device = torch.device("cuda" if peer.on_gpu else "cpu")
    peer.dtype = {"f64": torch.float64, "f32": torch.float32, "f16": torch.float16}[dtype]
    # Products in f32 as such: no TF32 on tensor cores.
    torch.set_float32_matmul_precision("highest")
    label = f"PyTorch {torch.__version__.split('+')[0]}"
    if peer.on_gpu:
        return {"label": f"{label} {dtype}, {torch.cuda.get_device_name(peer.device)}"}
    torch.set_num_threads(threads)
    limit_memory(limit)
    return {"threads": threads, "label": label if backend == "wasm" else f"{label} {dtype}, on the processor"}


def answer_prepare(inputs, n, h, d, left, right):
    """`inputs` is a safetensors file of q, k and v, each [n, h, d]; the mask is [left, right], -1 for unbounded."""
    peer.shape = (n, h, d)
    peer.memory_before = process_memory()
    tensors = read_tensors(inputs)
    rows = [tensors[name].unsqueeze(0).transpose(1, 2) for name in "qkv"]
    peer.qkv = [each.contiguous().to(peer.device, peer.dtype) for each in rows]
    if (left, right) == (-1, -1):
        peer.mask = {}
    elif (left, right) == (-1, 0):
        peer.mask = {"is_causal": True}
    else:
        peer.mask = {"attn_mask": band_mask(n, left, right)}


def band_mask(n, left, right):
    """bool [n, n]: keys within `left` before the query and `right` after it, -1 for unbounded."""
    place = torch.arange(n, device=peer.device)
    distance = place - place.view(n, 1)
    least, most = (-n if left == -1 else -left), (n if right == -1 else right)
    return (distance >= least) & (distance <= most)


def answer_run(calls):
    """Milliseconds of one call; when the clock is read, the last of those in a row has finished."""
    attention = torch.nn.functional.scaled_dot_product_attention
    with torch.inference_mode():
        finish()
        start = time.perf_counter()
        for _ in range(calls):
            peer.out = attention(*peer.qkv, **peer.mask)
        finish()
        return (time.perf_counter() - start) * 1000 / calls


def answer_result(path):
    """Into a file, [n, h, d] float32."""
    n, h, d = peer.shape
    rows = peer.out.transpose(1, 2).reshape(-1).to("cpu", torch.float32)
    torch.from_file(path, shared=True, size=n * h * d).copy_(rows)


def answer_memory():
    """Bytes that preparing and running added at most, of the GPU's if that computes; None if the system does not tell."""
    if peer.on_gpu:
        return torch.cuda.max_memory_allocated()
    before, now = peer.memory_before, process_memory()
    if not now:
        return None
    # The high-water mark counts only if it rose since then.
    return (now["VmHWM"] if now["VmHWM"] > before["VmHWM"] else now["VmRSS"]) - before["VmRSS"]


def read_tensors(path):
    """The tensors of a safetensors file, by name."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        numbers = bytearray(file.read())
    kinds = {"F32": torch.float32, "I32": torch.int32}
    return {
        name: torch.frombuffer(
            numbers, dtype=kinds[place["dtype"]], offset=place["data_offsets"][0], count=math.prod(place["shape"])
        ).view(place["shape"])
        for name, place in header.items()
    }


def finish():
    """Waits for a GPU."""
    if peer.on_gpu:
        torch.cuda.synchronize()


def process_memory():
    """Bytes that this process holds and has held at most, where the system tells."""
    try:
        with open("/proc/self/status") as status:
            return {name: int(size) * 1024 for name, size in re.findall(r"(Vm\w+):\s+(\d+) kB", status.read())}
    except FileNotFoundError:
        return {}


def limit_memory(limit):
    """Lets PyTorch fail before the machine suffers, where the system can."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    except (ImportError, ValueError, OSError):
        pass


def serve(answers):
    """Answers each question of the input by the function of that name."""
    # Whatever else is printed must not pass for an answer.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        asked = json.loads(line)
        reply = {"id": asked.pop("id")}
        try:
            reply["value"] = answers[asked.pop("question")](**asked)
        except Exception as error:
            reply["error"] = str(error) or type(error).__name__
        print(json.dumps(reply), file=replies, flush=True)


ANSWERS = {
    "open": answer_open,
    "prepare": answer_prepare,
    "run": answer_run,
    "result": answer_result,
    "memory": answer_memory,
}
if __name__ == "__main__":
    serve(ANSWERS)
