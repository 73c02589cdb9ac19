/**
 * Convolutions on a GPU: each lane has four channels of some results of a row, a phase apart. Where groups have few channels the
 * four are one of four groups; else they are outputs of one group.
 */
import { type Dispatch, type Kernel, type Region, u32s, variants } from '../../runtime/webgpu/kernel';
import type { Code } from '../../runtime/webgpu/kernels/expressions';
import { functions } from '../../runtime/webgpu/kernels/functions';
import { sumOfParts } from '../../runtime/webgpu/kernels/parts';
import type { Plan, Workspace } from '../../runtime/webgpu/plan';
import type { Elements } from '../../tensor/elements';
import { rowMajorStrides, sizeOf } from '../../tensor/shape';
import { codeOf } from '../map/webgpu';
import { type Axis, type ConvCall, extentsOf, operationsOf } from './call';

const INVOCATIONS = 64;

/** Results of a lane. */
const RESULTS = 4;

/** Lanes that keep a device busy. */
const BUSY = { software: 128, hardware: 2 ** 15 };

const repeat = (count: number, of: (index: number) => string) =>
  Array.from({ length: count }, (_, i) => of(i)).join('\n      ');

const AXES = ['z', 'y', 'x'] as const;
const OF_AXIS = ['extent', 'results', 'taps', 'stride', 'dilation', 'up', 'before'] as const;

interface Variant {
  readonly isGrouped: boolean;
  readonly isBiased: boolean;
  readonly epilogue: Pick<Code, 'functions' | 'text' | 'numbers'> | undefined;
}

const convKernel = variants(({ isGrouped, isBiased, epilogue }: Variant): Kernel => {
  /** A multiple of four channels of a group, or of a group. */
  const x = (p: number) =>
    isGrouped
      ? `load4_x(at_x(picture, slice, row, u32(column_${p}), input, first))`
      : `vec4f(load_x(at_x(picture, slice, row, u32(column_${p}), group, input)))`;
  const weight = isGrouped
    ? 'load4_weight(at_weight(output, input, u, v, w, first))'
    : 'load4_weight(at_weight(group, input, u, v, w, first))';
  const inner = isGrouped ? 'output, first' : 'group, first';
  return {
    name: `convolution of ${isGrouped ? 'groups' : 'channels'}`,
    invocations: INVOCATIONS,
    operands: {
      x: { access: 'read', rank: 6, ...(isGrouped && { vector: true }) },
      weight: { access: 'read', rank: 6, vector: true },
      ...(isBiased && { bias: { access: 'read', rank: 2, vector: true } as const }),
      out: { access: 'write', rank: 7, vector: true },
    },
    numbers: {
      ...u32s('groups', 'outputs', 'inputs', 'quads', 'others', 'strips', 'lanes', 'part', 'parts'),
      ...Object.fromEntries(AXES.flatMap((axis) => OF_AXIS.map((name) => [`${axis}_${name}`, 'i32' as const]))),
      ...epilogue?.numbers,
    },
    body: `
${epilogue ? `${functions(...epilogue.functions)}\n${epilogue.text}` : ''}
// The element that a result and a tap meet, -1 for none.
fn met(at: i32, up: i32, extent: i32) -> i32 {
  if (at < 0 || at % up != 0 || at / up >= extent) { return -1; }
  return at / up;
}
fn run(task: u32, lane: u32) {
  let id = task * ${INVOCATIONS} + lane;
  if (id >= numbers.lanes) { return; }
  let first = 4 * (id % numbers.quads);
  var rest = id / numbers.quads;
  let strip = i32(rest % numbers.strips);
  rest /= numbers.strips;
  let y = i32(rest) % numbers.y_results;
  rest /= u32(numbers.y_results);
  let z = i32(rest) % numbers.z_results;
  rest /= u32(numbers.z_results);
  let ${isGrouped ? 'output' : 'group'} = rest % numbers.others;
  rest /= numbers.others;
  let part = rest % numbers.parts;
  let picture = rest / numbers.parts;
  let begin = strip % numbers.x_up + strip / numbers.x_up * ${RESULTS} * numbers.x_up;
  ${repeat(RESULTS, (p) => `var sum_${p} = vec4f(0.0);`)}
  let count = numbers.inputs * u32(numbers.z_taps * numbers.y_taps);
  let end = min(count, (part + 1) * numbers.part);
  for (var each = part * numbers.part; each < end; each++) {
    let v = each % u32(numbers.y_taps);
    let u = each / u32(numbers.y_taps) % u32(numbers.z_taps);
    let input = each / u32(numbers.y_taps * numbers.z_taps);
    let from_z = met(z * numbers.z_stride + i32(u) * numbers.z_dilation - numbers.z_before, numbers.z_up, numbers.z_extent);
    let from_y = met(y * numbers.y_stride + i32(v) * numbers.y_dilation - numbers.y_before, numbers.y_up, numbers.y_extent);
    if (from_z < 0 || from_y < 0) { continue; }
    let slice = u32(from_z);
    let row = u32(from_y);
    for (var w = 0u; w < u32(numbers.x_taps); w++) {
      let at = begin * numbers.x_stride + i32(w) * numbers.x_dilation - numbers.x_before;
      // Results of a lane are of one phase, so that a tap meets x at all of them or at none.
      if (((at % numbers.x_up) + numbers.x_up) % numbers.x_up != 0) { continue; }
      let tap = ${weight};
      ${repeat(
        RESULTS,
        (p) => `let column_${p} = met(at + ${p} * numbers.x_up * numbers.x_stride, numbers.x_up, numbers.x_extent);
      if (column_${p} >= 0) { sum_${p} = fma(${x(p)}, tap, sum_${p}); }`,
      )}
    }
  }
  ${isBiased ? `let bias = select(vec4f(0.0), load4_bias(at_bias(${isGrouped ? 'output' : 'group'}, first)), part == 0);` : ''}
  ${repeat(
    RESULTS,
    (p) => `if (begin + ${p} * numbers.x_up < numbers.x_results) {
        let sum = sum_${p}${isBiased ? ' + bias' : ''};
        let done = ${epilogue ? `vec4f(${['x', 'y', 'z', 'w'].map((c) => `mapped(sum.${c})`).join(', ')})` : 'sum'};
        let to = at_out(part, picture, u32(z), u32(y), u32(begin + ${p} * numbers.x_up), ${inner});
        store4_out(to, done, numbers.${isGrouped ? 'groups' : 'outputs'} - first);
      }`,
  )}
}`,
  };
});

