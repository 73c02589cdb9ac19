import { struct } from '../../runtime/cpu/struct';

export const ReluAttentionParams = struct({
  n: 'i32',
  h: 'i32',
  g: 'i32',
  d: 'i32',
  e: 'i32',
  block: 'i32',
  causal: 'bool',
  scale: 'f64',
  q: 'tensor',
  k: 'tensor',
  v: 'tensor',
  out: 'tensor',
  /** For the backward pass; otherwise 0. */
  gradOut: 'tensor',
  gradQ: 'tensor',
  gradK: 'tensor',
  gradV: 'tensor',
});
