import type { Host } from '../../runtime/op';
import type { RandomCall } from './call';

/** In float64, from the same bits. */
export function random({ out, seed, distribution }: RandomCall, { store }: Host): void {
  const values = new Float64Array(4 * Math.ceil(out.size / 4));
  for (let at = 0; at < values.length; at += 4) {
    const words = philox([(at / 4) % 2 ** 32, Math.floor(at / 4 / 2 ** 32), 0, 0], seed);
    if (distribution === 'uniform') values.set(words.map(uniform), at);
    else values.set([...pair(words[0], words[1]), ...pair(words[2], words[3])], at);
  }
  store(out, values.subarray(0, out.size));
}

type Words = readonly [number, number, number, number];

/** Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011. */
export function philox([a, b, c, d]: Words, [low, high]: readonly [number, number]): Words {
  let [key0, key1] = [low, high];
  for (let round = 0; round < 10; round++) {
    const first = BigInt(a) * 0xd2511f53n;
    const second = BigInt(c) * 0xcd9e8d57n;
    const [upper0, upper1] = [Number(first >> 32n), Number(second >> 32n)];
    [a, b, c, d] = [
      (upper1 ^ b ^ key0) >>> 0,
      Number(second & 0xffffffffn),
      (upper0 ^ d ^ key1) >>> 0,
      Number(first & 0xffffffffn),
    ];
    key0 = (key0 + 0x9e3779b9) >>> 0;
    key1 = (key1 + 0xbb67ae85) >>> 0;
  }
  return [a, b, c, d];
}

const uniform = (word: number) => (word >>> 8) / 2 ** 24;

/** All 32 bits of small words count, as the logarithm sees them. */
function pair(first: number, second: number): [number, number] {
  const share = first < 2 ** 24 ? Math.max(first, 1) / 2 ** 32 : uniform(first);
  const radius = Math.sqrt(-2 * Math.log(share));
  const angle = 2 * Math.PI * uniform(second);
  return [radius * Math.cos(angle), radius * Math.sin(angle)];
}
