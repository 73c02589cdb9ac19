/**
 * Convolutions of each channel on its own, channels last, and the gradient with respect to their kernels. A lane has a
 * quad of channels
 * and slides along a row of the picture: with its pixels a dilation apart, a pixel that one tap meets serves the next.
 */

import { type Dispatch, type Kernel, variants } from '../../runtime/webgpu/kernel';
import { sumOfParts } from '../../runtime/webgpu/kernels/parts';
import type { Plan, Workspace } from '../../runtime/webgpu/plan';
import type { DepthwiseConvCall, DepthwiseConvWeightsCall } from './reference';

const INVOCATIONS = 64;

/** Results of a lane, a dilation apart: many where many taps share what is loaded. */
const FEW = 4;
const MANY = 8;
const MANY_TAPS = 25;

const repeat = (count: number, of: (index: number) => string) =>
  Array.from({ length: count }, (_, i) => of(i)).join('\n      ');

const EXTENTS = {
  rows: 'u32',
  columns: 'u32',
  channels: 'u32',
  quads: 'u32',
  tall: 'u32',
  wide: 'u32',
  down: 'u32',
  right: 'u32',
} as const;

/** Where the picture's pixels lie; zeros around it, as rows are left out and columns looked at. */
const PIXELS = `
fn pixel(picture: u32, row: u32, column: i32, channel: u32) -> u32 {
  return ((picture * numbers.rows + row) * numbers.columns + u32(column)) * numbers.channels + channel;
}
fn x_at(picture: u32, row: u32, column: i32, channel: u32) -> vec4f {
  if (column < 0 || column >= i32(numbers.columns)) { return vec4f(0.0); }
  return load4_x(pixel(picture, row, column, channel));
}`;

/** `slots` window values, of which the one that step `s` needs anew is loaded, for as long as `condition` holds. */
const slide = (
  slots: number,
  condition: (s: number) => string,
  load: (s: number) => string,
  use: (s: number) => string,
) =>
  repeat(
    slots,
    (s) => `if (!(${condition(s)})) { break; }
      x_${(s + slots - 1) % slots} = ${load(s)};
      ${use(s)}`,
  );

const convKernel = variants(
  ({ hasBias, results }: { hasBias: boolean; results: number }): Kernel => ({
    name: 'depthwise convolution',
    invocations: INVOCATIONS,
    operands: {
      x: { access: 'read', vector: true },
      weight: { access: 'read', vector: true },
      ...(hasBias ? { bias: { access: 'read', vector: true } as const } : {}),
      out: { access: 'write', vector: true },
    },
    numbers: { ...EXTENTS, flipped: 'u32', strips: 'u32', lanes: 'u32' },
    body: `
${PIXELS}
fn run(task: u32, lane: u32) {
  let id = task * ${INVOCATIONS} + lane;
  if (id >= numbers.lanes) { return; }
  let channel = 4 * (id % numbers.quads);
  let strip = (id / numbers.quads) % numbers.strips;
  let row = (id / numbers.quads / numbers.strips) % numbers.rows;
  let picture = id / numbers.quads / numbers.strips / numbers.rows;
  let right = i32(numbers.right);
  let first = i32(strip % numbers.right) + i32(strip / numbers.right) * ${results} * right;
  ${repeat(results, (p) => `var sum_${p} = ${hasBias ? 'load4_bias(channel)' : 'vec4f(0.0)'};`)}
  for (var u = 0u; u < numbers.tall; u++) {
    let from_row = i32(row) + (i32(u) - i32(numbers.tall / 2)) * i32(numbers.down);
    if (from_row < 0 || from_row >= i32(numbers.rows)) { continue; }
    let left = first - i32(numbers.wide / 2) * right;
    ${repeat(results - 1, (p) => `var x_${p} = x_at(picture, u32(from_row), left + ${p} * right, channel);`)}
    var x_${results - 1} = vec4f(0.0);
    for (var w = 0u; w < numbers.wide; w += ${results}) {
      ${slide(
        results,
        (s) => `w + ${s} < numbers.wide`,
        (s) => `x_at(picture, u32(from_row), left + (i32(w) + ${s + results - 1}) * right, channel)`,
        (s) => `let tap_${s} = tap_at(u, w + ${s}, channel);
      ${repeat(results, (p) => `sum_${p} = fma(x_${(s + p) % results}, tap_${s}, sum_${p});`)}`,
      )}
    }
  }
  ${repeat(
    results,
    (p) => `if (first + ${p} * right < i32(numbers.columns)) {
        store4_out(pixel(picture, row, first + ${p} * right, channel), sum_${p}, numbers.channels - channel);
      }`,
  )}
}
fn tap_at(u: u32, w: u32, channel: u32) -> vec4f {
  let tap = u * numbers.wide + w;
  let last = numbers.tall * numbers.wide - 1;
  return load4_weight(select(tap, last - tap, numbers.flipped == 1) * numbers.channels + channel);
}`,
  }),
);

