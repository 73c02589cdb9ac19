/** Runs `saccade bench long-context`: a process for each row of speed, then losses of the default model. */
import { fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { extname } from 'node:path';
import { openDefaultModel } from '../../experiments/default-model';
import type { Control } from '../../runtime/backend';
import type { Runtime } from '../../runtime/runtime';
import { lastLine } from '../peer-process';
import { type LongContender, shareRead } from './contenders';
import { type Baseline, exactRow, INDEXES, type IndexContender, openBaseline } from './indexes';
import { lossesOf, textsOf } from './losses';
import type { IndexRow, LongContextReport, LossRow, SpeedRow } from './report';
import { HEADS, LAYERS, type LongAsked, type LongMeasured } from './speed';

export interface LongOptions {
  /** Tokens of prompts, and those at which losses are taken. */
  readonly n: readonly number[];
  readonly losses: readonly number[];
  /** Keys of which indexes are made. */
  readonly indexes: readonly number[];
  /** The folder of the peers, if they are wanted. */
  readonly peers?: string | undefined;
  readonly contenders: readonly LongContender[];
  /** Folders of models that were trained with the method of a contender, by its label. */
  readonly trained: ReadonlyMap<string, string>;
  readonly threads?: number | undefined;
  /** Seconds after which no further row begins. */
  readonly budget: number;
}

/** Rows that are there already, which are not measured again. */
export type LongRows = Pick<LongContextReport, 'speed' | 'losses' | 'indexes'>;

export type LongRow = SpeedRow | LossRow | IndexRow;

export interface LongControl extends Omit<Control, 'onProgress'> {
  readonly onProgress?: ((share: number, what?: string) => void) | undefined;
  readonly onRow: (kind: keyof LongRows, row: LongRow) => void | Promise<void>;
}

/** How much longer a prompt twice as long takes, about. */
const GROWTH = 3;
/** Tokens up to which all methods together take less than the indexes do. */
const SHORT = 16_384;

/** What takes little comes first: losses, then prompts that are not long, then indexes, and the longest prompts last. */
export async function runLongContext(
  options: LongOptions,
  before: LongRows,
  runtime: Runtime,
  control: LongControl,
): Promise<void> {
  const { n: lengths, losses, indexes, contenders, budget } = options;
  const plan = { end: performance.now() + 1000 * budget, late: `left out: it would pass the ${budget} s of --budget` };
  const all = (lengths.length + losses.length) * contenders.length + indexes.length * INDEXES.length;
  let done = 0;
  const next = (what: string) => control.onProgress?.(done++ / all, what);
  await runLosses(options, before.losses, runtime, plan, { ...control, next });
  const latest: Latest = new Map();
  const runSpeeds = (wanted: (n: number) => boolean) =>
    runSpeed({ ...options, n: lengths.filter(wanted) }, before.speed, latest, plan, { ...control, next });
  await runSpeeds((n) => n <= SHORT);
  await runIndexes(options, before.indexes, runtime, plan, { ...control, next });
  await runSpeeds((n) => n > SHORT);
}

/** Until when rows begin, and what is said of others. */
interface Plan {
  readonly end: number;
  readonly late: string;
}

interface RowControl extends LongControl {
  readonly next: (what: string) => void;
}

const rowOf = <Row extends LongRow>(rows: readonly Row[], label: string, n: number) =>
  rows.find((row) => row.label === label && row.n === n && !row.isLate);

async function runLosses(
  { losses, contenders, trained }: LongOptions,
  before: readonly LossRow[],
  runtime: Runtime,
  { end, late }: Plan,
  { signal, onRow, next }: RowControl,
): Promise<void> {
  const wanted = losses.flatMap((n) =>
    contenders.filter(({ label }) => !rowOf(before, label, n)).map((contender) => ({ n, contender })),
  );
  if (wanted.length === 0) return;
  const opened = await openDefaultModel(runtime);
  using model = opened.model;
  const texts = await textsOf(model, Math.max(...losses), { signal });
  for (const { n, contender } of wanted) {
    const { label } = contender;
    next(`${label}, loss of ${n} tokens`);
    const settings = { n, trained: trained.get(label) };
    const loss: LossRow =
      performance.now() > end
        ? { label, n, reason: late, isLate: true }
        : await lossesOf(opened, contender, texts, settings, { signal });
    await onRow('losses', loss);
  }
}

async function runIndexes(
  { indexes, peers, threads }: LongOptions,
  before: readonly IndexRow[],
  runtime: Runtime,
  { end, late }: Plan,
  { signal, onRow, next }: RowControl,
): Promise<void> {
  for (const n of indexes) {
    const wanted = INDEXES.filter(({ label }) => !rowOf(before, label, n));
    if (wanted.length === 0) continue;
    next(`exact prompt, ${n} keys`);
    const baseline = performance.now() > end ? undefined : await openBaseline(runtime, n, { signal });
    try {
      if (baseline) await onRow('indexes', exactRow(baseline));
      for (const index of wanted) {
        const { label } = index;
        next(`${label}, ${n} keys`);
        const place = { peers, threads: threads ?? availableParallelism(), signal };
        const isLate = !baseline || performance.now() > end;
        const found = isLate ? { reason: late, isLate: true as const } : await measured(index, baseline, place);
        await onRow('indexes', { label, n, ...found });
      }
    } finally {
      baseline?.dispose();
    }
  }
}

/** An index, or why there is none. */
async function measured(index: IndexContender, baseline: Baseline, place: Parameters<IndexContender['measure']>[1]) {
  try {
    return await index.measure(baseline, place);
  } catch (error) {
    place.signal?.throwIfAborted();
    return { reason: error instanceof Error ? error.message : String(error) };
  }
}

/** The last row of each contender, and the milliseconds that it took. */
type Latest = Map<string, SpeedRow & { readonly took: number }>;

async function runSpeed(
  { n: lengths, contenders, threads }: LongOptions,
  known: readonly SpeedRow[],
  latest: Latest,
  { end, late }: Plan,
  { signal, onRow, next }: RowControl,
): Promise<void> {
  for (const n of lengths)
    for (const contender of contenders) {
      const { label } = contender;
      next(`${label}, ${n} tokens`);
      const there = rowOf(known, label, n);
      if (there) {
        latest.set(label, { ...there, took: there.prompt ?? 0 });
        continue;
      }
      const before = latest.get(label);
      const left = end - performance.now();
      const expected = before ? before.took * GROWTH ** Math.log2(n / before.n) : 0;
      const start = performance.now();
      const row: SpeedRow =
        before?.reason !== undefined
          ? { label, n, reason: before.reason, ...(before.isLate && { isLate: true }) }
          : left < expected
            ? { label, n, reason: late, isLate: true }
            : await speedOf({ contender, n, threads }, left, signal);
      latest.set(label, { ...row, took: performance.now() - start });
      await onRow('speed', row);
    }
}

async function speedOf(asked: LongAsked, milliseconds: number, signal: AbortSignal | undefined): Promise<SpeedRow> {
  const { n, contender } = asked;
  const { label } = contender;
  const answer = await inChild(asked, milliseconds, signal);
  if ('reason' in answer) return { label, n, ...answer };
  const { prompt, step, resident, cache } = answer.measured;
  const read = shareRead(contender, n, HEADS) * LAYERS * n * HEADS.g * HEADS.d * 4;
  return { label, n, prompt, step, read, cache, resident };
}

type Answer = { readonly measured: LongMeasured } | (Pick<SpeedRow, 'isLate'> & { readonly reason: string });

/** A program that is built has its own child beside it. */
function inChild(asked: LongAsked, milliseconds: number, signal: AbortSignal | undefined): Promise<Answer> {
  const program = new URL(`./child${extname(import.meta.url)}`, import.meta.url);
  const child = fork(program, [JSON.stringify(asked)], { execArgv: [], stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
  return new Promise((resolve, reject) => {
    let found: Answer | undefined;
    let stderr = '';
    const kill = () => child.kill('SIGKILL');
    const timer = setTimeout(() => {
      found = { reason: 'ended, as the time of --budget was over', isLate: true };
      kill();
    }, milliseconds);
    signal?.addEventListener('abort', kill);
    child.stderr?.on('data', (text) => {
      stderr = `${stderr}${text}`.slice(-2000);
    });
    child.on('message', (answer) => {
      found ??= answer as Answer;
    });
    child.once('error', reject);
    child.once('close', (code, by) => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', kill);
      if (signal?.aborted) return reject(signal.reason);
      resolve(
        found ?? {
          reason: lastLine(stderr) ?? `its process ended with ${by ?? `code ${code}`}, perhaps for want of memory`,
        },
      );
    });
  });
}
