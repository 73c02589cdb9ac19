import type { AttentionBackwardCall, AttentionCall } from '../attention/call';

interface Grouped {
  /** Tokens of a block, without the landmark behind them. */
  readonly block: number;
}

export interface LandmarkCall extends AttentionCall, Grouped {}
export interface LandmarkBackwardCall extends AttentionBackwardCall, Grouped {}
