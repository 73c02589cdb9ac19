/** Runs `saccade bench long-context`: a process for each row of speed, then losses of the default model. */
import { fork } from 'node:child_process';
import { extname } from 'node:path';
import type { Control } from '../../runtime/backend';
import type { Runtime } from '../../runtime/runtime';
import { type LongContender, shareRead } from './contenders';
import { lossesOf, openDefaultModel, textsOf } from './losses';
import type { LossRow, SpeedRow } from './report';
import { HEADS, LAYERS, type LongAsked, type LongMeasured } from './speed';

export interface LongOptions {
  /** Tokens of prompts, and those at which losses are taken. */
  readonly n: readonly number[];
  readonly losses: readonly number[];
  readonly contenders: readonly LongContender[];
  readonly threads?: number | undefined;
  /** Seconds after which no further row begins. */
  readonly budget: number;
}

export interface LongControl extends Omit<Control, 'onProgress'> {
  readonly onProgress?: ((share: number, what?: string) => void) | undefined;
  readonly onRow: (row: { readonly speed: SpeedRow } | { readonly loss: LossRow }) => void | Promise<void>;
}

/** How much longer a prompt twice as long takes, about. */
const GROWTH = 3;

export async function runLongContext(options: LongOptions, runtime: Runtime, control: LongControl): Promise<void> {
  const { n: lengths, losses, contenders, threads, budget } = options;
  const { signal, onProgress, onRow } = control;
  const end = performance.now() + 1000 * budget;
  const all = lengths.length * contenders.length + losses.length * contenders.length;
  let done = 0;
  const latest = new Map<string, SpeedRow & { readonly took: number }>();
  for (const n of lengths)
    for (const contender of contenders) {
      const { label } = contender;
      onProgress?.(done++ / all, `${label}, ${n} tokens`);
      const before = latest.get(label);
      const left = end - performance.now();
      const expected = before && before.took * GROWTH ** Math.log2(n / before.n);
      const reason =
        before?.reason ?? (left < (expected ?? 0) ? `left out: it would pass the ${budget} s of --budget` : undefined);
      const start = performance.now();
      const row = reason === undefined ? await speedOf({ contender, n, threads }, left, signal) : { label, n, reason };
      latest.set(label, { ...row, took: performance.now() - start });
      await onRow({ speed: row });
    }
  if (losses.length === 0) return;
  const opened = await openDefaultModel(runtime);
  using model = opened.model;
  const texts = await textsOf(model, Math.max(...losses), { signal });
  for (const n of losses)
    for (const contender of contenders) {
      onProgress?.(done++ / all, `${contender.label}, loss of ${n} tokens`);
      await onRow({ loss: await lossesOf(opened, contender, texts, n, { signal }) });
    }
}

async function speedOf(asked: LongAsked, milliseconds: number, signal: AbortSignal | undefined): Promise<SpeedRow> {
  const { n, contender } = asked;
  const { label } = contender;
  const answer = await inChild(asked, milliseconds, signal);
  if ('reason' in answer) return { label, n, reason: answer.reason };
  const { prompt, step, resident, cache } = answer.measured;
  const read = shareRead(contender, n, HEADS) * LAYERS * n * HEADS.g * HEADS.d * 4;
  return { label, n, prompt, step, read, cache, resident };
}

type Answer = { readonly measured: LongMeasured } | { readonly reason: string };

/** A program that is built has its own child beside it. */
function inChild(asked: LongAsked, milliseconds: number, signal: AbortSignal | undefined): Promise<Answer> {
  const program = new URL(`./child${extname(import.meta.url)}`, import.meta.url);
  const child = fork(program, [JSON.stringify(asked)], { execArgv: [], stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
  return new Promise((resolve, reject) => {
    let found: Answer | undefined;
    let stderr = '';
    const kill = () => child.kill('SIGKILL');
    const timer = setTimeout(() => {
      found = { reason: 'ended, as the time of --budget was over' };
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
      const last = stderr.trim().split('\n').at(-1);
      resolve(
        found ?? { reason: last || `its process ended with ${by ?? `code ${code}`}, perhaps for want of memory` },
      );
    });
  });
}
