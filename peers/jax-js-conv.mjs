/** jax-js on its WebAssembly backend: a compiled convolution of pictures with channels first. */
import { blockUntilReady, defaultDevice, init, jit, lax, numpy as np } from '@jax-js/jax';
import { turned } from './conv-onnx.mjs';

export async function open() {
  await init('wasm');
  defaultDevice('wasm');
  return { threads: 1, prepare };
}

function prepare({ x, weight, rows, columns, channels, outputs, kernel, stride, groups, height, width }) {
  const pictures = np.array(turned(x, rows * columns, channels), { shape: [1, channels, rows, columns] });
  const kernels = np.array(weight, { shape: [outputs, channels / groups, kernel, kernel] });
  const side = (kernel - 1) / 2;
  const padding = [
    [side, side],
    [side, side],
  ];
  const call = jit((a, b) => lax.convGeneralDilated(a, b, [stride, stride], padding, { featureGroupCount: groups }));
  let out;
  return {
    async run() {
      out?.dispose();
      out = call(pictures.ref, kernels.ref);
      await blockUntilReady(out);
    },
    result: async () => turned(await out.ref.data(), outputs, height * width),
  };
}
