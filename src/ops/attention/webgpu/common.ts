/** What the kernels of attention's forward pass share: operands, places, and how a row ends. */

import type { Dispatch, Kernel, Region } from '../../../runtime/webgpu/kernel';
import { functions } from '../../../runtime/webgpu/kernels/functions';
import type { Workspace } from '../../../runtime/webgpu/plan';
import { TILES, tilesCode, tilesOf } from '../block-map/tiles';
import type { TileCut, TileMap } from '../block-map/webgpu';
import type { AttentionCall } from '../call';
import { type ScoreCode, type ScoreShader, scoreOperands } from '../score/webgpu';

/** What of a problem a pipeline depends on. */
export interface AttentionVariant {
  readonly cut: TileCut;
  readonly score: ScoreShader;
  /** Whether there is a modifier. */
  readonly isModified: boolean;
}

interface Definition {
  readonly name: string;
  readonly invocations: number;
  readonly variant: AttentionVariant;
  readonly subgroups?: boolean;
  readonly alike?: boolean;
  /** Beside the map and the score's; default: q, k, v, out and lse, which are only written. */
  readonly operands?: Kernel['operands'];
  readonly numbers?: Kernel['numbers'];
  /** From functions.ts. */
  readonly needs?: Parameters<typeof functions>;
  readonly body: string;
}

export const INPUTS: Kernel['operands'] = {
  q: { access: 'read', rank: 4, vector: true },
  k: { access: 'read', rank: 4, vector: true },
  v: { access: 'read', rank: 4, vector: true },
};

export const RESULTS: Kernel['operands'] = {
  out: { access: 'write', rank: 4, vector: true },
  lse: { access: 'write', rank: 3 },
};

/**
 * A kernel over the tiles of a map. Its body has the functions of tiles.ts and score.ts, and
 *
 *   place_of(task)        the Place of a task: batch, head, key_head, row (of the map) and tile
 *   numbers.factor        on products of queries and keys: the scale, times log2(e) if there is no modifier
 *   kept(x, count)        the first `count` components of a vector, then zeros
 *   largest(x), has_special(x), special(x)
 *                         the largest component; whether one is NaN or infinite
 *   finish_row(place, query, top, sum, others, writes)
 *                         the factor on the row's outputs, from the maximum of its scores in bits and the sum of
 *                         exponentials of what they are below it; writes lse, or NaN if the row must be done again with care
 *   store_columns(place, query, c, x)
 */
export function attentionKernel({
  name,
  invocations,
  variant,
  subgroups,
  alike,
  operands = { ...INPUTS, ...RESULTS },
  numbers = {},
  needs = [],
  body,
}: Definition): Kernel {
  const { score, cut } = variant;
  const finishes = 'out' in operands;
  return {
    name,
    invocations,
    ...(subgroups && { subgroups }),
    ...(alike && { alike }),
    operands: { ...operands, map: TILES.operand, ...score.operands },
    numbers: {
      h: 'u32',
      repeat: 'u32',
      d: 'u32',
      e: 'u32',
      scale: 'f32',
      factor: 'f32',
      ...TILES.numbers,
      ...numbers,
      ...score.numbers,
    },
    body: [
      functions('is_nan', 'not_a_number', 'precise_log', ...needs, ...score.functions),
      ...[score.text, tilesCode(cut), COMMON, finishes ? FINISH : '', body],
    ].join('\n'),
  };
}

const COMMON = `
const LOWEST = -3.4028234e38;

struct Place { batch: u32, head: u32, key_head: u32, row: u32, tile: u32 }
fn place_of(task: u32) -> Place {
  let row = task / numbers.map_owners;
  let head = row % numbers.h;
  return Place(row / numbers.h, head, head / numbers.repeat, row, owner_of(row, task % numbers.map_owners));
}
fn kept(x: vec4f, count: u32) -> vec4f {
  if (count >= 4) { return x; }
  return select(vec4f(), x, vec4u(0, 1, 2, 3) < vec4u(count));
}
fn largest(x: vec4f) -> f32 { return max(max(x.x, x.y), max(x.z, x.w)); }
fn special(x: f32) -> bool { return (bitcast<u32>(x) & 0x7f800000) == 0x7f800000; }
fn has_special(x: vec4f) -> bool { return any((bitcast<vec4u>(x) & vec4u(0x7f800000)) == vec4u(0x7f800000)); }
`;

const FINISH = `
fn finish_row(place: Place, query: u32, top: f32, sum: f32, others: u32, writes: bool) -> f32 {
  let at = at_lse(place.batch, query, place.head);
  if (others == 0) {
    if (writes) { store_lse(at, -numbers.infinity); }
    return 0.0;
  }
  let is_done = sum > 0.0 && !special(sum) && !special(top);
  if (writes) { store_lse(at, select(not_a_number(), top * ${Math.LN2} + precise_log(sum), is_done)); }
  return 1.0 / sum;
}
fn store_columns(place: Place, query: u32, c: u32, x: vec4f) {
  if (c < numbers.e) { store4_out(at_out(place.batch, query, place.head, c), x, numbers.e - c); }
}`;

const LEAST = 2 ** -126;

/** A call, the keys and values of which may be what `more` gives a kernel in place of tensors. */
export type Attended = Pick<AttentionCall, 'q' | 'out' | 'lse' | 'scale' | 'score'> & Partial<AttentionCall>;

/** The dispatch of a kernel for a call: a task for each tile of each head unless `more` says otherwise. */
export function attentionDispatch(
  kernel: Kernel,
  { q, k, v, out, lse, scale: asked, score: modifier }: Attended,
  map: TileMap,
  score: ScoreCode,
  workspace: Workspace,
  more: Partial<Omit<Dispatch, 'kernel'>> = {},
): Dispatch {
  const [b, , h, d] = q.shape as [number, number, number, number];
  const e = out.shape[3] as number;
  // Numbers below f32's would make 0 of it, and NaN of infinite products.
  const scale = asked === 0 ? 0 : Math.sign(asked) * Math.max(Math.abs(asked), LEAST);
  const all: Record<string, Region> = {
    q,
    ...(k && v && { k, v }),
    out,
    lse,
    map: tilesOf(map, workspace),
    ...scoreOperands(score, workspace),
    ...more.operands,
  };
  return {
    kernel,
    operands: Object.fromEntries(Object.keys(kernel.operands).map((name) => [name, all[name] as Region])),
    numbers: {
      ...{
        h,
        d,
        e,
        ...(k && { repeat: h / (k.shape[2] as number) }),
        scale,
        factor: modifier ? scale : scale * Math.LOG2E,
      },
      ...map.numbers,
      ...score.numbers,
      ...more.numbers,
    },
    tasks: more.tasks ?? b * h * map.owners,
    operations: more.operations ?? 2 * (d + e) * map.visited * map.cut.queries * map.cut.keys,
  };
}
