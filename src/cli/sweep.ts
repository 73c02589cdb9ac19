import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { styleText } from 'node:util';
import { Command, InvalidArgumentError, Option } from 'commander';
import { MEASURES } from '../bench/report';
import { ParameterError } from '../errors';
import { checkInstalled } from '../packages';
import { htmlPage } from '../report/page';
import { BUILD } from '../sweep/build-id';
import { machinesOf, measuresOf, type SweepReport, shortJobs, sweepCsv, sweepRows } from '../sweep/collected';
import type { Needs } from '../sweep/job';
import { PATIENCE, type SweepContent, type SweepQueue, type Waiting } from '../sweep/queue';
import type { ServeOptions } from '../sweep/serve';
import { work } from '../sweep/work';
import { printable } from '../text/printable';
import { shellCommand } from '../text/shell';
import { formatTable, right } from '../text/table';
import { checkFile } from './check-file';
import { failIfAny } from './failures';
import { interruptible } from './interrupt';
import { lockFolder } from './lock-folder';
import { jsonOption, number, wholeNumber } from './options';
import { readIfThere } from './read-tensors';
import { CaseRunner } from './sweep-runner';
import type { ServerOptions } from './sweep-server';
import { wrap } from './wrap';
import { checkWritable, say, writeFileAtomic, writeJson } from './write-file';

const DEFAULT_SERVER = 'nats://127.0.0.1:4222';
/** What a worker can have, and the kinds of jobs that it then takes. */
const TAKES = { cpu: ['cpu', 'page-cpu'], webgpu: ['webgpu', 'page-webgpu'] } as const satisfies Record<
  string,
  readonly Needs[]
>;
type Has = keyof typeof TAKES;
const WIDTH = 100;

export function sweepCommand(): Command {
  const command = new Command('sweep')
    .helpCommand(false)
    .enablePositionalOptions()
    .hook('preSubcommand', (parent, child) => {
      child.copyInheritedSettings(parent);
    });
  for (const create of [serveCommand, submitCommand, workCommand, statusCommand, collectCommand])
    command.addCommand(create());
  return command;
}

function serveCommand(): Command {
  return new Command('serve')
    .description('start the NATS server of sweeps, and the page that works for them')
    .option('--store <folder>', 'where jobs and results are kept', 'saccade-sweep')
    .option('--host <address>', 'where it listens: only this machine reaches the default', '127.0.0.1')
    .option('--port <number>', 'of NATS; its WebSocket and the page have the next two', wholeNumber(1, 65_533), 4222)
    .option('--limit <GiB>', 'that jobs and results may take', number(0.001, 1e6), 1)
    .option('--tls-cert <file>', 'a certificate, so that pages on other machines may use their GPUs')
    .option('--tls-key <file>', 'its key')
    .addHelpText(
      'after',
      '\nIt needs nats-server: apt install nats-server. Ctrl-C ends it; it goes on from its folder.',
    )
    .action(serveHere);
}

interface ServeCommandOptions extends Omit<ServeOptions, 'token' | 'tls'> {
  readonly tlsCert?: string;
  readonly tlsKey?: string;
}

async function serveHere({ tlsCert, tlsKey, ...options }: ServeCommandOptions): Promise<void> {
  if ((tlsCert === undefined) !== (tlsKey === undefined))
    throw new ParameterError('--tls-cert and --tls-key must be given together');
  for (const [name, file] of Object.entries({ '--tls-cert': tlsCert, '--tls-key': tlsKey }))
    if (file !== undefined) checkFile(name, file);
  const { serveSweep } = await import('../sweep/serve');
  const { store, host, port } = options;
  using _ = lockFolder(store);
  const token = await tokenIn(store);
  const tls = tlsCert !== undefined && tlsKey !== undefined ? { cert: tlsCert, key: tlsKey } : undefined;
  const open = host === '0.0.0.0' || host === '::';
  const [name, page] = [open ? hostname() : host, open ? hostname() : 'localhost'];
  await interruptible((signal) =>
    serveSweep({ ...options, token, tls }, signal, () => {
      process.stdout.write(
        [
          `server: nats://${token}@${name}:${port}`,
          `page:   ${tls ? 'https' : 'http'}://${page}:${port + 2}/#token=${token}`,
          'Give the server to submit, work, status and collect with --server, or in NATS_URL.',
          '',
        ].join('\n'),
      );
    }),
  );
}

/** The secret of a server's clients, made once for its folder. */
async function tokenIn(folder: string): Promise<string> {
  const path = join(folder, 'token');
  const kept = await readIfThere(path);
  if (kept) return new TextDecoder().decode(kept).trim();
  const token = randomBytes(12).toString('base64url');
  await writeFile(path, `${token}\n`, { mode: 0o600 });
  return token;
}

