/** Rotary position embeddings: a lane turns one pair of a row in a few heads, which share its cosine and sine. */
import { flat, type Kernel, variants } from '../../runtime/webgpu/kernel';
import { functions } from '../../runtime/webgpu/kernels/functions';
import type { Plan, Workspace } from '../../runtime/webgpu/plan';
import type { RopeCall } from './reference';
import type { Rotation } from './rotation';

const LANES = 64;
/** Heads that a lane takes. */
const HEADS = 8;

interface Variant {
  readonly isInterleaved: boolean;
  readonly hasPositions: boolean;
}

const ropeKernel = variants(
  ({ isInterleaved, hasPositions }: Variant): Kernel => ({
    name: `rope${isInterleaved ? ' interleaved' : ''}`,
    invocations: LANES,
    operands: {
      x: { access: 'read', rank: 4 },
      turns: { access: 'read' },
      ...(hasPositions && { positions: { access: 'read' as const } }),
      out: { access: 'write', rank: 4 },
    },
    numbers: {
      items: 'u32',
      units: 'u32',
      groups: 'u32',
      heads: 'u32',
      rows: 'u32',
      pairs: 'u32',
      ...(hasPositions ? { places: 'u32' } : { first: 'i32' }),
      cosine: 'f32',
      sine: 'f32',
    },
    body: `
${functions('wide_product', 'sine_of_rest', 'cosine_of_rest')}
/// Cosine and sine of pair j: turns in fixed point, 32 bits behind the point, since no float could hold the rest of many.
fn angle_of(position: i32, j: u32) -> vec2f {
  let p = bitcast<u32>(position);
  let low = bitcast<u32>(load_turns(j + numbers.pairs));
  let carried = wide_product(p, low).x - select(0u, low, position < 0);
  let turns = p * bitcast<u32>(load_turns(j)) + carried;
  let quadrant = (turns + 0x20000000) >> 30;
  let rest = f32(bitcast<i32>(turns - (quadrant << 30))) * 1.4629181e-9;
  let pair = vec2f(cosine_of_rest(rest), sine_of_rest(rest));
  let size = select(pair, pair.yx, (quadrant & 1) == 1);
  let is_negative = vec2<bool>(((quadrant + 1) & 2) == 2, (quadrant & 2) == 2);
  return select(size, -size, is_negative) * vec2f(numbers.cosine, numbers.sine);
}
fn run(task: u32, lane: u32) {
  let item = task * ${LANES} + lane;
  if (item >= numbers.items) { return; }
  let unit = item % numbers.units;
  let row = item / numbers.units / numbers.groups;
  let first = item / numbers.units % numbers.groups * ${HEADS};
  let end = min(first + ${HEADS}, numbers.heads);
  let batch = row / numbers.rows;
  let i = row % numbers.rows;
  if (unit >= numbers.pairs) {
    let c = unit + numbers.pairs;
    for (var h = first; h < end; h++) { store_out(at_out(batch, i, h, c), load_x(at_x(batch, i, h, c))); }
    return;
  }
  let position = ${hasPositions ? 'load_positions(row % numbers.places)' : 'numbers.first + i32(i)'};
  let angle = angle_of(position, unit);
  let c = ${isInterleaved ? 'vec2u(2 * unit, 2 * unit + 1)' : 'vec2u(unit, unit + numbers.pairs)'};
  for (var h = first; h < end; h++) {
    let a = load_x(at_x(batch, i, h, c.x));
    let b = load_x(at_x(batch, i, h, c.y));
    store_out(at_out(batch, i, h, c.x), fma(a, angle.x, -(b * angle.y)));
    store_out(at_out(batch, i, h, c.y), fma(b, angle.x, a * angle.y));
  }
}`,
  }),
);

/** Turns from one position to the next, 64 bits behind the point: the high words of all pairs, then the low ones. */
function turnsOf({ quarters }: Rotation): Int32Array {
  const high = quarters.map((quarter) => Math.floor(quarter * 2 ** 30));
  const low = quarters.map((quarter, j) => Math.floor((quarter * 2 ** 30 - (high[j] as number)) * 2 ** 32));
  return Int32Array.from([...high, ...low]);
}

export function planRope({ x, out, positions, offset, rotation, isInverse }: RopeCall, workspace: Workspace): Plan {
  const [n, h, d] = x.shape.slice(-3) as [number, number, number];
  const batches = x.size / (n * h * d);
  const pairs = rotation.quarters.length;
  const [units, groups] = [d - pairs, Math.ceil(h / HEADS)];
  const items = batches * n * groups * units;
  const shape = [batches, n, h, d];
  const inFour = ({ storage, dtype, strides, offset }: typeof x) => ({
    storage,
    dtype,
    offset,
    shape,
    strides: [...(strides.length === 3 ? [0] : []), ...strides],
  });
  const turns = workspace.keep(rotation, 'turns', () => turnsOf(rotation));
  return {
    dispatches: [
      {
        kernel: ropeKernel({ isInterleaved: rotation.isInterleaved, hasPositions: positions !== undefined }),
        operands: { x: inFour(x), turns, ...(positions && { positions: flat(positions) }), out: inFour(out) },
        numbers: {
          items,
          units,
          groups,
          heads: h,
          rows: n,
          pairs,
          ...(positions ? { places: positions.size } : { first: offset }),
          cosine: rotation.amplitude,
          sine: isInverse ? -rotation.amplitude : rotation.amplitude,
        },
        tasks: Math.ceil(items / LANES),
        operations: 8 * x.size + 40 * items,
      },
    ],
  };
}
