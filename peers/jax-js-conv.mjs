/** jax-js on its WebAssembly backend: a compiled convolution of pictures with channels first, or a gradient of one. */
import { blockUntilReady, defaultDevice, grad, init, jit, lax, numpy as np } from '@jax-js/jax';
import { turned } from './conv-onnx.mjs';

export async function open() {
  await init('wasm');
  defaultDevice('wasm');
  return { threads: 1, prepare };
}

function prepare({
  part,
  x,
  weight,
  gradOut,
  rows,
  columns,
  channels,
  outputs,
  kernel,
  stride,
  groups,
  height,
  width,
}) {
  const pixels = rows * columns;
  const shapes = { x: [1, channels, rows, columns], weight: [outputs, channels / groups, kernel, kernel] };
  // The gradient does not depend on where it is taken, so that what it is taken of may be zeros.
  const pictures = x ? np.array(turned(x, pixels, channels), { shape: shapes.x }) : np.zeros(shapes.x);
  const kernels = weight ? np.array(weight, { shape: shapes.weight }) : np.zeros(shapes.weight);
  const side = (kernel - 1) / 2;
  const padding = [
    [side, side],
    [side, side],
  ];
  const conv = (a, b) => lax.convGeneralDilated(a, b, [stride, stride], padding, { featureGroupCount: groups });
  const weights = gradOut && np.array(turned(gradOut, height * width, outputs), { shape: [1, outputs, height, width] });
  const loss = (a, b, g) => np.sum(conv(a, b).mul(g));
  const gradient = weights && jit(grad(loss, { argnums: part === 'x' ? 0 : 1 }));
  const call = weights ? (a, b) => gradient(a, b, weights.ref) : jit(conv);
  let out;
  return {
    async run() {
      out?.dispose();
      out = call(pictures.ref, kernels.ref);
      await blockUntilReady(out);
    },
    async result() {
      const data = await out.ref.data();
      if (part === 'weight') return data;
      return part === 'x' ? turned(data, channels, pixels) : turned(data, outputs, height * width);
    },
  };
}
