/** SHA-256 (FIPS 180-4) of bytes that come in parts; WebCrypto's wants all of them at once. */

const BLOCK = 64;
/** The first 32 bits behind the point of a number. */
const fraction = (value: number) => ((value - Math.floor(value)) * 2 ** 32) | 0;

const primes: number[] = [];
for (let n = 2; primes.length < BLOCK; n++) if (primes.every((prime) => n % prime !== 0)) primes.push(n);
const CONSTANTS = Int32Array.from(primes, (prime) => fraction(Math.cbrt(prime)));

const rotated = (x: number, by: number) => (x >>> by) | (x << (32 - by));

/** A SHA-256 to be computed: Node's own is twenty times as fast. */
export function sha256(): Pick<Sha256, 'digest'> & { update(bytes: Uint8Array): unknown } {
  return globalThis.process?.getBuiltinModule?.('node:crypto')?.createHash('sha256') ?? new Sha256();
}

export class Sha256 {
  readonly #state = Int32Array.from(primes.slice(0, 8), (prime) => fraction(Math.sqrt(prime)));
  readonly #words = new Int32Array(BLOCK);
  /** Bytes that do not fill a block yet. */
  readonly #rest = new Uint8Array(BLOCK);
  #length = 0;

  update(bytes: Uint8Array): this {
    const filled = this.#length % BLOCK;
    this.#length += bytes.length;
    this.#rest.set(bytes.subarray(0, BLOCK - filled), filled);
    if (filled + bytes.length < BLOCK) return this;
    this.#add(this.#rest, 0);
    let at = BLOCK - filled;
    for (; at + BLOCK <= bytes.length; at += BLOCK) this.#add(bytes, at);
    this.#rest.set(bytes.subarray(at));
    return this;
  }

  /** Nothing can be added any more. */
  digest(_encoding: 'hex'): string {
    const length = this.#length;
    const padding = new Uint8Array(BLOCK - ((length + 8) % BLOCK) + 8);
    padding[0] = 0x80;
    new DataView(padding.buffer).setBigUint64(padding.length - 8, 8n * BigInt(length));
    this.update(padding);
    return Array.from(this.#state, (word) => (word >>> 0).toString(16).padStart(8, '0')).join('');
  }

  #add(bytes: Uint8Array, at: number): void {
    const [state, w] = [this.#state, this.#words];
    for (let i = 0; i < 16; i++) w[i] = bigEndian(bytes, at + 4 * i);
    for (let i = 16; i < BLOCK; i++) {
      const [early, late] = [w[i - 15] as number, w[i - 2] as number];
      const first = rotated(early, 7) ^ rotated(early, 18) ^ (early >>> 3);
      const second = rotated(late, 17) ^ rotated(late, 19) ^ (late >>> 10);
      w[i] = ((w[i - 16] as number) + first + (w[i - 7] as number) + second) | 0;
    }
    const word = (i: number) => state[i] as number;
    let [a, b, c, d] = [word(0), word(1), word(2), word(3)];
    let [e, f, g, h] = [word(4), word(5), word(6), word(7)];
    for (let i = 0; i < BLOCK; i++) {
      const choice = (e & f) ^ (~e & g);
      const majority = (a & b) ^ (a & c) ^ (b & c);
      const ofE = rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25);
      const ofA = rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22);
      const next = (h + ofE + choice + (CONSTANTS[i] as number) + (w[i] as number)) | 0;
      h = g;
      g = f;
      f = e;
      e = (d + next) | 0;
      d = c;
      c = b;
      b = a;
      a = (next + ofA + majority) | 0;
    }
    const add = (i: number, value: number) => {
      state[i] = word(i) + value;
    };
    add(0, a);
    add(1, b);
    add(2, c);
    add(3, d);
    add(4, e);
    add(5, f);
    add(6, g);
    add(7, h);
  }
}

function bigEndian(bytes: Uint8Array, at: number): number {
  const byte = (i: number) => bytes[at + i] as number;
  return (byte(0) << 24) | (byte(1) << 16) | (byte(2) << 8) | byte(3);
}
