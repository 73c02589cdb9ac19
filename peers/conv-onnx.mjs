/** A convolution, or its gradient with respect to x, as an ONNX graph of pictures that are channels last outside. */
import { intAttribute, intsAttribute, prepareWith } from './onnx-model.mjs';

export async function prepareConv(
  ort,
  options,
  { part, x, weight, gradOut, rows, columns, channels, outputs, kernel, stride, groups, height, width },
) {
  const side = (kernel - 1) / 2;
  const isForward = part === 'out';
  const read = isForward ? [channels, rows, columns] : [outputs, height, width];
  const made = isForward ? [outputs, height, width] : [channels, rows, columns];
  const beyond = (extent, count) => extent - ((count - 1) * stride + kernel - 2 * side);
  const call = await prepareWith(ort, options, {
    operator: isForward ? 'Conv' : 'ConvTranspose',
    domain: '',
    attributes: [
      intAttribute('group', groups),
      intsAttribute('kernel_shape', [kernel, kernel]),
      intsAttribute('pads', [side, side, side, side]),
      intsAttribute('strides', [stride, stride]),
      ...(isForward ? [] : [intsAttribute('output_padding', [beyond(rows, height), beyond(columns, width)])]),
    ],
    inputs: [
      { name: 'x', data: turned(isForward ? x : gradOut, read[1] * read[2], read[0]), shape: [1, ...read] },
      { name: 'weight', data: weight, shape: [outputs, channels / groups, kernel, kernel] },
    ],
    outputs: { out: [1, ...made] },
  });
  return { run: call.run, result: async () => turned(await call.result(), made[0], made[1] * made[2]) };
}

/** A matrix [rows, columns] with rows and columns exchanged. */
export function turned(data, rows, columns) {
  const out = new Float32Array(data.length);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) out[column * rows + row] = data[row * columns + column];
  return out;
}
