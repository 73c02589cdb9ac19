/** Functions of whole rows: norms, softmax, sums, maxima; and rows picked from a table. */
import type { GatherCall, LayerNormCall, RmsNormCall, Rowwise, RowwiseCall } from '../../backend';
import { flat, type Kernel, variants } from '../kernel';
import type { Plan, Workspace } from '../queue';
import { overVectors, VECTOR_INVOCATIONS, vectorTasks } from './elementwise';
import { eachOf, overRows, READ, rowKernel, type Team, WRITE } from './row-kernel';

const layerNormKernel = variants(
  (team: Team): Kernel =>
    rowKernel({
      name: 'layer norm',
      team,
      operands: { x: READ, gain: READ, bias: READ, out: WRITE },
      numbers: { epsilon: 'f32' },
      // The mean's own rounding is found beside the squares, so that constant rows become zeros.
      each: (over) => `
  let extent = f32(numbers.columns);
  var sum = 0.0;
  ${over('sum += total(kept(load4_x(i), count, 0.0));')}
  let about = sum_of(vec2f(sum, 0.0)).x / extent;
  var moments = vec2f(0.0);
  ${over(`let y = kept(load4_x(i) - about, count, 0.0);
    moments += vec2f(total(y), dot(y, y));`)}
  moments = sum_of(moments) / extent;
  let mean = about + moments.x;
  let variance = max(moments.y - moments.x * moments.x, 0.0);
  let factor = 1.0 / sqrt(variance + numbers.epsilon);
  ${over('store4_out(i, (load4_x(i) - mean) * factor * load4_gain(c) + load4_bias(c), count);')}`,
    }),
);

export function planLayerNorm({ x, gain, bias, out, epsilon }: LayerNormCall, workspace: Workspace): Plan {
  return { dispatches: [overRows(layerNormKernel, gain.size, { x, gain, bias, out }, { epsilon }, workspace)] };
}

type Over = (statements: string) => string;

const largest = (over: Over) => `
  var most = 0u;
  ${over(`let x = kept(load4_x(i), count, -numbers.infinity);
    most = max(max(max(rank_of(x.x), rank_of(x.y)), max(rank_of(x.z), rank_of(x.w))), most);`)}
  let most_of_row = number_of(largest_of(most));`;

const sum = (over: Over, values: string) => `
  var sum = 0.0;
  ${over(`sum += total(kept(${values}, count, 0.0));`)}
  let sum_of_row = sum_of(vec2f(sum, 0.0)).x;`;

const WEIGHTS = 'each_precise_exp(load4_x(i) - most_of_row)';

const ROWWISE: Readonly<Record<Rowwise, (over: Over) => string>> = {
  softmax: (over) => `
  ${largest(over)}
  ${sum(over, WEIGHTS)}
  let factor = 1.0 / sum_of_row;
  ${over(`store4_out(i, ${WEIGHTS} * factor, count);`)}`,
  sum: (over) => `${sum(over, 'load4_x(i)')}
  if (member == 0) { store_out(row, sum_of_row); }`,
  max: (over) => `${largest(over)}
  if (member == 0) { store_out(row, most_of_row); }`,
};

const rowwiseKernel = variants(
  ({ operation, team }: { operation: Rowwise; team: Team }): Kernel =>
    rowKernel({
      name: `${operation} of rows`,
      team,
      operands: { x: READ, out: operation === 'softmax' ? WRITE : { access: 'write' } },
      ...(operation === 'softmax' ? { needs: ['precise_exp'], head: eachOf('precise_exp') } : {}),
      each: ROWWISE[operation],
    }),
);

export function planRowwise({ operation, x, out }: RowwiseCall, workspace: Workspace): Plan {
  const kernelFor = (team: Team) => rowwiseKernel({ operation, team });
  return { dispatches: [overRows(kernelFor, x.shape.at(-1) as number, { x, out }, {}, workspace)] };
}

const rmsNormKernel = variants(
  ({ isBackward, team }: { isBackward: boolean; team: Team }): Kernel =>
    rowKernel({
      name: isBackward ? 'gradient of rms norm' : 'rms norm',
      team,
      operands: { x: READ, ...(isBackward ? { gradOut: READ } : {}), out: WRITE },
      numbers: { epsilon: 'f32', offset: 'f32' },
      needs: ['not_a_number'],
      // A row of zeros stays one.
      each: (over) => `
  var sums = vec2f(0.0);
  ${over(`let x = kept(load4_x(i), count, 0.0);
    sums += vec2f(dot(x, x), ${isBackward ? 'dot(x, kept(load4_gradOut(i), count, 0.0))' : '0.0'});`)}
  sums = sum_of(sums);
  let extent = f32(numbers.columns);
  let root = sqrt(sums.x / extent + numbers.epsilon);
  let divisor = root + numbers.offset;
  let factor = select(select(0.0, 1.0 / divisor, divisor > 0.0), divisor, is_nan(divisor));
  ${
    isBackward
      ? `let inner = select(0.0, sums.y * factor / (extent * root) * factor, root > 0.0);
  ${over('store4_out(i, load4_gradOut(i) * factor - load4_x(i) * inner, count);')}`
      : over('store4_out(i, load4_x(i) * factor, count);')
  }`,
    }),
);

export function planRmsNorm({ x, gradOut, out, epsilon, offset }: RmsNormCall, workspace: Workspace): Plan {
  const kernelFor = (team: Team) => rmsNormKernel({ isBackward: gradOut !== undefined, team });
  const operands = { x, ...(gradOut ? { gradOut } : {}), out };
  return { dispatches: [overRows(kernelFor, x.shape.at(-1) as number, operands, { epsilon, offset }, workspace)] };
}

const gatherKernel: Kernel = {
  name: 'gather',
  invocations: VECTOR_INVOCATIONS,
  operands: { table: READ, indices: { access: 'read' }, out: WRITE },
  numbers: { size: 'u32', columns: 'u32' },
  body: `
fn place_of(i: u32) -> u32 { return u32(load_indices(i / numbers.columns)) * numbers.columns + i % numbers.columns; }
fn four_of(i: u32) -> vec4f {
  if (numbers.columns % 4 == 0) { return load4_table(place_of(i)); }
  return vec4f(
    load_table(place_of(i)), load_table(place_of(i + 1)), load_table(place_of(i + 2)), load_table(place_of(i + 3)));
}
${overVectors('store4_out(i, four_of(i), numbers.size - i);')}`,
};

export function planGather({ table, indices, out }: GatherCall): Plan {
  return {
    dispatches: [
      {
        kernel: gatherKernel,
        operands: { table: flat(table), indices: flat(indices), out: flat(out) },
        numbers: { size: out.size, columns: table.shape[1] as number },
        tasks: vectorTasks(out.size),
        operations: 4 * out.size,
      },
    ],
  };
}
