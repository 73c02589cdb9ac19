"""PyTorch's scaled_dot_product_attention under any mask, and its gradients: answers what `pytorch.py` answers."""
import time

import pytorch
from pytorch import peer


def answer_prepare(inputs, n, h, g, d, left, right, **settings):
    """
    `inputs` is a safetensors file of q [n, h, d], k and v [n, g, d], of the gradients' pass gradOut, and of masks that are
    no band offsets and runs, as mask.mjs has them.
    """
    torch = pytorch.torch
    peer.memory_before = pytorch.process_memory()
    tensors = pytorch.read_tensors(inputs)
    # Copies, since the file's bytes are not aligned as kernels like it.
    rows = {
        name: tensors[name].unsqueeze(0).transpose(1, 2).contiguous().to(peer.device, peer.dtype)
        for name in ("q", "k", "v", "gradOut")
        if name in tensors
    }
    peer.backward = settings["pass"] == "backward"
    peer.qkv = [rows[name].requires_grad_(peer.backward) for name in "qkv"]
    peer.options = {"enable_gqa": True} if g < h else {}
    if (left, right) == (-1, 0):
        peer.options["is_causal"] = True
    elif "offsets" in tensors:
        peer.options["attn_mask"] = dense_mask(tensors["offsets"].tolist(), tensors["runs"].tolist(), n, h).to(peer.device)
    elif (left, right) != (-1, -1):
        peer.options["attn_mask"] = pytorch.band_mask(n, left, right)
    if peer.backward:
        peer.grad_out = rows["gradOut"]
        peer.forward = attend()


def dense_mask(offsets, runs, n, h):
    """bool [heads, n, n], a mask for each query head if they differ."""
    torch = pytorch.torch
    heads = (len(offsets) - 1) // n
    mask = torch.zeros(heads, n, n, dtype=torch.bool)
    rows = mask.view(heads * n, n)
    for row in range(heads * n):
        for at in range(offsets[row], offsets[row + 1]):
            rows[row, runs[2 * at] : runs[2 * at + 1]] = True
    return mask if heads == 1 else mask.repeat_interleave(h // heads, 0)


def attend():
    return pytorch.torch.nn.functional.scaled_dot_product_attention(*peer.qkv, **peer.options)


def answer_run(calls):
    """Milliseconds of one call; of the gradients' pass without the forward one before it."""
    torch = pytorch.torch
    pytorch.finish()
    start = time.perf_counter()
    for _ in range(calls):
        if peer.backward:
            peer.out = torch.autograd.grad(peer.forward, peer.qkv, peer.grad_out, retain_graph=True)
        else:
            with torch.inference_mode():
                peer.out = (attend(),)
    pytorch.finish()
    return (time.perf_counter() - start) * 1000 / calls


def answer_result(path):
    """Into a file, one result after the other, each [n, heads, d] float32."""
    torch = pytorch.torch
    flat = torch.cat([each.detach().transpose(1, 2).reshape(-1) for each in peer.out]).to("cpu", torch.float32)
    torch.from_file(path, shared=True, size=flat.numel()).copy_(flat)


if __name__ == "__main__":
    own = {"prepare": answer_prepare, "run": answer_run, "result": answer_result}
    pytorch.serve({**pytorch.ANSWERS, **own})
