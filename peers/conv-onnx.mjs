/** A convolution as an ONNX graph, of pictures and results that are channels last outside. */
import { intAttribute, intsAttribute, prepareWith } from './onnx-model.mjs';

export async function prepareConv(
  ort,
  options,
  { x, weight, rows, columns, channels, outputs, kernel, stride, groups, height, width },
) {
  const side = (kernel - 1) / 2;
  const call = await prepareWith(ort, options, {
    operator: 'Conv',
    domain: '',
    attributes: [
      intAttribute('group', groups),
      intsAttribute('kernel_shape', [kernel, kernel]),
      intsAttribute('pads', [side, side, side, side]),
      intsAttribute('strides', [stride, stride]),
    ],
    inputs: [
      { name: 'x', data: turned(x, rows * columns, channels), shape: [1, channels, rows, columns] },
      { name: 'weight', data: weight, shape: [outputs, channels / groups, kernel, kernel] },
    ],
    outputs: { out: [1, outputs, height, width] },
  });
  return { run: call.run, result: async () => turned(await call.result(), outputs, height * width) };
}

/** A matrix [rows, columns] with rows and columns exchanged. */
export function turned(data, rows, columns) {
  const out = new Float32Array(data.length);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) out[column * rows + row] = data[row * columns + column];
  return out;
}
