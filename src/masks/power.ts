/**
 * PowerAttention: besides a few sink blocks and a short window, a block sees the blocks at distances that are powers
 * of two, so that every earlier block is reached in a logarithmic number of layers. With it the masks it is compared to.
 * Source: Chen et al. 2025, arXiv 2503.03588, algorithms 1 to 4; LongNet, algorithm 5, has a file of its own.
 */
import { checkParams } from '../check';
import { band, causal } from './band';
import { blocks } from './blocks';
import { checkWhole } from './check';
import { and, or } from './combine';
import { dilated } from './dilated';
import { sinks } from './first';
import { runsOf } from './intervals';
import { interned, type Mask } from './mask';
import { strided } from './strided';

/** Everything in blocks of `block` tokens. */
export interface SinkAndWindow {
  readonly block: number;
  /** Blocks of the window, the query's own included. */
  readonly window: number;
  /** First blocks that all see; default: 1. */
  readonly sink?: number | undefined;
}

const SINK_AND_WINDOW = ['block', 'window', 'sink'];

/** Sink, window, and the blocks at distances that are powers of two; causal. */
export function power(params: SinkAndWindow): Mask {
  checkParams('power', params, SINK_AND_WINDOW);
  return sinkWindowAnd(params, [powersOfTwo()]);
}

/** Sink and window; causal. */
export function slidingBlocks(params: SinkAndWindow): Mask {
  checkParams('slidingBlocks', params, SINK_AND_WINDOW);
  return sinkWindowAnd(params, []);
}

/** Sink, window, and every `stride`-th block back from the query's; causal. */
export function strideSlash(params: SinkAndWindow & { readonly stride: number }): Mask {
  checkParams('strideSlash', params, [...SINK_AND_WINDOW, 'stride']);
  const { stride } = params;
  return sinkWindowAnd(params, [strided(stride)]);
}

/** Every `step`-th block back from the query's, less than `reach` blocks away; causal. */
export function dilatedBlocks(params: Readonly<Record<'block' | 'reach' | 'step', number>>): Mask {
  checkParams('dilatedBlocks', params, ['block', 'reach', 'step']);
  const { block, reach, step } = params;
  checkWhole('reach of dilated blocks', reach, 1);
  return and(causal(), blocks(block, dilated(reach - 1, step)));
}

/** The keys at distance 0, 1, 2, 4, 8, ... before the query's position. */
export function powersOfTwo(): Mask {
  return interned({
    name: 'powers of two',
    sees(i, j, { n, m }) {
      const distance = i + m - n - j;
      return distance >= 0 && (distance & (distance - 1)) === 0;
    },
    intervals(i, { n, m }) {
      const position = i + m - n;
      if (position < 0) return [];
      const keys = [position];
      for (let distance = 1; distance <= position; distance *= 2) keys.push(position - distance);
      return runsOf(keys.reverse());
    },
  });
}

function sinkWindowAnd({ block, window, sink = 1 }: SinkAndWindow, others: readonly Mask[]): Mask {
  checkWhole('window', window, 1);
  return and(causal(), blocks(block, or(band(window - 1, 0), ...others, sinks(sink))));
}
