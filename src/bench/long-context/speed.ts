/** Prompts and steps of a decoder with the heads of Qwen3-0.6B, two layers and random weights, in a process of its own. */
import { createDecoder, type DecoderConfig } from '../../models';
import { createRuntime } from '../../ops/create-runtime';
import { type LongContender, methodOf, POSITIONS } from './contenders';

const VOCABULARY = 256;
export const HEADS = { h: 16, g: 8, d: 128 };
export const LAYERS = 2;
/** Tokens of a prompt that go through at a time. */
const CHUNK = 2048;
/** Steps, whose least time is told: what else the machine does only adds to it. */
const STEPS = 12;

const CONFIG: DecoderConfig = {
  model_type: 'qwen3',
  vocab_size: VOCABULARY,
  hidden_size: 1024,
  intermediate_size: 3072,
  num_hidden_layers: LAYERS,
  num_attention_heads: HEADS.h,
  num_key_value_heads: HEADS.g,
  head_dim: HEADS.d,
  rope_theta: 1e6,
  max_position_embeddings: POSITIONS,
  tie_word_embeddings: true,
};

export interface LongAsked {
  readonly contender: LongContender;
  readonly n: number;
  readonly threads?: number | undefined;
}

export interface LongMeasured {
  /** Milliseconds of a prompt of n tokens, what it prepares for steps among them, and of a step after it. */
  readonly prompt: number;
  readonly step: number;
  /** Bytes of memory that the runtime held at most, and those of its process. */
  readonly peak: number;
  readonly resident: number;
  /** Bytes that are kept of the tokens. */
  readonly cache: number;
}

/** In a new process, as its resident memory is told. */
export async function measureLong({ contender, n, threads }: LongAsked): Promise<LongMeasured> {
  const params = { ...contender.params, ...contender.untrained };
  const method = methodOf(contender.method);
  if (!method) throw new Error(`${contender.method} is not there`);
  using runtime = await createRuntime({ backend: 'wasm', ...(threads && { threads }) });
  const decoder = createDecoder(CONFIG, { attention: { method, params } });
  const parameters = decoder.initialize(runtime, { seed: 1 });
  using cache = decoder.cache(runtime, { capacity: n + STEPS + 1, dtype: 'f16' });
  const ids = (from: number, count: number) =>
    runtime.tensor(
      Array.from({ length: count }, (_, at) => ((from + at) * 7919 + 13) % VOCABULARY),
      [1, count],
      'i32',
    );
  const go = async (from: number, count: number) => {
    using tokens = ids(from, count);
    using logits = decoder.step(parameters, tokens, cache);
    await logits.read();
  };
  const timed = async (work: () => Promise<void>) => {
    const start = performance.now();
    await work();
    await runtime.finish();
    return performance.now() - start;
  };
  const prompt = await timed(async () => {
    for (let from = 0; from < n; from += CHUNK) await go(from, Math.min(CHUNK, n - from));
  });
  const steps: number[] = [];
  for (let at = 0; at < STEPS; at++) steps.push(await timed(() => go(n + at, 1)));
  return {
    prompt,
    step: Math.min(...steps),
    peak: runtime.memory().peak,
    resident: 1024 * process.resourceUsage().maxRSS,
    cache: cache.bytes,
  };
}
