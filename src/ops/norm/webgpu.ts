import { type Dispatch, type Kernel, type Region, variants } from '../../runtime/webgpu/kernel';
import { overRows, READ, rowKernel, type Team, WRITE } from '../../runtime/webgpu/kernels/row-kernel';
import type { Plan, Workspace } from '../../runtime/webgpu/plan';
import type { Tensor } from '../../tensor/tensor';
import type { Norm, NormCall, NormGradientCall } from './reference';

interface Form {
  readonly team: Team;
  readonly centred: boolean;
  readonly inRuns: boolean;
  readonly hasGain: boolean;
}

const SETTINGS = { epsilon: 'f32', offset: 'f32' } as const;

type Loop = (statements: string) => string;

/** By what a row is multiplied first, since float32 might not hold its squares, nor a gradient by them: as in norm.as.ts. */
const SCALE_FOR = `
fn scale_for(squares: f32, square: f32, mean: f32) -> f32 {
  // By bits, as infinities and NaN need it. From 2^100 on:
  if ((bitcast<u32>(squares) & 0x7fffffff) >= 0x71800000) { return 0x1p-96; }
  return select(1.0, 0x1p96, square < 0x1p-100 && abs(mean) < 1.0);
}`;

/** Finds mean and square of the row, or of the scaled one. */
const moments = ({ centred }: Form, x: string, over: Loop, sumOf: (sums: string) => string) => `
  var about = 0.0;
  ${
    centred
      ? `var sum = 0.0;
  ${over(`sum += total(kept(${x}, count, 0.0));`)}
  about = ${sumOf('vec2f(sum, 0.0)')}.x / extent;`
      : ''
  }
  var sums = vec2f(0.0);
  ${over(`let y = kept(${x} - about, count, 0.0);
    sums += vec2f(${centred ? 'total(y)' : '0.0'}, dot(y, y));`)}
  sums = ${sumOf('sums')};
  let moments = sums / extent;
  // The mean's own rounding is found beside the squares, so that equal elements become zeros.
  mean = about + moments.x;
  square = ${centred ? 'max(moments.y - moments.x * moments.x, 0.0)' : 'moments.y'} + numbers.epsilon * scale * scale;`;

/** Declares the scale of the row, and mean, root and factor of the scaled one. Lanes cannot wait for each other where it is not 1. */
const measure = (form: Form, over: Loop, byEach: Loop) => `
  let extent = f32(numbers.columns${form.inRuns ? ' * numbers.runs' : ''});
  var scale = 1.0;
  var mean: f32;
  var square: f32;
  var wanted: f32;
  {
  ${moments(form, 'load4_x(i)', over, (sums) => `sum_of(${sums})`)}
    wanted = scale_for(sums.y, square, mean);
  }
  if (wanted != 1.0) {
    scale = wanted;
  ${moments(form, 'load4_x(i) * scale', byEach, (sums) => sums)}
  }
  let root = sqrt(square);
  let divisor = root + numbers.offset * scale;
  let factor = select(select(0.0, 1.0 / divisor, divisor > 0.0), divisor, is_nan(divisor));`;

/** A loop over the row of statements about its elements, apart for scaled ones, so that others are not multiplied. */
const scaled = (over: Loop, statements: (x: string, scale: string) => string) => `
  if (scale == 1.0) {${over(statements('load4_x(i)', ''))}
  } else {${over(statements('load4_x(i) * scale', ' * scale'))}
  }`;

const channel = ({ inRuns }: Form) => (inRuns ? 'row % numbers.groups * numbers.columns + c' : 'c');
const timesGain = (form: Form) => (form.hasGain ? ` * load4_gain(${channel(form)})` : '');

const normKernel = variants(
  ({ hasBias, ...form }: Form & { hasBias: boolean }): Kernel =>
    rowKernel({
      name: 'norm',
      team: form.team,
      operands: { x: READ, ...(form.hasGain && { gain: READ }), ...(hasBias && { bias: READ }), out: WRITE },
      numbers: SETTINGS,
      inRuns: form.inRuns,
      head: SCALE_FOR,
      each: (over, byEach) => `${measure(form, over, byEach)}
  ${scaled(
    over,
    (x) => `let normal = (${x} - mean) * factor${timesGain(form)};
    store4_out(i, normal${hasBias ? ` + load4_bias(${channel(form)})` : ''}, count);`,
  )}`,
    }),
);

/** Also writes scale, mean and factor of each row. */
const gradientKernel = variants(
  (form: Form): Kernel =>
    rowKernel({
      name: 'gradient of norm',
      team: form.team,
      operands: {
        x: READ,
        gradOut: READ,
        ...(form.hasGain && { gain: READ }),
        out: WRITE,
        statistics: { access: 'write' },
      },
      numbers: SETTINGS,
      inRuns: form.inRuns,
      head: SCALE_FOR,
      each: (over, byEach) => `${measure(form, over, byEach)}
  if (member == 0) {
    store_statistics(3 * row, scale);
    store_statistics(3 * row + 1, mean);
    store_statistics(3 * row + 2, factor);
  }
  var sums = vec2f(0.0);
  ${scaled(
    over,
    (x) => `let straight = kept(load4_gradOut(i)${timesGain(form)}, count, 0.0);
    sums += vec2f(total(straight), dot(straight, kept(${x} - mean, count, 0.0)));`,
  )}
  sums = sum_of(sums) / extent * factor;
  let shift = ${form.centred ? 'sums.x' : '0.0'};
  let along = select(0.0, sums.y / root * factor, root > 0.0);
  ${scaled(
    over,
    (x, scale) => `let straight = load4_gradOut(i)${timesGain(form)};
    store4_out(i, (straight * factor - shift - (${x} - mean) * along)${scale}, count);`,
  )}`,
    }),
);

