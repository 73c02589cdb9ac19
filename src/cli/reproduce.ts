import { styleText } from 'node:util';
import { Command } from 'commander';
import { ParameterError, UnsupportedError } from '../errors';
import { describeMachine } from '../machine';
import type { Method } from '../methods/define';
import type { Series, Verdict } from '../methods/experiment';
import { findMethod, methods } from '../methods/registry';
import { createRuntime, type RuntimeOptions } from '../ops/create-runtime';
import { citationOf } from '../papers/find';
import { htmlPage } from '../report/page';
import { type Reproduction, reproductionNotes, reproductionRows, reproductionSetting } from '../report/reproduction';
import { significant } from '../text/format';
import { printable } from '../text/printable';
import { shellCommand } from '../text/shell';
import { formatTable, right, styledLines } from '../text/table';
import { failIfAny, WITH_FAILURES } from './failures';
import { backendOption, threadsOption } from './options';
import { withProgress } from './progress';
import { wrap } from './wrap';
import { checkWritable, say, writeFileAtomic } from './write-file';

interface ReproduceOptions extends Pick<RuntimeOptions, 'backend' | 'threads'> {
  readonly json?: string;
  readonly html?: string;
  readonly quick?: true;
}

const COLOURS = {
  reproduced: 'green',
  'holds by construction': 'green',
  partly: 'yellow',
  undecided: 'yellow',
  'not reproduced': 'red',
  refused: 'red',
  'not measured': 'red',
  'not tested here': 'dim',
} as const satisfies Record<Verdict, string>;
const [CLAIM_WIDTH, MEASURED_WIDTH, TEXT_WIDTH] = [48, 36, 100];

export function reproduceCommand(): Command {
  return new Command('reproduce')
    .description("hold a paper's claims against measurements; without a method: list")
    .argument('[method]')
    .option('--json <file>', 'write every figure as JSON')
    .option('--html <file>', 'write a page with a plot of the figures')
    .option('--quick', 'small sizes, a few seconds: shows that it works, not what is claimed')
    .addOption(backendOption())
    .addOption(threadsOption())
    .addHelpText('after', '\nExample:\n  $ saccade reproduce power-attention --json power.json')
    .addHelpText('after', WITH_FAILURES)
    .action((name: string | undefined, options: ReproduceOptions) =>
      name === undefined ? listExperiments(options) : reproduce(name, options),
    );
}

async function listExperiments({ json, html }: ReproduceOptions): Promise<void> {
  for (const [flag, file] of Object.entries({ json, html })) {
    if (file !== undefined) throw new ParameterError(`--${flag} needs a method whose claims to reproduce`);
  }
  const rows = await Promise.all(
    withExperiment().map(async (method) => [method.name, (await method.experiment?.())?.experiment.title ?? '']),
  );
  process.stdout.write(`${formatTable(['method', 'what is measured'], rows)}\n`);
}

async function reproduce(name: string, { json, html, quick, ...options }: ReproduceOptions): Promise<void> {
  const method = findMethod(name);
  if (!method.experiment) {
    const known = withExperiment().map((candidate) => candidate.name);
    throw new UnsupportedError(`${name} has no experiment to reproduce: choose one of ${known.join(', ')}`);
  }
  const files = [json, html].filter((file) => file !== undefined);
  for (const file of files) await checkWritable(file);

  const { experiment } = await method.experiment();
  using runtime = await createRuntime(options);
  const machine = await describeMachine();
  const findings = await withProgress(`reproduce ${name}`, (control) =>
    experiment.run({ runtime, ...control, ...(quick && { quick }) }),
  );
  const report: Reproduction = {
    format: 'saccade reproduce',
    version: 2,
    command: shellCommand(['saccade', 'reproduce', name, ...(quick ? ['--quick'] : [])]),
    machine,
    runtime: runtime.backend.explain(),
    method: name,
    paper: citationOf(method.paper),
    title: experiment.title,
    quick: quick === true,
    findings,
  };
  if (json !== undefined) await writeFileAtomic(json, `${JSON.stringify(report, undefined, 2)}\n`);
  if (html !== undefined)
    await writeFileAtomic(html, htmlPage({ title: `saccade reproduce ${name}`, view: 'reproduce', data: report }));
  await say(reportText(report, files), ...files);
  const failed = findings.flatMap(({ verdict }, at) => (verdict === 'not measured' ? [`claim ${at + 1}`] : []));
  failIfAny(failed, findings.length, 'claims');
}

function withExperiment(): Method[] {
  return methods.filter((method) => method.experiment);
}

function reportText(report: Reproduction, files: readonly string[]): string {
  const { method, paper, title, quick, findings } = report;
  const dim = (text: string) => styleText('dim', wrap(text, TEXT_WIDTH));
  const source = paper ? ` (${paper.title}, arXiv ${paper.arxiv}, ${paper.year})` : '';
  const notes = reproductionNotes(report);
  return [
    styleText('bold', wrap(`${method}${source}: ${title}`, TEXT_WIDTH)),
    '',
    formatTable([right(''), 'claim', 'measured', 'verdict'], reproductionRows(report).map(row)),
    ...(notes.length > 0 ? ['', ...notes.map((text) => wrap(text, TEXT_WIDTH))] : []),
    ...findings.flatMap(({ series = [] }) =>
      series.flatMap((one) => ['', styleText('bold', one.title), seriesTable(one)]),
    ),
    '',
    ...(quick ? [dim('Sizes were small (--quick): what depends on them says little, and times are not judged.')] : []),
    dim(reproductionSetting(report)),
    ...files.map((file) => `Written: ${printable(file)}`),
  ].join('\n');
}

function row([number, claim, source, measured, verdict]: ReturnType<typeof reproductionRows>[number]): string[] {
  const cited = `${wrap(claim, CLAIM_WIDTH)}\n${styledLines('dim', wrap(source, CLAIM_WIDTH))}`;
  return [number, cited, wrap(measured, MEASURED_WIDTH), coloured(verdict)];
}

function coloured(verdict: Verdict): string {
  return styleText(COLOURS[verdict], verdict);
}

function seriesTable({ x, lines }: Series): string {
  const columns = [x.label, ...lines.map(({ label }) => label)].map(right);
  const rows = x.values.map((value, at) => [
    typeof value === 'number' ? figure(value) : value,
    ...lines.map(({ values }) => (values[at] == null ? '' : figure(values[at]))),
  ]);
  return formatTable(columns, rows);
}

function figure(value: number): string {
  return Number.isSafeInteger(value) ? String(value) : significant(value);
}
