/** Plans of copies: row by row, or by tiles where rows of one side are columns of the other. */
import { BYTES_PER_MICROSECOND, ELEMENTS_PER_MICROSECOND, type Plan } from '../../runtime/cpu/plan';
import { bytesPerElement, type DType } from '../../tensor/dtype';
import { hostTensor } from '../../tensor/host';
import type { Tensor } from '../../tensor/tensor';
import { type CommonAxis, commonAxes } from './axes';
import { type CopyCall, type CopyDType, DTYPES } from './call';
import { BAND, CopyAxis, CopyParams, RUN } from './params.generated';

export function planCopy({ x, out, within }: CopyCall): Plan {
  const [fromBytes, toBytes] = [bytesPerElement(x.dtype), bytesPerElement(out.dtype)];
  const isPlain = x.isContiguous && out.isContiguous;
  const inOrder = isPlain ? [{ extent: x.size, from: 1, to: 1 }] : commonAxes(x.shape, x.strides, out.strides);
  const transposed = x.dtype === out.dtype ? transposedAxes(inOrder) : undefined;
  const axes = transposed ?? inOrder;
  const [whole, wholeSize] = [within?.whole, within?.whole.size ?? 0];
  const bits = within ? bitsOf(within.value, out.dtype) : 0;
  const params = [
    ...CopyParams({
      size: x.size,
      from: codeOf(x),
      to: codeOf(out),
      x,
      out,
      axes: axes.length,
      whole,
      wholeSize,
      bits,
    }),
    ...axes.flatMap(({ extent, from, to }) => CopyAxis({ extent, from: from * fromBytes, to: to * toBytes })),
  ];
  const copying = transposed
    ? { kernel: 'transpose', tasks: bandsOf(transposed) }
    : { kernel: 'copy', tasks: Math.ceil(x.size / RUN) };
  const phases = within ? [{ kernel: 'fill', tasks: Math.ceil(wholeSize / RUN) }, copying] : [copying];
  const isWhole = isPlain && x.dtype === out.dtype && !within;
  const microseconds = isWhole
    ? ((fromBytes + toBytes) * x.size) / BYTES_PER_MICROSECOND
    : (x.size + wholeSize) / ELEMENTS_PER_MICROSECOND;
  return { jobs: () => [{ phases, params, microseconds }] };
}

/** How many bands of rows there are; the last axis is the columns, that before it the rows. */
function bandsOf(axes: readonly CommonAxis[]): number {
  const [rows, ...outer] = axes.slice(0, -1).reverse() as [CommonAxis, ...CommonAxis[]];
  return outer.reduce((count, { extent }) => count * extent, Math.ceil(rows.extent / BAND));
}

/** With the axis along which x is contiguous last but one, if that is not the last one, along which out is. */
function transposedAxes(axes: readonly CommonAxis[]): readonly CommonAxis[] | undefined {
  const last = axes.at(-1) as CommonAxis;
  const row = axes.find(({ from }) => from === 1);
  if (!row || row === last || last.to !== 1) return undefined;
  return [...axes.filter((axis) => axis !== row && axis !== last), row, last];
}

const codeOf = ({ dtype }: Tensor) => DTYPES.indexOf(dtype as CopyDType);

/** The bits of a number as an element. */
function bitsOf(value: number, dtype: DType): number {
  const { data } = hostTensor([value], [1], dtype);
  return bytesPerElement(dtype) === 4 ? (new Uint32Array(data.buffer)[0] as number) : (data[0] as number);
}
