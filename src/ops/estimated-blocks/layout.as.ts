/** What both halves of the kernels know of how a call's memory lies. */
import { dot } from '../../runtime/wasm/assembly/vector.as';
import { EstimatedBlocksParams, KEYS } from './params.generated.as';

/** Added to the integers of keys. */
export const SHIFT: i32 = 8;
/** Queries whose norms tell what a typical one is. */
const SAMPLES: i32 = 32;

@inline
export function depthOf(p: EstimatedBlocksParams): i32 {
  return (p.d + 15) & ~15;
}

/** Keys of a block with those that fill it up. */
@inline
export function keysOf(p: EstimatedBlocksParams): i32 {
  return (p.keyBlock + KEYS - 1) / KEYS * KEYS;
}

@inline
export function blocksOf(p: EstimatedBlocksParams): i32 {
  return (p.m + p.keyBlock - 1) / p.keyBlock;
}

@inline
export function rowOf(x: usize, batch: i32, tokens: i32, token: i32, heads: i32, head: i32, d: i32): usize {
  return x + (<usize>((batch * tokens + token) * heads + head) * <usize>d << 2);
}

@inline
export function rowDot(a: usize, b: usize, d: i32): f32 {
  const whole = d & ~3;
  let sum: f32 = whole > 0 ? dot(a, b, <usize>whole << 2) : 0;
  for (let c = whole; c < d; c++) sum += f32.load(a + (<usize>c << 2)) * f32.load(b + (<usize>c << 2));
  return sum;
}

/** The norm of queries that share a head of keys, on average over some of them. */
export function typicalNorm(p: EstimatedBlocksParams, batch: i32, head: i32): f32 {
  const shared = p.h / p.g;
  const samples = min(SAMPLES, p.n);
  let sum: f32 = 0;
  for (let own = head * shared; own < (head + 1) * shared; own++) {
    const reaches = p.rowReaches + (<usize>((batch * p.h + own) * p.n) << 3);
    for (let at: i32 = 0; at < samples; at++) sum += f32.load(reaches + (<usize>(at * (p.n / samples)) << 3), 4);
  }
  return sum / <f32>(shared * samples);
}
