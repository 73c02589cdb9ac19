/** The cases that can run in a page, and their options, read again there: a page believes no queue. */
import * as valibot from 'valibot';
import { BENCH_BACKENDS, BENCH_MASKS, type BenchOptions } from '../bench/options';
import { DEFAULT_OPTIONS, type Suite } from '../bench/suite';
import { ParameterError } from '../errors';

/** The suites whose rows need nothing of Node's. */
const PAGE_SUITES: Readonly<Record<string, () => Promise<Suite>>> = {
  attention: async () => (await import('../bench/suites/attention-alone')).attentionAlone,
  backward: async () => (await import('../bench/suites/backward')).backwardSuite,
  linear: async () => (await import('../bench/suites/linear')).linearSuite,
  'local-linear': async () => (await import('../bench/suites/local-linear')).localLinearSuite,
  shapes: async () => (await import('../bench/suites/shapes')).shapesSuite,
  scores: async () => (await import('../bench/suites/scores')).scoresSuite,
  chain: async () => (await import('../bench/suites/chain')).chainSuite,
  decode: async () => (await import('../bench/suites/decode')).decodeSuite,
  ops: async () => (await import('../bench/suites/ops')).opsSuite,
};

/** Whether a case can run in a page. */
export const runsInPages = ([command, suite]: readonly string[]): boolean =>
  command === 'bench' && Object.hasOwn(PAGE_SUITES, suite as string);

const digits = valibot.pipe(valibot.string(), valibot.regex(/^\d{1,7}$/), valibot.transform(Number));
const whole = (most: number) => valibot.pipe(digits, valibot.minValue(1), valibot.maxValue(most));
const list = <const Item extends valibot.GenericSchema<string, unknown>>(item: Item) =>
  valibot.pipe(
    valibot.string(),
    valibot.transform((text) => text.split(',')),
    valibot.array(item),
  );

/** What flags of the command line may say, by option. */
const OPTIONS = valibot.partial(
  valibot.strictObject({
    n: list(whole(2 ** 20)),
    d: list(whole(256)),
    masks: list(valibot.picklist(BENCH_MASKS)),
    cached: list(digits),
    heads: whole(1024),
    backend: valibot.picklist(BENCH_BACKENDS),
    threads: whole(256),
    simd: valibot.picklist(['relaxed', 'baseline']),
    repeats: whole(1000),
    limit: whole(86_400),
    calls: whole(1e6),
    only: list(valibot.string()),
  }),
);

/**
 * The suite and options of a job's words.
 *
 * @throws {ParameterError} what no page can measure
 */
export async function pageCase(
  words: readonly string[],
): Promise<{ readonly suite: Suite; readonly options: BenchOptions }> {
  const [, name, ...flags] = words;
  const pairs = flags.flatMap((flag, at) => (at % 2 === 0 ? [[flag.replace(/^--/, ''), flags[at + 1]]] : []));
  const { success, output } = valibot.safeParse(OPTIONS, Object.fromEntries(pairs));
  if (!runsInPages(words) || !success) throw new ParameterError(`a page cannot measure ${words.join(' ')}`);
  const suite = await (PAGE_SUITES[name as string] as () => Promise<Suite>)();
  return { suite, options: { ...DEFAULT_OPTIONS, ...suite.defaults, ...(output as Partial<BenchOptions>) } };
}