const LANES = 256;
/** Channels that a workgroup sums, each on as many lanes. */
const SIDE = 16;

/** Sums over the places of a part: of the gradient times what gains multiply, and of the gradient. */
const sumsKernel = variants(
  ({ gains, biases }: { gains: boolean; biases: boolean }): Kernel => ({
    name: 'gradients of gains',
    invocations: LANES,
    operands: {
      x: { access: 'read' },
      gradOut: { access: 'read' },
      statistics: { access: 'read' },
      ...(gains && { gains: { access: 'write' } }),
      ...(biases && { biases: { access: 'write' } }),
    },
    numbers: { places: 'u32', placesOfPart: 'u32', runs: 'u32', groups: 'u32', columns: 'u32' },
    body: `
var<workgroup> sums: array<vec2f, ${LANES}>;
fn run(task: u32, lane: u32) {
  let channels = numbers.groups * numbers.columns;
  let blocks = (channels + ${SIDE - 1}) / ${SIDE};
  let channel = task % blocks * ${SIDE} + lane % ${SIDE};
  let part = task / blocks;
  var sum = vec2f(0.0);
  if (channel < channels) {
    let end = min((part + 1) * numbers.placesOfPart, numbers.places);
    for (var place = part * numbers.placesOfPart + lane / ${SIDE}; place < end; place += ${LANES / SIDE}) {
      let row = place / numbers.runs * numbers.groups + channel / numbers.columns;
      let i = place * channels + channel;
      let grad = load_gradOut(i);
      let centred = load_x(i) * load_statistics(3 * row) - load_statistics(3 * row + 1);
      sum += vec2f(grad * centred * load_statistics(3 * row + 2), grad);
    }
  }
  sums[lane] = sum;
  for (var half = ${LANES / 2}u; half >= ${SIDE}; half /= 2) {
    workgroupBarrier();
    if (lane < half) { sums[lane] += sums[lane + half]; }
  }
  if (lane >= ${SIDE} || channel >= channels) { return; }
  ${gains ? 'store_gains(part * channels + channel, sums[lane].x);' : ''}
  ${biases ? 'store_biases(part * channels + channel, sums[lane].y);' : ''}
}`,
  }),
);

export function planNorm(call: NormCall, workspace: Workspace): Plan {
  const { bias, out } = call;
  const kernelFor = (team: Team) => normKernel({ ...formOf(call, team), hasBias: bias !== undefined });
  return { dispatches: [overGroups(call, kernelFor, { ...(bias && { bias }), out }, {}, workspace)] };
}

export function planNormGradient(call: NormGradientCall, workspace: Workspace): Plan {
  const { x, gradOut, out, gains, biases, rows, runs, groups, columns, rowsOfPart } = call;
  const statistics = workspace.scratch([rows * groups, 3]);
  const kernelFor = (team: Team) => gradientKernel(formOf(call, team));
  const ofRows = overGroups(call, kernelFor, { gradOut, out }, { statistics }, workspace);
  if (!gains && !biases) return { dispatches: [ofRows] };
  const sums = {
    kernel: sumsKernel({ gains: gains !== undefined, biases: biases !== undefined }),
    operands: { x, gradOut, statistics, ...(gains && { gains }), ...(biases && { biases }) },
    numbers: { places: rows * runs, placesOfPart: rowsOfPart * runs, runs, groups, columns },
    tasks: Math.ceil(rows / rowsOfPart) * Math.ceil((groups * columns) / SIDE),
    operations: 8 * x.size,
  };
  return { dispatches: [ofRows, sums] };
}

const formOf = ({ centred, gain, runs, groups }: Norm, team: Team): Form => ({
  team,
  centred,
  hasGain: gain !== undefined,
  inRuns: runs * groups > 1,
});

function overGroups(
  { x, gain, runs, groups, columns, epsilon, offset }: Norm,
  kernelFor: (team: Team) => Kernel,
  elements: Readonly<Record<string, Tensor>>,
  others: Readonly<Record<string, Region>>,
  workspace: Workspace,
): Dispatch {
  const inGroups = ({ storage, dtype, offset, size }: Tensor): Region => ({
    storage,
    dtype,
    offset,
    shape: [size / columns, columns],
    strides: [columns, 1],
  });
  const tensors: Record<string, Tensor> = { x, ...(gain && { gain }), ...elements };
  const operands = Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, inGroups(tensor)]));
  const numbers = { columns, epsilon, offset, ...(runs * groups > 1 && { runs, groups }) };
  return overRows(kernelFor, runs * columns, { ...operands, ...others }, numbers, workspace);
}
