/** What a worker does, in Node or in a page: one job after the other, from a queue to an outcome. */
import { ParameterError, UnsupportedError } from '../errors';
import { reasonOf } from '../text/reason';
import type { Job, Needs } from './job';
import { faultOf } from './outcome';
import type { SweepQueue, TakenJob, Waiting } from './queue';

interface WorkOptions {
  /** What the machine is called in the results. */
  readonly machine: string;
  /** The jobs it can run. */
  readonly kinds: readonly Needs[];
  /** End once no job of these kinds is left, also with other workers. */
  readonly untilDone?: boolean;
  readonly signal?: AbortSignal | undefined;
  /** Runs the case of a job; resolves to its report. */
  run(job: Job, signal: AbortSignal | undefined): Promise<unknown>;
  /** Gets a line on what happens. */
  say(line: string): void;
}

interface Worked {
  readonly done: number;
  /** Tries of this worker that failed. */
  readonly failed: number;
}

/**
 * Works until there is nothing left to do, if that is wanted, or the signal aborts, which gives back the job at hand.
 *
 * @throws {UnsupportedError} all jobs that are left are for other builds
 */
export async function work(queue: SweepQueue, options: WorkOptions): Promise<Worked> {
  const { machine, kinds, untilDone = false, signal, say } = options;
  if (kinds.length === 0) throw new ParameterError('a worker must take at least one kind of jobs');
  const counts = { done: 0, failed: 0 };
  let said = '';
  for (;;) {
    const taken = await queue.take(kinds, machine, signal);
    if (taken) {
      counts[await attempt(taken, options)]++;
      continue;
    }
    const { jobs } = await queue.patiently(() => queue.waiting(), signal);
    const left = jobs.filter(({ needs, only = machine }) => kinds.includes(needs) && only === machine);
    const others = left.filter(({ build }) => build !== queue.build);
    if (untilDone && left.length === others.length) {
      if (others.length > 0) throw new UnsupportedError(othersText(others, queue.build));
      return counts;
    }
    const text = others.length > 0 ? othersText(others, queue.build) : '';
    if (text !== said) say(text);
    said = text;
  }
}

async function attempt(taken: TakenJob, { run, signal, say }: WorkOptions): Promise<keyof Worked> {
  const { job, tries } = taken;
  const what = job.words.join(' ');
  const pulse = setInterval(() => taken.working(), taken.beat);
  try {
    const report = await run(job, signal);
    const fault = faultOf(job.words, report);
    if (fault !== undefined) throw new Error(`its report is wrong: ${fault}`);
    await taken.finish({ report: report as never });
    say(`done: ${what}`);
    return 'done';
  } catch (error) {
    if (signal?.aborted) {
      // Without a server it is given back by itself, once its time is over.
      await taken.release().catch(() => {});
      throw error;
    }
    const reason = reasonOf(error).slice(-LONGEST_REASON);
    const isLast = await taken.fail(reason);
    say(`failed, try ${tries}${isLast ? ', given up' : ''}: ${what}: ${reason}`);
    return 'failed';
  } finally {
    clearInterval(pulse);
  }
}

const LONGEST_REASON = 2000;

function othersText(others: readonly Waiting[], own: string): string {
  const builds = [...new Set(others.map(({ build }) => build))];
  const jobs = others.reduce((sum, each) => sum + each.jobs, 0);
  return `${jobs} ${jobs === 1 ? 'job waits' : 'jobs wait'} for saccade ${builds.join(' or ')}, and this worker is ${own}: install that build, or submit the cases from this one`;
}
