/** The shapes of a NAtS-L layer, and which operator each chunk goes to. */
import { ShapeError } from '../../../errors';
import { bindShapes, formatShape, type Shape } from '../../../tensor/shape';

/** Letters: c chunks, o the two operators, softmax attention and delta rule; a softmax heads of p = h d / a and r = h e / a. */
export const INPUTS = {
  q: 'b n h d',
  k: 'b n h d',
  v: 'b n h e',
  g: 'b n h',
  beta: 'b n h',
  route: 'b c h o',
  mix: 'b n a o',
} as const;

export const OPTIONAL = { gain_q: 'p', gain_k: 'p', gain_softmax: 'r', gain_delta: 'r', gate: 'b n h e' } as const;

export interface Problem {
  readonly b: number;
  readonly n: number;
  /** Heads of the delta rule, which are routed. */
  readonly h: number;
  readonly d: number;
  readonly e: number;
  /** Heads of softmax attention, which share the channels of q, k and v. */
  readonly a: number;
  readonly p: number;
  readonly r: number;
  /** Tokens of a chunk. */
  readonly chunk: number;
  readonly chunks: number;
}

/** Throws a ShapeError unless the inputs of these shapes fit together. */
export function problemOf(shapes: Readonly<Record<string, Shape>>, chunk: number): Problem {
  const specs = Object.fromEntries(Object.entries({ ...INPUTS, ...OPTIONAL }).filter(([name]) => shapes[name]));
  const { b, n, h, d, e, a, c, o, p, r } = bindShapes({ ...INPUTS, ...specs }, shapes as never) as Record<
    'b' | 'n' | 'h' | 'd' | 'e' | 'a' | 'c' | 'o' | 'p' | 'r',
    number
  >;
  const route = formatShape(shapes.route as Shape);
  const mix = formatShape(shapes.mix as Shape);
  if (o !== 2) throw new ShapeError(`route and mix must end with 2, softmax and delta, got ${route} and ${mix}`);
  const chunks = Math.ceil(n / chunk);
  if (c !== chunks)
    throw new ShapeError(
      `route must have ${chunks} chunks along its second axis, of ${chunk} in ${n} tokens, got ${route}`,
    );
  if (a % h !== 0 || (h * d) % a !== 0 || (h * e) % a !== 0)
    throw new ShapeError(
      `mix must have a multiple of ${h} heads that divides ${h * d} and ${h * e} channels, got ${mix}`,
    );
  const head = { p: (h * d) / a, r: (h * e) / a };
  for (const [name, letter, found] of [
    ['gain_q or gain_k', 'p', p],
    ['gain_softmax or gain_delta', 'r', r],
  ] as const) {
    if (found !== undefined && found !== head[letter])
      throw new ShapeError(`${name} must have ${head[letter]} numbers, one for each channel of a head, got ${found}`);
  }
  return { b, n, h, d, e, a, ...head, chunk, chunks };
}

/** [b, c, h] as [b, h, c]. */
export function byHead(chosen: Uint8Array, { h, chunks }: Problem): Uint8Array {
  return chosen.map((_, at) => {
    const [head, chunk] = [Math.floor(at / chunks) % h, at % chunks];
    return chosen[(Math.floor(at / (h * chunks)) * chunks + chunk) * h + head] as number;
  });
}
