"""VAN and DeiT by PyTorch, of weights by the names of their checkpoints: answers what `pytorch.py` answers."""
import time

import pytorch
from pytorch import peer


def answer_prepare(inputs, network, **_):
    """`inputs` is a safetensors file of x [1, 3, rows, columns] and the weights."""
    torch = pytorch.torch
    peer.memory_before = pytorch.process_memory()
    tensors = {name: each.to(torch.float32, copy=True) for name, each in pytorch.read_tensors(inputs).items()}
    x = tensors.pop("x")
    forward = {"van": van, "deit": deit}[network]
    peer.call = lambda: forward(x, tensors)


def answer_run(calls):
    """Milliseconds of one call."""
    with pytorch.torch.inference_mode():
        start = time.perf_counter()
        for _ in range(calls):
            peer.out = peer.call()
        return (time.perf_counter() - start) * 1000 / calls


def answer_result(path):
    """The logits into a file, float32."""
    out = peer.out.reshape(-1)
    pytorch.torch.from_file(path, shared=True, size=out.numel()).copy_(out)


def van(x, weights):
    F = pytorch.torch.nn.functional

    def conv(x, name, stride=1, dilation=1):
        weight = weights[f"{name}.weight"]
        groups = len(weight) if weight.shape[1] == 1 else 1
        padding = (weight.shape[2] - 1) // 2 * dilation
        return F.conv2d(x, weight, weights[f"{name}.bias"], stride, padding, dilation, groups)

    def norm(x, name):
        mean, variance = (weights[f"{name}.running_{part}"] for part in ("mean", "var"))
        return F.batch_norm(x, mean, variance, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def scaled(x, name):
        return weights[name][:, None, None] * x

    def block(x, own):
        y = norm(x, f"{own}.norm1")
        u = F.gelu(conv(y, f"{own}.attn.proj_1"))
        gate = f"{own}.attn.spatial_gating_unit"
        gated = u * conv(conv(conv(u, f"{gate}.conv0"), f"{gate}.conv_spatial", dilation=3), f"{gate}.conv1")
        x = x + scaled(y + conv(gated, f"{own}.attn.proj_2"), f"{own}.layer_scale_1")
        hidden = conv(conv(norm(x, f"{own}.norm2"), f"{own}.mlp.fc1"), f"{own}.mlp.dwconv.dwconv")
        return x + scaled(conv(F.gelu(hidden), f"{own}.mlp.fc2"), f"{own}.layer_scale_2")

    stage = 1
    while f"patch_embed{stage}.proj.weight" in weights:
        embed = f"patch_embed{stage}"
        x = norm(conv(x, f"{embed}.proj", stride=4 if stage == 1 else 2), f"{embed}.norm")
        at = 0
        while f"block{stage}.{at}.norm1.weight" in weights:
            x = block(x, f"block{stage}.{at}")
            at += 1
        last = f"norm{stage}"
        shift = weights[f"{last}.bias"]
        x = F.layer_norm(x.permute(0, 2, 3, 1), shift.shape, weights[f"{last}.weight"], shift, 1e-6).permute(0, 3, 1, 2)
        stage += 1
    return F.linear(x.mean((2, 3)), weights["head.weight"], weights["head.bias"])


def deit(x, weights):
    torch = pytorch.torch
    F = torch.nn.functional

    def linear(x, name):
        return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(x, name):
        shift = weights[f"{name}.bias"]
        return F.layer_norm(x, shift.shape, weights[f"{name}.weight"], shift, 1e-6)

    patch = weights["patch_embed.proj.weight"]
    x = F.conv2d(x, patch, weights["patch_embed.proj.bias"], patch.shape[2]).flatten(2).transpose(1, 2)
    x = torch.cat([weights["cls_token"], x], 1) + weights["pos_embed"]
    n, c = x.shape[1:]
    at = 0
    while f"blocks.{at}.norm1.weight" in weights:
        own = f"blocks.{at}"
        q, k, v = linear(norm(x, f"{own}.norm1"), f"{own}.attn.qkv").reshape(1, n, 3, c // 64, 64).permute(2, 0, 3, 1, 4)
        context = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(1, n, c)
        x = x + linear(context, f"{own}.attn.proj")
        x = x + linear(F.gelu(linear(norm(x, f"{own}.norm2"), f"{own}.mlp.fc1")), f"{own}.mlp.fc2")
        at += 1
    return linear(norm(x, "norm")[:, 0], "head")


if __name__ == "__main__":
    own = {"prepare": answer_prepare, "run": answer_run, "result": answer_result}
    pytorch.serve({**pytorch.ANSWERS, **own})
