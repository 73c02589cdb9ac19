/** Reductions of [outer, n, inner] over n, in parts where n is long. */
import { flat, type Kernel, type Region, variants } from '../../runtime/webgpu/kernel';
import { functions } from '../../runtime/webgpu/kernels/functions';
import { RANKS } from '../../runtime/webgpu/kernels/row-kernel';
import type { Plan, Workspace } from '../../runtime/webgpu/plan';
import type { ReduceCall, Reduction } from './call';

const LANES = 64;
/** Rows of a part that a lane takes. */
const DEPTH = 64;
/** A lane takes all rows where there are at most so many. */
const FEW_ROWS = 32;
/** On a CPU, where lanes wait for each other at a price, a lane takes all rows of so many results. */
const MANY_OUTPUTS = 128;

/** What rows have in common is a state of two words, as bits: sums, or a rank and a place. */
interface Words {
  readonly start: string;
  /** For element x of a row. */
  readonly element: string;
  readonly joined: string;
  readonly result: string;
}

const SUM: Words = {
  start: 'vec2u(0)',
  element: 'vec2u(bitcast<u32>(x), 0)',
  joined: 'vec2u(bitcast<u32>(bitcast<f32>(a.x) + bitcast<f32>(b.x)), 0)',
  result: 'bitcast<f32>(state.x)',
};

const WORDS: Readonly<Record<Reduction, Words>> = {
  sum: SUM,
  mean: { ...SUM, result: 'bitcast<f32>(state.x) / f32(numbers.n)' },
  max: { start: 'vec2u(0)', element: 'vec2u(rank_of(x), 0)', joined: 'max(a, b)', result: 'number_of(state.x)' },
  logSumExp: {
    start: 'vec2u(bitcast<u32>(-LARGEST), 0)',
    element: 'exponential_of(x)',
    joined: 'sum_of_exponentials(a, b)',
    result: 'bitcast<f32>(state.x) + precise_log(bitcast<f32>(state.y))',
  },
  argmax: {
    start: 'vec2u(0)',
    // Zeros are equal, whatever their signs.
    element: 'vec2u(rank_of(select(x, 0.0, (bitcast<u32>(x) & 0x7fffffff) == 0)), row)',
    joined: 'select(a, b, b.x > a.x || (b.x == a.x && b.y < a.y))',
    result: 'i32(state.y)',
  },
};

/** Sums of exponentials after a shift, the largest x but finite, so that infinities and NaN come out of the exponentials. */
export const EXPONENTIALS = `
const LARGEST = 0x1.fffffep127f;
fn exponential_of(x: f32) -> vec2u {
  let shift = select(clamp(x, -LARGEST, LARGEST), -LARGEST, is_nan(x));
  return vec2u(bitcast<u32>(shift), bitcast<u32>(precise_exp(x - shift)));
}
fn sum_of_exponentials(a: vec2u, b: vec2u) -> vec2u {
  let shifts = vec2f(bitcast<f32>(a.x), bitcast<f32>(b.x));
  let shift = max(shifts.x, shifts.y);
  let sum = bitcast<f32>(a.y) * precise_exp(shifts.x - shift) + bitcast<f32>(b.y) * precise_exp(shifts.y - shift);
  return vec2u(bitcast<u32>(shift), bitcast<u32>(sum));
}`;

interface Form {
  readonly operation: Reduction;
  /** Whether it reads states of parts, and whether it writes them. */
  readonly ofParts: boolean;
  readonly toParts: boolean;
}

/** Lanes of `wide` neighbouring results, and so many rows of theirs side by side as there are lanes. */
const reduceKernel = variants(({ operation, ofParts, toParts }: Form): Kernel => {
  const { start, element, joined, result } = WORDS[operation];
  return {
    name: operation,
    invocations: LANES,
    operands: { x: { access: 'read' }, out: { access: 'write' } },
    numbers: { n: 'u32', outputs: 'u32', inner: 'u32', rows: 'u32', run: 'u32', wide: 'u32' },
    body: `
${operation === 'logSumExp' ? `${functions('precise_exp', 'precise_log')}${EXPONENTIALS}` : `${functions('is_nan')}\n${RANKS}`}
fn joined(a: vec2u, b: vec2u) -> vec2u { return ${joined}; }
fn state_of(i: u32, row: u32) -> vec2u {
  ${ofParts ? 'return vec2u(bitcast<u32>(load_x(2 * i)), bitcast<u32>(load_x(2 * i + 1)));' : `let x = load_x(i);\n  return ${element};`}
}
var<workgroup> states: array<vec2u, ${LANES}>;
fn run(task: u32, lane: u32) {
  let wide = numbers.wide;
  let blocks = (numbers.outputs + wide - 1) / wide;
  let output = task % blocks * wide + lane % wide;
  let part = task / blocks;
  var state = ${start};
  if (output < numbers.outputs) {
    let first = output / numbers.inner * numbers.rows * numbers.inner + output % numbers.inner;
    let end = min((part + 1) * numbers.run, numbers.rows);
    for (var row = part * numbers.run + lane / wide; row < end; row += ${LANES} / wide) {
      state = joined(state, state_of(first + row * numbers.inner, row));
    }
  }
  states[lane] = state;
  for (var half = ${LANES / 2}u; half >= wide; half /= 2) {
    workgroupBarrier();
    if (lane < half) { states[lane] = joined(states[lane], states[lane + half]); }
  }
  if (lane >= wide || output >= numbers.outputs) { return; }
  state = states[lane];
  ${
    toParts
      ? `let at = 2 * (part * numbers.outputs + output);
  store_out(at, bitcast<i32>(state.x));
  store_out(at + 1, bitcast<i32>(state.y));`
      : `store_out(output, ${result});`
  }
}`,
  };
});

export function planReduce({ operation, x, out, outer, n, inner }: ReduceCall, workspace: Workspace): Plan {
  const outputs = outer * inner;
  const wideFor = (rows: number, inner: number) =>
    rows <= FEW_ROWS || (workspace.device.isSoftware && outputs >= MANY_OUTPUTS)
      ? LANES
      : Math.min(LANES, 2 ** Math.ceil(Math.log2(inner)));
  const wide = wideFor(n, inner);
  const run = (LANES / wide) * DEPTH;
  const parts = Math.ceil(n / run);
  const dispatch = (
    from: Region,
    to: Region,
    form: Omit<Form, 'operation'>,
    numbers: Record<'rows' | 'inner' | 'run' | 'wide', number>,
  ) => ({
    kernel: reduceKernel({ operation, ...form }),
    operands: { x: flat(from), out: flat(to) },
    numbers: { n, outputs, ...numbers },
    tasks: Math.ceil(outputs / numbers.wide) * Math.ceil(numbers.rows / numbers.run),
    operations: 8 * outputs * numbers.rows,
  });
  const ofElements = { rows: n, inner, run, wide };
  if (parts === 1) return { dispatches: [dispatch(x, out, { ofParts: false, toParts: false }, ofElements)] };
  const states = workspace.scratch([parts, outputs, 2], 'i32');
  const ofStates = { rows: parts, inner: outputs, run: parts, wide: wideFor(parts, outputs) };
  return {
    dispatches: [
      dispatch(x, states, { ofParts: false, toParts: true }, ofElements),
      dispatch(states, out, { ofParts: true, toParts: false }, ofStates),
    ],
  };
}
