/**
 * S2-Attention: every head sees its own share of the far blocks, so that heads are cheap and together see everything.
 * Source: Lin et al. 2024, arXiv 2407.17678; the formula: github.com/linxihui/dkernel.
 */
import { checkBoolean, checkKnown, checkParams, show } from '../check';
import { ParameterError, ShapeError } from '../errors';
import { causal } from './band';
import { blocks } from './blocks';
import { checkMask, checkPlace, checkWhole } from './check';
import { and } from './combine';
import type { Intervals } from './intervals';
import { congruent, everyNth, joinIntervals } from './intervals';
import { type Extent, interned, type Mask, type Place } from './mask';

export interface S2Pattern {
  /**
   * Blocks seen nearby on a side, the query's own included; with relative positions also those before and those after,
   * one by one.
   */
  readonly localBlocks: number | readonly [before: number, after: number];
  /** Every n-th of the blocks further away is seen. */
  readonly verticalStride: number;
  /** The shift of the pattern from one key/value head to the next, in blocks; default: max(1, floor(stride / h)). */
  readonly headStep?: number | undefined;
  /** The offset at the first head, in blocks; default: 0. */
  readonly headOffset?: number | undefined;
  /** How many key/value heads, the last ones, see everything; default: 0. */
  readonly denseHeads?: number | undefined;
  /** Whether all heads see what the first does; default: false. */
  readonly homogeneous?: boolean | undefined;
  /** Origin from which far blocks are counted: the first block, causally, or the window, to both sides; default: absolute. */
  readonly positions?: 'absolute' | 'relative' | undefined;
}

const PATTERN = ['localBlocks', 'verticalStride', 'headStep', 'headOffset', 'denseHeads', 'homogeneous', 'positions'];

/** The heads of a problem, without its lengths. */
export type Heads = Pick<Extent, 'h' | 'g'>;

/** The pattern between blocks of `block` tokens; absolute positions make it causal, between tokens too. */
export function s2(params: S2Pattern & { readonly block: number }): Mask {
  checkParams('s2', params, [...PATTERN, 'block']);
  const { block, ...pattern } = params;
  const mask = blocks(block, s2Blocks(pattern));
  return pattern.positions === 'relative' ? mask : and(causal(), mask);
}

/** The pattern between blocks. */
export function s2Blocks(pattern: S2Pattern): Mask {
  const { before, after, verticalStride, denseHeads, homogeneous, positions } = checkPattern(pattern);
  const relative = positions === 'relative';
  const keyHead = ({ head, h, g }: Place) => (homogeneous ? 0 : Math.floor((head * g) / h));
  const dense = (place: Place) => keyHead(place) >= place.g - denseHeads;
  const stripes = (phase: number, least: number, past: number) =>
    everyNth(congruent(phase, least, verticalStride), past, verticalStride);
  const mask = interned<Mask>({
    name: nameOf(pattern),
    sees(i, j, place) {
      const position = i + place.m - place.n;
      if (relative) {
        const beyond = Math.max(0, position - j - before + 1) + Math.max(0, j - position - after + 1);
        return dense(place) || beyond % verticalStride === 0;
      }
      const striped = (j - firstStripe(pattern, keyHead(place), place)) % verticalStride === 0;
      return j <= position && (striped || dense(place) || position - j < before);
    },
    intervals(i, place) {
      const { m } = place;
      const position = i + m - place.n;
      const past = relative ? m : Math.min(m, position + 1);
      if (dense(place)) return run(0, past);
      const local = run(Math.max(0, position - before + 1), Math.min(past, position + after));
      const striped = relative
        ? joinIntervals(
            stripes(position - before + 1, 0, position),
            stripes(position + after - 1, Math.max(0, position), m),
            either,
          )
        : stripes(firstStripe(pattern, keyHead(place), place), 0, past);
      return joinIntervals(local, striped, either);
    },
    variant(place) {
      if (dense(place)) return 'dense';
      return relative ? 'sparse' : congruent(firstStripe(pattern, keyHead(place), place), 0, verticalStride);
    },
    check({ g }) {
      if (denseHeads <= g) return;
      throw new ShapeError(`mask "${mask.name}" needs at least ${denseHeads} key/value heads, got ${g}`);
    },
  });
  return mask;
}

/**
 * How many pairs all heads see, without going through them; undefined for relative positions, or other numbers of keys than
 * queries.
 */
export function s2Pairs(
  { block, ...pattern }: S2Pattern & { readonly block: number },
  extent: Extent,
): number | undefined {
  const { before, verticalStride, denseHeads, homogeneous, positions } = checkPattern(pattern);
  const { b, n, m, h, g } = extent;
  if (positions === 'relative' || n !== m) return undefined;
  let pairs = 0;
  for (let head = 0; head < h; head++) {
    const keyHead = homogeneous ? 0 : Math.floor((head * g) / h);
    const phase = congruent(firstStripe(pattern, keyHead, extent), 0, verticalStride);
    const isDense = keyHead >= g - denseHeads;
    for (let at = 0; at * block < n; at++) {
      const tokens = Math.min(block, n - at * block);
      // Stripes further away than what is local, then what is local.
      const stripes = Math.max(0, Math.floor((at - before - phase) / verticalStride) + 1);
      const seen = isDense ? at + 1 : stripes + Math.min(before, at + 1);
      pairs += tokens * (seen - 1) * block + (tokens * (tokens + 1)) / 2;
    }
  }
  return b * pairs;
}

