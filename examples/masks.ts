// A window of 8 tokens and two sinks, put together from masks of the library; it costs the tiles that it sees.
import { attention, createRuntime, map, max } from 'saccade';
import * as masks from 'saccade/masks';

using runtime = await createRuntime();
const [n, h] = [1024, 4];
const q = runtime.random([1, n, h, 64], { seed: 1 });
const k = runtime.random([1, n, h, 64], { seed: 2 });
const v = runtime.random([1, n, h, 64], { seed: 3 });

const mask = masks.and(masks.causal(), masks.or(masks.band(7, 0), masks.sinks(2)));
const { out } = attention(q, k, v, { mask });

// The same, as a function of batch, head, query and key.
const written = masks.from((b, h, q, k) => k <= q && (q - k < 8 || k < 2));
const { out: same } = attention(q, k, v, { mask: written });

const apart = max(map((x, y) => Math.abs(x - y), out, same));
console.log(masks.maskText(mask, { b: 1, n: 20, m: 20, h: 1, g: 1, batch: 0, head: 0 }, 50));
console.log(
  `${masks.area(mask, { b: 1, n, m: n, h, g: h })} of ${h * n * n} pairs; as a function ${await apart.read()} apart`,
);

// Prints:
//    keys 0 to 19 →, queries 0 to 19 ↓
//  0 ██ · · · · · · · · · · · · · · · · · · ·
//    ████ · · · · · · · · · · · · · · · · · ·
//    ██████ · · · · · · · · · · · · · · · · ·
//    ████████ · · · · · · · · · · · · · · · ·
//    ██████████ · · · · · · · · · · · · · · ·
//    ████████████ · · · · · · · · · · · · · ·
//    ██████████████ · · · · · · · · · · · · ·
//    ████████████████ · · · · · · · · · · · ·
//  8 ██████████████████ · · · · · · · · · · ·
//    ████████████████████ · · · · · · · · · ·
//    ████ ·████████████████ · · · · · · · · ·
//    ████ · ·████████████████ · · · · · · · ·
//    ████ · · ·████████████████ · · · · · · ·
//    ████ · · · ·████████████████ · · · · · ·
//    ████ · · · · ·████████████████ · · · · ·
//    ████ · · · · · ·████████████████ · · · ·
// 16 ████ · · · · · · ·████████████████ · · ·
//    ████ · · · · · · · ·████████████████ · ·
//    ████ · · · · · · · · ·████████████████ ·
// 19 ████ · · · · · · · · · ·████████████████
//    ██ seen   · not seen
// 40780 of 4194304 pairs; as a function 0 apart