/** A part of the command, with the options that all have. */
function part(name: string, summary: string): Command {
  return new Command(name)
    .description(summary)
    .addOption(new Option('--server <address>', 'of the NATS server').env('NATS_URL').default(DEFAULT_SERVER))
    .option('--sweep <name>', 'a server may have several', parseName, 'default')
    .option('--tls-ca <file>', 'a certificate to trust, such as one that serve has and nobody known has signed');
}

function submitCommand(): Command {
  return part('submit', 'put cases into the queue, each once: a job for each value of each list')
    .argument('<case...>', 'a command of bench or reproduce, with its options')
    .option('--again', 'also those that failed before')
    .option(
      '--machines <names>',
      'each of these measures every case; default: whichever is free measures it, once',
      parseMachines,
    )
    .option(
      '--patience <seconds>',
      'without a sign of life after which a job goes to another worker',
      wholeNumber(1, 3600),
      PATIENCE,
    )
    .passThroughOptions()
    .addHelpText('after', '\nExample:\n  $ saccade sweep submit bench attention --n 1024,4096 --masks full,causal')
    .action(submit);
}

interface SubmitCommandOptions {
  readonly again?: boolean;
  readonly patience: number;
  readonly machines?: readonly string[];
}

async function submit(
  words: readonly string[],
  { again = false, patience, machines, ...place }: ServerOptions & SubmitCommandOptions,
): Promise<void> {
  const { casesOf } = await import('./sweep-cases');
  const cases = await casesOf(words);
  await withQueue(place, async (queue) => {
    const { added, waiting, done, failed } = await queue.submit(cases, {
      ackWait: patience,
      again,
      machines,
    });
    const all = cases.length * (machines?.length ?? 1);
    const facts = [
      `${added} of ${all} ${all === 1 ? 'job' : 'jobs'} added for saccade ${BUILD}`,
      waiting > 0 && `${waiting} already in the queue`,
      done > 0 && `${done} already done`,
      failed > 0 && `${failed} failed before (--again tries them again)`,
    ];
    process.stdout.write(`${facts.filter(Boolean).join(', ')}\n`);
  });
}

function workCommand(): Command {
  return part('work', 'take jobs from the queue, one at a time, until Ctrl-C')
    .option('--machine <name>', 'what this machine is called in the results', parseMachine, hostname().slice(0, 100))
    .option('--has <names>', `what it offers, of ${Object.keys(TAKES).join(', ')}`, parseHas, ['cpu'])
    .option('--until-done', 'end once no job that it can run is left')
    .option('--limit <seconds>', 'that a job may take', wholeNumber(1, 604_800), 3600)
    .action(workHere);
}

async function workHere({
  machine,
  has,
  untilDone = false,
  limit,
  ...place
}: ServerOptions & {
  readonly machine: string;
  readonly has: readonly Has[];
  readonly untilDone?: boolean;
  readonly limit: number;
}): Promise<void> {
  const tell = (line: string) => process.stderr.write(line === '' ? '' : `${printable(line)}\n`);
  await withQueue(place, (queue) =>
    interruptible(async (signal) => {
      await using runner = await CaseRunner.create({ limit, mostBytes: queue.mostBytes });
      tell(`${machine} works on sweep '${place.sweep}' with saccade ${BUILD}`);
      const kinds = has.flatMap((each) => TAKES[each]);
      const run = runner.run.bind(runner);
      const { done, failed } = await work(queue, { machine, kinds, untilDone, signal, run, say: tell });
      process.stdout.write(
        `${done} ${done === 1 ? 'job' : 'jobs'} done, ${failed} ${failed === 1 ? 'try' : 'tries'} failed\n`,
      );
    }),
  );
}

function statusCommand(): Command {
  return part('status', 'jobs that wait, run, are done or failed, by machine')
    .addOption(jsonOption('the counts'))
    .action(status);
}

async function status({ json, ...place }: ServerOptions & { readonly json?: string }): Promise<void> {
  if (json !== undefined) await checkWritable(json);
  const found = await withQueue(place, async (queue) => ({ ...(await queue.content()), ...(await queue.waiting()) }));
  const counts = statusOf(found);
  await writeJson(json, { sweep: place.sweep, ...counts });
  await say(statusText(counts, found), json);
}

type Found = SweepContent & { readonly jobs: readonly Waiting[]; readonly running: number };

function statusOf({ outcomes, begun, jobs, running }: Found) {
  const awaited = jobs.flatMap(({ only }) => only ?? []);
  const machines = [...new Set([...[...outcomes, ...begun].map(({ machine }) => machine), ...awaited])].sort();
  const isRunning = ({ error }: SweepContent['begun'][number]) => error === undefined;
  const all = jobs.reduce((sum, each) => sum + each.jobs, 0);
  const count = (wanted: (outcome: SweepContent['outcomes'][number]) => boolean) => outcomes.filter(wanted).length;
  return {
    waiting: Math.max(0, all - running),
    running,
    done: count(({ report }) => report !== undefined),
    failed: count(({ error }) => error !== undefined),
    machines: machines.map((name) => ({
      name,
      running: begun.filter((each) => each.machine === name && isRunning(each)).length,
      done: count(({ machine, report }) => machine === name && report !== undefined),
      failed: count(({ machine, error }) => machine === name && error !== undefined),
    })),
  };
}

