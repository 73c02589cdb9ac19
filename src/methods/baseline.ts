import type { Method } from './define';
import { exactAttention } from './dense/attention';

/** What all others are measured against. */
export const baseline: Method = exactAttention;
