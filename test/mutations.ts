/** Files with random faults, for tests of readers. */

/** Numbers that headers lie with. */
const LIES = [0n, 1n, 255n, 2n ** 16n - 1n, 2n ** 31n - 1n, 2n ** 32n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n];

/** How many mutated files of each format tests try: SACCADE_MUTATIONS, by default `usual`. */
export const mutationCount = (usual: number): number => Number(process.env.SACCADE_MUTATIONS ?? usual);

/** A copy with up to four faults, most of them near the beginning or the end, where headers are. */
export function mutated(file: Uint8Array, random: () => number): Uint8Array {
  let bytes: Uint8Array = file.slice();
  for (let faults = 1 + Math.floor(4 * random()); faults > 0; faults--) bytes = faulty(bytes, random);
  return bytes;
}

function faulty(bytes: Uint8Array, random: () => number): Uint8Array {
  const below = (most: number) => Math.floor(random() * most);
  const near = Math.floor(bytes.length * random() ** 3);
  const at = random() < 0.7 ? near : bytes.length - near;
  const kind = below(10);
  if (kind < 5) bytes[at] = random() < 0.5 ? below(256) : (bytes[at] ?? 0) ^ (1 << below(8));
  else if (kind < 7) {
    const lie = new Uint8Array(BigUint64Array.of(LIES[below(LIES.length)] as bigint).buffer);
    bytes.set(lie.subarray(0, Math.min(random() < 0.5 ? 8 : 4, Math.max(0, bytes.length - at))), at);
  } else {
    const other = below(bytes.length + 1);
    const length = below(40);
    const middle = [new Uint8Array(), bytes.subarray(other, other + length), new Uint8Array(length)][
      kind - 7
    ] as Uint8Array;
    const rest = bytes.subarray(kind === 7 ? at + length : at);
    const parts = [bytes.subarray(0, at), middle, rest];
    bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let filled = 0;
    for (const part of parts) {
      bytes.set(part, filled);
      filled += part.length;
    }
  }
  return bytes;
}