function statusText(counts: ReturnType<typeof statusOf>, { outcomes, jobs, refused }: Found): string {
  const { machines, waiting, running, done, failed } = counts;
  const rows = machines.map((each) => [each.name, '', ...[each.running, each.done, each.failed].map(String)]);
  const others = jobs.filter(({ build }) => build !== BUILD);
  return [
    formatTable(
      ['machine', ...['waiting', 'running', 'done', 'failed'].map(right)],
      [...rows, ['all', ...[waiting, running, done, failed].map(String)]],
    ),
    ...jobs.flatMap(({ only, jobs }) => (only === undefined ? [] : `${jobs} of them for ${only} alone`)),
    ...others.map(({ build, jobs }) => `${jobs} of them for saccade ${build}; this is ${BUILD}`),
    ...(refused > 0 ? [`${refused} results are no results of a worker and were left out`] : []),
    ...outcomes
      .filter(({ error }) => error !== undefined)
      .map(({ words, machine, error }) => wrap(`failed on ${machine}: ${shellCommand(words)}: ${error}`, WIDTH)),
  ].join('\n');
}

function collectCommand(): Command {
  return part('collect', 'what all machines measured, in one table')
    .addOption(jsonOption('every outcome'))
    .option('--csv <file>', 'write the table as comma-separated values')
    .option('--html <file>', 'write a page with the table')
    .action(collect);
}

async function collect({
  json,
  csv,
  html,
  ...place
}: ServerOptions & { readonly json?: string; readonly csv?: string; readonly html?: string }): Promise<void> {
  for (const path of [json, csv, html]) if (path !== undefined) await checkWritable(path);
  const report = await withQueue(place, async (queue): Promise<SweepReport> => {
    const { outcomes } = await queue.content();
    const { jobs } = await queue.waiting();
    const waiting = jobs.reduce((sum, each) => sum + each.jobs, 0);
    return { format: 'saccade sweep', version: 1, sweep: place.sweep, waiting, outcomes };
  });
  const { outcomes } = report;
  await writeJson(json, report);
  if (csv !== undefined) await writeFileAtomic(csv, sweepCsv(outcomes));
  if (html !== undefined)
    await writeFileAtomic(html, htmlPage({ title: `saccade sweep ${place.sweep}`, view: 'sweep', data: report }));
  await say(collectedText(report), json, csv, html);
  failIfAny(
    outcomes.flatMap(({ error, words }) => (error === undefined ? [] : [shellCommand(words)])),
    outcomes.length,
    'jobs',
  );
}

function collectedText({ outcomes, waiting }: SweepReport): string {
  const rows = sweepRows(outcomes);
  const { name: short, common } = shortJobs(outcomes);
  const measures = measuresOf(rows).filter((name) => name !== 'error');
  const columns = ['machine', 'job', 'what', right('result'), ...measures.map((name) => right(MEASURES[name].header))];
  const cells = rows.map((row) => [
    row.machine,
    short(row.job),
    row.what,
    row.result,
    ...measures.map((name) => {
      const value = row.measures[name];
      return value === undefined ? '' : MEASURES[name].format(value);
    }),
  ]);
  return [
    formatTable(columns, cells),
    '',
    ...(waiting > 0 ? [`Unfinished: ${waiting} ${waiting === 1 ? 'job has' : 'jobs have'} no outcome yet.`] : []),
    ...[...common, ...machinesOf(outcomes)].map((line) => styleText('dim', line)),
  ].join('\n');
}

/** Loads the client of NATS, which is optional. */
async function withQueue<T>(place: ServerOptions, act: (queue: SweepQueue) => Promise<T>): Promise<T> {
  checkInstalled({ '@nats-io/transport-node': 'saccade sweep', '@nats-io/jetstream': 'its queue' });
  const { withQueue } = await import('./sweep-server');
  return withQueue(place, act);
}

function parseName(text: string): string {
  if (/^[\w-]{1,32}$/.test(text)) return text;
  throw new InvalidArgumentError('It must be up to 32 letters, digits, _ or -.');
}

function parseMachines(text: string): string[] {
  return [...new Set(text.split(',').map(parseMachine))];
}

function parseMachine(text: string): string {
  if (text.trim() !== '' && text.length <= 100) return text;
  throw new InvalidArgumentError('It must be a name of up to 100 characters.');
}

function parseHas(text: string): Has[] {
  const names = text.split(',');
  if (names.every((name) => Object.hasOwn(TAKES, name))) return names as Has[];
  throw new InvalidArgumentError(`It must be of ${Object.keys(TAKES).join(', ')}.`);
}