/** With the axes in another order, and others in front. */
const viewed = (
  x: Elements,
  order: readonly number[],
  lead: readonly (readonly [extent: number, stride: number])[] = [],
): Region => ({
  storage: x.storage,
  dtype: x.dtype,
  offset: x.offset,
  shape: [...lead.map(([extent]) => extent), ...order.map((axis) => x.shape[axis] as number)],
  strides: [...lead.map(([, stride]) => stride), ...order.map((axis) => x.strides[axis] as number)],
});

export function planConv(call: ConvCall, workspace: Workspace): Plan {
  const { x, weight, bias, epilogue, out, results, axes } = call;
  const all = extentsOf(call);
  const isGrouped = all.outputs < 4 && all.groups > 1;
  const quads = Math.ceil((isGrouped ? all.groups : all.outputs) / 4);
  const others = isGrouped ? all.outputs : all.groups;
  const [z, y, columns] = all.results;
  const up = axes[2].up;
  const strips = up * Math.ceil(Math.ceil(columns / up) / RESULTS);
  const busy = BUSY[workspace.device.isSoftware ? 'software' : 'hardware'];
  const rows = all.inputs * all.taps[0] * all.taps[1];
  const lanesOfPart = all.batch * others * z * y * strips * quads;
  // Only gradients with respect to kernels have few results, and no epilogue.
  const wanted = epilogue ? 1 : Math.min(rows, Math.max(1, Math.floor(busy / lanesOfPart)));
  const part = Math.ceil(rows / wanted);
  const parts = Math.ceil(rows / part);
  const partial = parts > 1 ? workspace.scratch([parts, out.size]) : undefined;
  const to = partial ? { ...results, storage: partial.storage, offset: partial.offset } : results;
  const inner = isGrouped ? [5, 4] : [4, 5];
  const code = epilogue && codeOf(epilogue.compiled, [out]);
  const extents = [all.groups, all.outputs];
  const biasOrder = isGrouped ? [1, 0] : [0, 1];
  const ofAxis = (axis: Axis, at: number) => ({
    extent: all.extents[at] as number,
    results: all.results[at] as number,
    taps: all.taps[at] as number,
    ...axis,
  });
  const dispatches: Dispatch[] = [
    {
      kernel: convKernel({
        isGrouped,
        isBiased: bias !== undefined,
        epilogue: code && { functions: code.functions, text: code.text, numbers: code.numbers },
      }),
      operands: {
        x: viewed(x, [0, 1, 2, 3, ...inner]),
        weight: viewed(weight, isGrouped ? [1, 2, 3, 4, 5, 0] : [0, 2, 3, 4, 5, 1]),
        ...(bias && {
          bias: viewed(
            {
              ...bias,
              storage: bias.storage,
              dtype: bias.dtype,
              offset: bias.offset,
              shape: extents,
              strides: rowMajorStrides(extents),
            },
            biasOrder,
          ),
        }),
        out: viewed(to, [0, 1, 2, 3, ...inner], [[parts, out.size]]),
      },
      numbers: {
        groups: all.groups,
        outputs: all.outputs,
        inputs: all.inputs,
        quads,
        others,
        strips,
        lanes: lanesOfPart * parts,
        part,
        parts,
        ...Object.fromEntries(
          axes.flatMap((axis, at) =>
            Object.entries(ofAxis(axis, at)).map(([name, value]) => [`${AXES[at]}_${name}`, value]),
          ),
        ),
        ...code?.values,
        ...Object.fromEntries((epilogue?.numbers ?? []).map((value, at) => [`c${at}`, value])),
      },
      tasks: Math.ceil((lanesOfPart * parts) / INVOCATIONS),
      operations: 2 * out.size * all.inputs * sizeOf(all.taps),
      usual: operationsOf(call),
    },
  ];
  if (partial) dispatches.push(sumOfParts(partial, out));
  return { dispatches };
}