/**
 * Whether a key that no longer is seen, once it lies before the query's position, never is seen again: then a head may
 * drop it from its cache.
 */
export function isKvCacheEfficient(mask: Mask, place: Place): boolean {
  checkMask('mask', mask);
  checkPlace(place);
  for (let i = 1; i < place.n; i++) {
    for (let j = 0; j < i + place.m - place.n; j++) {
      if (mask.sees(i, j, place) && !mask.sees(i - 1, j, place)) return false;
    }
  }
  return true;
}

/** Whether the heads together see every earlier block; of an absolute pattern. */
export function isUnionComplete(pattern: S2Pattern, heads: Heads): boolean {
  const { verticalStride, denseHeads, homogeneous } = checkPattern(pattern);
  checkHeads(heads);
  if (denseHeads > 0) return true;
  const phases = new Set<number>();
  for (let head = 0; head < (homogeneous ? 1 : heads.g); head++) {
    phases.add(congruent(firstStripe(pattern, head, heads), 0, verticalStride));
  }
  return phases.size === verticalStride;
}

/** The blocks that a query head must keep once block `last` is done: those that a later one sees; absolute only. */
export function cachedBlocks(pattern: S2Pattern, last: number, heads: Heads & { readonly head: number }): Intervals {
  const { positions } = checkPattern(pattern);
  checkHeads(heads);
  checkWhole('head of heads', heads.head, 0, heads.h - 1);
  checkWhole('last', last, 0);
  if (positions === 'relative') {
    throw new ParameterError('positions of a cached pattern must be absolute, got relative: its cache drops nothing');
  }
  // If the next block does not see it, no later one does.
  const place = { ...heads, b: 1, n: last + 2, m: last + 2, batch: 0 };
  const seen = s2Blocks(pattern).intervals?.(last + 1, place) as Intervals;
  return joinIntervals(seen, [0, last + 1], (next, done) => next && done);
}

function checkHeads(heads: Heads): void {
  checkKnown('heads', heads, ['h', 'g', 'head'], (name) => `heads have no '${name}'`);
  checkWhole('h of heads', heads.h, 1);
  checkWhole('g of heads', heads.g, 1, heads.h);
}

/** A block that is a stripe of key/value head `head`. */
function firstStripe({ verticalStride, headStep, headOffset = 0 }: S2Pattern, head: number, { h }: Heads): number {
  return -(head * (headStep ?? Math.max(1, Math.floor(verticalStride / h))) + headOffset);
}

function checkPattern(pattern: S2Pattern) {
  checkKnown('pattern', pattern, PATTERN, (name) => `pattern has no '${name}'`);
  const { localBlocks, verticalStride, headStep = 1, headOffset = 0, denseHeads = 0 } = pattern;
  const { homogeneous = false, positions = 'absolute' } = pattern;
  const [before, after] = sidesOf(localBlocks);
  checkWhole('localBlocks', before, 1);
  checkWhole('localBlocks', after, 1);
  checkWhole('verticalStride', verticalStride, 1);
  checkWhole('headStep', headStep, 0);
  if (!Number.isSafeInteger(headOffset))
    throw new ParameterError(`headOffset must be an integer, got ${show(headOffset)}`);
  checkBoolean('homogeneous', homogeneous);
  checkWhole('denseHeads', denseHeads, 0);
  if (positions !== 'absolute' && positions !== 'relative') {
    throw new ParameterError(`positions must be absolute or relative, got ${show(positions)}`);
  }
  if (typeof localBlocks !== 'number' && positions === 'absolute') {
    throw new ParameterError(`localBlocks must be one number with absolute positions, got [${localBlocks.join(', ')}]`);
  }
  if (homogeneous && denseHeads > 0) {
    throw new ParameterError(`denseHeads must be 0 if all heads are alike, got ${denseHeads}`);
  }
  return { before, after, verticalStride, denseHeads, homogeneous, positions };
}

function sidesOf(localBlocks: S2Pattern['localBlocks']): readonly [before: number, after: number] {
  return Array.isArray(localBlocks)
    ? (localBlocks as [number, number])
    : [localBlocks as number, localBlocks as number];
}

function nameOf({ localBlocks, verticalStride, headStep, headOffset = 0, denseHeads = 0, ...is }: S2Pattern): string {
  const [before, after] = sidesOf(localBlocks);
  return [
    `s2 ${is.positions ?? 'absolute'} local ${before === after ? before : `[${before}, ${after}]`} stride ${verticalStride}`,
    headStep === undefined ? [] : `step ${headStep}`,
    headOffset === 0 ? [] : `offset ${headOffset}`,
    denseHeads === 0 ? [] : `dense ${denseHeads}`,
    is.homogeneous ? 'homogeneous' : [],
  ]
    .flat()
    .join(' ');
}

function run(start: number, end: number): Intervals {
  return start < end ? [start, end] : [];
}

function either(a: boolean, b: boolean): boolean {
  return a || b;
}
