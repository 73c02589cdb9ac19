/** One tensor in numbers: its range, and how its elements are spread. */
import { ParameterError } from '../errors';
import { quote } from '../io/bytes';
import { formatShape } from '../tensor/shape';
import { formatBytes, formatPercent, significant } from '../text/format';
import { printable } from '../text/printable';
import { formatTable } from '../text/table';
import type { ReadOptions, StoredTensor, Weights } from '../weights';
import { partsOf } from '../weights/parts';

const BINS = 16;
/** The longest bar, in characters. */
const BAR = 50;

export type TensorDescription = Awaited<ReturnType<typeof describeTensor>>;

/** Reads a tensor twice, part by part: for its range, then for the histogram over it. */
export async function describeTensor(weights: Weights, name: string, options: ReadOptions) {
  const tensor = weights.tensors.get(name);
  if (!tensor) throw new ParameterError(`${weights.name} has no tensor ${quote(name)}${alike(weights, name)}`);
  const range = await rangeOf(weights, tensor, options);
  const { type, shape, byteLength, source, start } = tensor;
  return {
    tensor: name,
    type,
    shape,
    bytes: byteLength,
    file: source.name,
    start,
    ...range,
    histogram: await histogramOf(weights, tensor, range, options),
  };
}

/** Names that contain the one that was asked for, for its error message. */
function alike(weights: Weights, name: string): string {
  const found = weights.select(`*${name}*`).slice(0, 3);
  return found.length > 0 ? `, but ${found.join(', ')}` : '';
}

async function rangeOf(weights: Weights, tensor: StoredTensor, options: ReadOptions) {
  let [least, most] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  let [finite, sum, squares, zeros, infinite, notNumbers] = [0, 0, 0, 0, 0, 0];
  for await (const { data } of partsOf(weights, tensor, options))
    for (const value of data) {
      if (!Number.isFinite(value)) {
        if (Number.isNaN(value)) notNumbers++;
        else infinite++;
        continue;
      }
      finite++;
      sum += value;
      squares += value * value;
      if (value === 0) zeros++;
      if (value < least) least = value;
      if (value > most) most = value;
    }
  const mean = sum / finite;
  const deviation = Math.sqrt(Math.max(0, squares / finite - mean * mean));
  const elements = finite + infinite + notNumbers;
  const spread = finite > 0 ? { least, most, mean, standardDeviation: deviation } : {};
  return { elements, ...spread, zeros, infinite, notNumbers };
}

type Range = Awaited<ReturnType<typeof rangeOf>>;

/** How many elements there are in each of equal parts of the range. */
async function histogramOf(weights: Weights, tensor: StoredTensor, { least, most }: Range, options: ReadOptions) {
  if (least === undefined || most === undefined) return [];
  const bins = least === most ? 1 : BINS;
  const width = (most - least) / bins || 1;
  const counts = new Array<number>(bins).fill(0);
  for await (const { data } of partsOf(weights, tensor, options))
    for (const value of data)
      if (Number.isFinite(value)) {
        const bin = Math.min(bins - 1, Math.floor((value - least) / width));
        counts[bin] = (counts[bin] as number) + 1;
      }
  return counts.map((count, bin) => ({
    from: least + bin * width,
    to: bin === bins - 1 ? most : least + (bin + 1) * width,
    count,
  }));
}

export function tensorText(described: TensorDescription): string {
  const { tensor, type, shape, bytes, file, start, elements, least, most, zeros, infinite, notNumbers } = described;
  const facts = [
    `${printable(tensor)} ${formatShape(shape)} ${type}, ${formatBytes(bytes)} at byte ${start} of ${printable(file)}`,
    `${elements.toLocaleString('en')} elements, ${zeros.toLocaleString('en')} of them 0, ${infinite} infinite, ${notNumbers} not a number`,
  ];
  if (least === undefined || most === undefined) return facts.join('\n');
  const { mean, standardDeviation, histogram } = described;
  const tallest = Math.max(...histogram.map(({ count }) => count));
  const rows = histogram.map(({ from, to, count }) => [
    `${significant(from)} to ${significant(to)}`,
    '█'.repeat(Math.ceil((BAR * count) / tallest)),
    `${count.toLocaleString('en')} (${formatPercent(count / elements)})`,
  ]);
  return [
    ...facts,
    `from ${significant(least)} to ${significant(most)}, mean ${significant(mean as number)}, standard deviation ${significant(standardDeviation as number)}`,
    '',
    formatTable(['range', '', 'elements'], rows),
  ].join('\n');
}
