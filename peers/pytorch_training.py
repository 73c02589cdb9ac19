"""A training step of a decoder by PyTorch: answers what `pytorch.py` answers, of another problem."""
import math
import time

import pytorch
from pytorch import peer


def answer_prepare(inputs, config, optimizer, **_):
    """
    `inputs` is a safetensors file of the parameters and of tokens [steps, b, n + 1]: of each step the inputs and, one further,
    the targets. `config` is as Hugging Face's config.json, `optimizer` as `saccade train` takes it.
    """
    torch = pytorch.torch
    peer.memory_before = pytorch.process_memory()
    tensors = pytorch.read_tensors(inputs)
    peer.tokens = tensors.pop("tokens").long()
    # Copies, since the file's bytes are not aligned as kernels like it.
    peer.parameters = {name: each.to(peer.dtype, copy=True).requires_grad_() for name, each in tensors.items()}
    peer.config = config
    d = config["hidden_size"] // config["num_attention_heads"]
    frequencies = config["rope_theta"] ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)
    angles = torch.arange(peer.tokens.shape[2] - 1, dtype=torch.float64)[:, None] * frequencies
    peer.rotation = [torch.cat([part, part], -1).to(peer.dtype) for part in (angles.cos(), angles.sin())]
    peer.update = {"adamw": adamw, "muon": muon}[optimizer.pop("name")](peer.parameters, **optimizer)
    peer.losses = []


def answer_run(calls):
    """Milliseconds of one step."""
    start = time.perf_counter()
    for _ in range(calls):
        step()
    return (time.perf_counter() - start) * 1000 / calls


def answer_result(path):
    """The losses of the first steps, float32, into a file; goes on until there are as many as there are tokens for."""
    torch = pytorch.torch
    steps = len(peer.tokens)
    while len(peer.losses) < steps:
        step()
    losses = torch.tensor(peer.losses[:steps], dtype=torch.float32)
    torch.from_file(path, shared=True, size=steps).copy_(losses)


def answer_losses():
    """The same as numbers, to be stored."""
    while len(peer.losses) < len(peer.tokens):
        step()
    return peer.losses


def step():
    tokens = peer.tokens[len(peer.losses) % len(peer.tokens)]
    for parameter in peer.parameters.values():
        parameter.grad = None
    loss = loss_of(tokens[:, :-1], tokens[:, 1:])
    loss.backward()
    peer.losses.append(loss.item())
    peer.update()


def loss_of(tokens, targets):
    functional = pytorch.torch.nn.functional
    config, parameters = peer.config, peer.parameters
    width, heads, epsilon = config["hidden_size"], config["num_attention_heads"], config["rms_norm_eps"]
    embedding = parameters["model.embed_tokens.weight"]
    b, n = tokens.shape
    x = functional.embedding(tokens, embedding)
    for layer in range(config["num_hidden_layers"]):
        weight = lambda name: parameters[f"model.layers.{layer}.{name}.weight"]
        y = functional.rms_norm(x, (width,), weight("input_layernorm"), epsilon)
        q, k, v = (
            functional.linear(y, weight(f"self_attn.{which}_proj")).view(b, n, heads, -1).transpose(1, 2)
            for which in "qkv"
        )
        out = functional.scaled_dot_product_attention(turned(q), turned(k), v, is_causal=True)
        x = x + functional.linear(out.transpose(1, 2).reshape(b, n, width), weight("self_attn.o_proj"))
        y = functional.rms_norm(x, (width,), weight("post_attention_layernorm"), epsilon)
        opened = functional.silu(functional.linear(y, weight("mlp.gate_proj")))
        x = x + functional.linear(opened * functional.linear(y, weight("mlp.up_proj")), weight("mlp.down_proj"))
    x = functional.rms_norm(x, (width,), parameters["model.norm.weight"], epsilon)
    logits = functional.linear(x.view(b * n, width), embedding)
    return functional.cross_entropy(logits, targets.reshape(-1))


def turned(x):
    """x [b, h, n, d] by its rotary positions: feature j with j + d / 2."""
    cos, sin = peer.rotation
    first, second = x.chunk(2, -1)
    return x * cos + pytorch.torch.cat([-second, first], -1) * sin


def adamw(parameters, learningRate, betas, epsilon, weightDecay):
    """Decay is of parameters of two axes only."""
    own = [{"params": [], "weight_decay": decay} for decay in (weightDecay, 0)]
    for parameter in parameters.values():
        own[parameter.dim() != 2]["params"].append(parameter)
    groups = [group for group in own if group["params"]]
    return pytorch.torch.optim.AdamW(groups, lr=learningRate, betas=betas, eps=epsilon, fused=True).step


def muon(parameters, learningRate, momentum, weightDecay, adamw):
    torch = pytorch.torch
    own = {name: each for name, each in parameters.items() if each.dim() == 2 and "embed" not in name}
    sums = {name: torch.zeros_like(each) for name, each in own.items()}
    others = {name: each for name, each in parameters.items() if name not in own}
    rest = globals()["adamw"](others, **adamw)

    @torch.no_grad()
    def update():
        for name, parameter in own.items():
            total = sums[name].mul_(momentum).add_(parameter.grad)
            moved = orthogonalised(parameter.grad + momentum * total)
            rows, columns = parameter.shape
            parameter.mul_(1 - learningRate * weightDecay)
            parameter.sub_(moved, alpha=learningRate * math.sqrt(max(1, rows / columns)))
        rest()

    return update


def orthogonalised(update):
    """Five steps of Newton and Schulz's iteration."""
    rows, columns = update.shape
    x = update.T if rows > columns else update
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.T if rows > columns else x


if __name__ == "__main__":
    own = {"prepare": answer_prepare, "run": answer_run, "result": answer_result, "losses": answer_losses}
    pytorch.serve({**pytorch.ANSWERS, **own})