export function planDepthwiseConv({ x, weight, bias, out, dilation, flipped }: DepthwiseConvCall): Plan {
  const [batch, rows, columns, channels] = x.shape as [number, number, number, number];
  const [tall, wide] = weight.shape as [number, number];
  const [down, right] = dilation;
  const apart = Math.ceil(columns / right);
  const results = tall * wide >= MANY_TAPS && apart > FEW ? MANY : FEW;
  const strips = right * Math.ceil(apart / results);
  const quads = Math.ceil(channels / 4);
  const lanes = batch * rows * strips * quads;
  return {
    dispatches: [
      {
        kernel: convKernel({ hasBias: bias !== undefined, results }),
        operands: { x, weight, ...(bias ? { bias } : {}), out },
        numbers: { rows, columns, channels, quads, tall, wide, down, right, flipped: Number(flipped), strips, lanes },
        tasks: Math.ceil(lanes / INVOCATIONS),
        operations: 2 * x.size * tall * wide,
      },
    ],
  };
}

/** Each lane has some taps of a row of them, and a part of the pictures' rows. */
const weightsKernel: Kernel = {
  name: 'gradient of depthwise convolution by its kernels',
  invocations: INVOCATIONS,
  operands: {
    x: { access: 'read', vector: true },
    gradOut: { access: 'read', vector: true },
    out: { access: 'write', vector: true },
  },
  numbers: { ...EXTENTS, groups: 'u32', part: 'u32', all_rows: 'u32', lanes: 'u32' },
  body: `
${PIXELS}
fn run(task: u32, lane: u32) {
  let id = task * ${INVOCATIONS} + lane;
  if (id >= numbers.lanes) { return; }
  let channel = 4 * (id % numbers.quads);
  let tap = ${FEW} * ((id / numbers.quads) % numbers.groups);
  let u = (id / numbers.quads / numbers.groups) % numbers.tall;
  let part = id / numbers.quads / numbers.groups / numbers.tall;
  let right = i32(numbers.right);
  let columns = i32(numbers.columns);
  ${repeat(FEW, (p) => `var sum_${p} = vec4f(0.0);`)}
  let end = min(numbers.all_rows, (part + 1) * numbers.part);
  for (var each = part * numbers.part; each < end; each++) {
    let picture = each / numbers.rows;
    let row = each % numbers.rows;
    let from_row = i32(row) + (i32(u) - i32(numbers.tall / 2)) * i32(numbers.down);
    if (from_row < 0 || from_row >= i32(numbers.rows)) { continue; }
    for (var start = 0; start < min(right, columns); start++) {
      let left = start + (i32(tap) - i32(numbers.wide / 2)) * right;
      ${repeat(FEW - 1, (p) => `var x_${p} = x_at(picture, u32(from_row), left + ${p} * right, channel);`)}
      var x_${FEW - 1} = vec4f(0.0);
      for (var step = 0; start + step * right < columns; step += ${FEW}) {
      ${slide(
        FEW,
        (s) => `start + (step + ${s}) * right < columns`,
        (s) => `x_at(picture, u32(from_row), left + (step + ${s + FEW - 1}) * right, channel)`,
        (s) => `let by_${s} = load4_gradOut(pixel(picture, row, start + (step + ${s}) * right, channel));
      ${repeat(FEW, (p) => `sum_${p} = fma(x_${(s + p) % FEW}, by_${s}, sum_${p});`)}`,
      )}
      }
    }
  }
  ${repeat(
    FEW,
    (p) => `if (tap + ${p} < numbers.wide) {
        let place = (part * numbers.tall + u) * numbers.wide + tap + ${p};
        store4_out(place * numbers.channels + channel, sum_${p}, numbers.channels - channel);
      }`,
  )}
}`,
};

/** Lanes that keep a device busy. */
const BUSY = { software: 128, hardware: 2 ** 15 };

export function planDepthwiseConvWeights(call: DepthwiseConvWeightsCall, workspace: Workspace): Plan {
  const { x, gradOut, out, dilation } = call;
  const [batch, rows, columns, channels] = x.shape as [number, number, number, number];
  const [tall, wide] = out.shape as [number, number];
  const [down, right] = dilation;
  const quads = Math.ceil(channels / 4);
  const groups = Math.ceil(wide / FEW);
  const allRows = batch * rows;
  const wanted = Math.ceil(BUSY[workspace.device.isSoftware ? 'software' : 'hardware'] / (quads * groups * tall));
  const part = Math.ceil(allRows / Math.min(wanted, allRows));
  const parts = Math.ceil(allRows / part);
  const partial = parts > 1 ? workspace.scratch([parts, ...out.shape]) : undefined;
  const lanes = quads * groups * tall * parts;
  const dispatches: Dispatch[] = [
    {
      kernel: weightsKernel,
      operands: { x, gradOut, out: partial ?? out },
      numbers: { rows, columns, channels, quads, tall, wide, down, right, groups, part, all_rows: allRows, lanes },
      tasks: Math.ceil(lanes / INVOCATIONS),
      operations: 2 * x.size * tall * wide,
    },
  ];
  if (partial) dispatches.push(sumOfParts(partial, out));
  return { dispatches };
}
