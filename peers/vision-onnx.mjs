/** VAN and DeiT as ONNX graphs, of weights by the names of their checkpoints: what exporting them from PyTorch gives, and no more. */
import { Graph } from './onnx-graph.mjs';

/** A session as a peer's call. */
export async function prepareNetwork({ InferenceSession, Tensor }, options, { network, size, shapes, x, ...weights }) {
  const graph = new Graph();
  for (const [name, shape] of Object.entries(shapes)) graph.weight(name, weights[name], shape);
  const classes = shapes['head.weight'][0];
  NETWORKS[network](graph, shapes, size);
  const shape = [1, 3, ...size];
  const session = await InferenceSession.create(graph.model({ x: shape }, { logits: [1, classes] }), options);
  const feeds = { x: new Tensor('float32', Float32Array.from(x), shape) };
  let logits;
  return {
    async run() {
      ({ logits } = await session.run(feeds));
    },
    result: () => Float32Array.from(logits.data),
  };
}

const NETWORKS = { van, deit };

const named = (name, ...parts) => parts.map((part) => `${name}.${part}`);

function conv(graph, shapes, x, name, { stride = 1, dilation = 1, padding } = {}) {
  const [outputs, inputs, rows, columns] = shapes[`${name}.weight`];
  const side = padding ?? ((rows - 1) / 2) * dilation;
  return graph.node('Conv', [x, ...named(name, 'weight', 'bias')], {
    kernel_shape: [rows, columns],
    strides: [stride, stride],
    dilations: [dilation, dilation],
    pads: [side, side, side, side],
    group: inputs === 1 ? outputs : 1,
  });
}

const batchNorm = (graph, x, name) =>
  graph.node(
    'BatchNormalization',
    [x, ...named(name, 'weight', 'bias', 'running_mean', 'running_var')],
    { epsilon: 1e-5 },
    { floats: ['epsilon'] },
  );
const layerNorm = (graph, x, name) =>
  graph.node('LayerNormalization', [x, ...named(name, 'weight', 'bias')], { epsilon: 1e-6 }, { floats: ['epsilon'] });
const gelu = (graph, x) => graph.node('Gelu', [x], {}, { domain: 'com.microsoft' });
const linear = (graph, x, name, output) =>
  graph.node('Gemm', [x, ...named(name, 'weight', 'bias')], { transB: 1 }, output && { output });
const reshape = (graph, x, shape) => graph.node('Reshape', [x, graph.list(shape)]);

function van(graph, shapes) {
  let x = 'x';
  const scaled = (x, name) => {
    const scale = reshape(graph, name, [-1, 1, 1]);
    return graph.node('Mul', [x, scale]);
  };
  for (let stage = 1; shapes[`patch_embed${stage}.proj.weight`]; stage++) {
    const patch = `patch_embed${stage}`;
    const side = shapes[`${patch}.proj.weight`][2];
    x = conv(graph, shapes, x, `${patch}.proj`, { stride: side === 7 ? 4 : 2 });
    x = batchNorm(graph, x, `${patch}.norm`);
    for (let at = 0; shapes[`block${stage}.${at}.norm1.weight`]; at++) {
      const own = (name) => `block${stage}.${at}.${name}`;
      const normed = batchNorm(graph, x, own('norm1'));
      const u = gelu(graph, conv(graph, shapes, normed, own('attn.proj_1')));
      const gate = (name) => own(`attn.spatial_gating_unit.${name}`);
      const near = conv(graph, shapes, u, gate('conv0'));
      const far = conv(graph, shapes, near, gate('conv_spatial'), { dilation: 3 });
      const gated = graph.node('Mul', [u, conv(graph, shapes, far, gate('conv1'))]);
      const attended = graph.node('Add', [normed, conv(graph, shapes, gated, own('attn.proj_2'))]);
      x = graph.node('Add', [x, scaled(attended, own('layer_scale_1'))]);
      const hidden = conv(graph, shapes, batchNorm(graph, x, own('norm2')), own('mlp.fc1'));
      const fed = conv(
        graph,
        shapes,
        gelu(graph, conv(graph, shapes, hidden, own('mlp.dwconv.dwconv'))),
        own('mlp.fc2'),
      );
      x = graph.node('Add', [x, scaled(fed, own('layer_scale_2'))]);
    }
    const last = graph.node('Transpose', [x], { perm: [0, 2, 3, 1] });
    x = graph.node('Transpose', [layerNorm(graph, last, `norm${stage}`)], { perm: [0, 3, 1, 2] });
  }
  const pooled = graph.node('GlobalAveragePool', [x]);
  linear(graph, graph.node('Flatten', [pooled]), 'head', 'logits');
}

function deit(graph, shapes) {
  const [, n, c] = shapes.pos_embed;
  const heads = c / 64;
  const patch = shapes['patch_embed.proj.weight'][2];
  const patches = conv(graph, shapes, 'x', 'patch_embed.proj', { stride: patch, padding: 0 });
  const rows = graph.node('Transpose', [reshape(graph, patches, [1, c, n - 1])], { perm: [0, 2, 1] });
  const tokens = graph.node('Concat', ['cls_token', rows], { axis: 1 });
  let x = reshape(graph, graph.node('Add', [tokens, 'pos_embed']), [n, c]);
  for (let at = 0; shapes[`blocks.${at}.norm1.weight`]; at++) {
    const own = (name) => `blocks.${at}.${name}`;
    const qkv = linear(graph, layerNorm(graph, x, own('norm1')), own('attn.qkv'));
    const part = (index) => {
      const bounds = [index * c, (index + 1) * c, 1].map((bound) => graph.list([bound]));
      return reshape(graph, graph.node('Slice', [qkv, ...bounds]), [1, n, c]);
    };
    const attended = graph.node(
      'MultiHeadAttention',
      [0, 1, 2].map(part),
      { num_heads: heads },
      { domain: 'com.microsoft' },
    );
    x = graph.node('Add', [x, linear(graph, reshape(graph, attended, [n, c]), own('attn.proj'))]);
    const hidden = gelu(graph, linear(graph, layerNorm(graph, x, own('norm2')), own('mlp.fc1')));
    x = graph.node('Add', [x, linear(graph, hidden, own('mlp.fc2'))]);
  }
  const bounds = [0, 1, 0].map((bound) => graph.list([bound]));
  linear(graph, layerNorm(graph, graph.node('Slice', [x, ...bounds]), 'norm'), 'head', 'logits');
}
