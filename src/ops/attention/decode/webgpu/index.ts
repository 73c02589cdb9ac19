/**
 * Attention of few queries and many keys, as in decoding, from tensors or from the pages of a cache. The heads that share a
 * key/value head share its reads: their queries are the rows of a task, whose keys are split over workgroups, panel by
 * panel in turn. Each leaves its outputs, not yet divided, with the maximum and the sum of its scores; a second kernel
 * merges them.
 */
import type { Dispatch } from '../../../../runtime/webgpu/kernel';
import type { Workspace } from '../../../../runtime/webgpu/plan';
import type { CacheDType } from '../../../cache/layout';
import type { TileCut, TileMap } from '../../block-map/webgpu';
import { INVOCATIONS } from '../../forward/webgpu/careful';
import type { ScoreCode } from '../../score/webgpu';
import { type Attended, attentionDispatch } from '../../webgpu/common';
import { sizesOf } from '../../webgpu/sizes';
import { mergeKernel } from './merge';
import { bytesOf, partKernel } from './part';
import type { DecodeVariant } from './rows';

/** How few queries are cut: tiles of more than there are, and panels that are pages. */
export const DECODE_CUT: TileCut = { queries: 16, keys: 32 };
/** The fewest panels in a part. */
const PANELS = 4;
/** Rows of a task: pipelines are few. */
const ROWS = [1, 4, 8];

/** Rows of a call that see alike. */
export interface Decoded {
  readonly call: Attended;
  /** How many of its batches. */
  readonly batches: number;
  /** Key/value heads. */
  readonly g: number;
  /** Cut by `DECODE_CUT`. */
  readonly map: TileMap;
  readonly score: ScoreCode;
  /** Slots of a tile that queries may be in. */
  readonly width: number;
  /** Where keys and values are, if in pages: of all slabs, and for each of them. */
  readonly pages?: {
    readonly dtype: CacheDType;
    readonly shared: Inputs;
    readonly slabs: readonly Inputs[];
  };
}

type Inputs = Pick<Dispatch, 'operands' | 'numbers'>;

const NOTHING: Inputs = { operands: {}, numbers: {} };

/** A dispatch for each slab, and the one that merges what they leave. */
export function decode(
  { call, batches, g, map, score, width, pages }: Decoded,
  workspace: Workspace,
): { readonly parts: Dispatch[]; readonly merge: Dispatch } {
  const { device } = workspace;
  const [, , h, d] = call.q.shape as [number, number, number, number];
  const e = call.out.shape[3] as number;
  const repeat = h / g;
  const maps = map.words.subarray(0, pages ? h : batches * h);
  const together = maps.every((list, at) => list === maps[at - (at % repeat)]) ? repeat : 1;
  const fitting = ROWS.filter((rows) => bytesOf(rows) <= device.limits.maxComputeWorkgroupStorageSize);
  const rows = fitting.find((rows) => together * width <= rows) ?? (fitting.at(-1) as number);
  const chunks = Math.ceil((together * width) / rows);
  const groups = h / together;
  const tasks = batches * groups * map.owners * chunks;
  const splits = Math.max(1, Math.min(Math.ceil(sizesOf(device).workgroups / tasks), Math.floor(map.most / PANELS)));
  const quads = 2 ** Math.ceil(Math.log2(Math.ceil(e / 4)));
  const variant: DecodeVariant = {
    cut: map.cut,
    score: score.shader,
    isModified: call.score !== undefined,
    rows,
    pages: pages?.dtype,
  };
  const { operands, numbers } = pages?.shared ?? NOTHING;
  const slabs = pages?.slabs ?? [NOTHING];
  const partsOfRow = splits * slabs.length;
  const shared = {
    parts: workspace.scratch([Math.max(1, tasks * partsOfRow * rows * (8 * quads + 4))]),
    ...operands,
  };
  const common = {
    repeat,
    together,
    groups,
    width,
    chunks,
    splits,
    quads,
    key_groups: INVOCATIONS / quads,
    parts_of_row: partsOfRow,
    first_part: 0,
    ...numbers,
  };
  const panels = (map.visited / together) * chunks * (pages ? batches : 1);
  return {
    parts: slabs.map((slab, at) =>
      attentionDispatch(partKernel(variant), call, map, score, workspace, {
        operands: { ...shared, ...slab.operands },
        numbers: { ...common, ...slab.numbers, first_part: at * splits },
        tasks: tasks * splits,
        operations: 2 * (d + e) * panels * rows * DECODE_CUT.keys,
      }),
    ),
    merge: attentionDispatch(mergeKernel(variant), call, map, score, workspace, {
      operands: shared,
      numbers: common,
      tasks: tasks * rows,
      operations: tasks * rows * partsOfRow * (4 * e + 8),
    }),
  };
}
