/** Models that learn to find a passkey, with landmarks and without. */
import type { Method } from '../../methods/define';
import { landmarkAttention } from '../../methods/sparse/landmark-attention';
import type { Decoder } from '../../models';
import type { Tensor } from '../../tensor/tensor';
import type { MeasureContext } from '../experiment';
import { disposeAll } from '../held';
import { PASSKEY_TOKENS, passkey } from '../passkey';
import { tinyDecoder, trained } from '../tiny-decoder';

/** The landmark is the last token. */
const VOCABULARY = PASSKEY_TOKENS + 1;
/** The first is that of the training. */
export const LENGTHS = [64, 256, 1024] as const;
export const BLOCK = 7;
const CHUNK = 32;
const SIZE = { vocabulary: VOCABULARY, context: 2048, width: 48, heads: 4, layers: 2 };
/** How steps of the trained model open blocks. */
const OPENED = {
  '1 block': { topBlocks: 1 },
  '2 blocks': { topBlocks: 2 },
  '2 blocks of a head': { topBlocks: 2, openedBy: 'head' },
} as const;

interface Finders {
  /** Shares of right answers by `LENGTHS`. */
  readonly ours: Readonly<Record<keyof typeof OPENED, readonly number[]>>;
  readonly exact: readonly number[];
  readonly steps: number;
  /** Texts of each length. */
  readonly tried: number;
}

/** Models that learned from texts of the first length, tried on all. */
export async function finders(context: MeasureContext): Promise<Finders> {
  const { runtime, quick } = context;
  const [steps, tried] = quick ? [3, 1] : [700, 40];
  const landmarks = (params: object) =>
    tinyDecoder(SIZE, { method: landmarkAttention as Method, params: { block: BLOCK, ...params } });
  const held: Tensor[] = [];
  const learned = async (decoder: Decoder, part: MeasureContext) => {
    const parameters = decoder.initialize(runtime, { seed: 1 });
    held.push(...Object.values(parameters));
    const draw = (seed: number) => passkey(LENGTHS[0], seed + 1000, seed % 4);
    await trained(part, decoder, parameters, { steps, batch: 16, learningRate: 0.004, draw });
    return parameters;
  };
  try {
    const ours = await learned(landmarks({}), context.part(0, 0.45, 'landmarks'));
    const plain = tinyDecoder(SIZE);
    const exact = await learned(plain, context.part(0.45, 0.8, 'exact attention'));
    const scores = async (decoder: Decoder, parameters: Record<string, Tensor>) => {
      const all: number[] = [];
      for (const length of LENGTHS) all.push(await rightAt(context, decoder, parameters, length, tried));
      return all;
    };
    const opened: [string, number[]][] = [];
    for (const [name, params] of Object.entries(OPENED)) opened.push([name, await scores(landmarks(params), ours)]);
    return { ours: Object.fromEntries(opened) as never, exact: await scores(plain, exact), steps, tried };
  } finally {
    disposeAll(held);
  }
}

/** The share of texts whose passkey is the likeliest next token, read through a cache as a decoder's prompts are. */
async function rightAt(
  { runtime, step }: MeasureContext,
  decoder: Decoder,
  parameters: Record<string, Tensor>,
  length: number,
  count: number,
): Promise<number> {
  await step(0.9, `texts of ${length} tokens`);
  const texts = Array.from({ length: count }, (_, seed) => passkey(length, seed));
  using cache = decoder.cache(runtime, { rows: count, capacity: length });
  let right = 0;
  for (let at = 0; at < length; at += CHUNK) {
    const part = texts.flatMap(({ tokens }) => tokens.slice(at, at + CHUNK));
    using logits = runtime.scope(() =>
      decoder.step(parameters, runtime.tensor(part, [count, part.length / count], 'i32'), cache),
    );
    if (at + CHUNK < length) continue;
    const read = await logits.read();
    right = texts.filter(({ targets }, row) => {
      // The landmark, which is last, is no answer.
      const own = read.subarray(row * VOCABULARY, (row + 1) * VOCABULARY - 1);
      return own.indexOf(Math.max(...own)) === targets.at(-1);
    }).length;
  }
  return right / count;
}
