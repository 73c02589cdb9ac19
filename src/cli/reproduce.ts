import { join } from 'node:path';
import { styleText } from 'node:util';
import { Command } from 'commander';
import { isRecord, show } from '../check';
import { ParameterError, ParseError } from '../errors';
import { findMeasured, loadExperiment, measured } from '../experiments';
import { type Experiment, type Finding, isOf, type Series, type Verdict } from '../experiments/experiment';
import { describeMachine } from '../machine';
import { createRuntime, type RuntimeOptions } from '../ops/create-runtime';
import { citationOf } from '../papers/find';
import { htmlPage } from '../report/page';
import { type Reproduction, reproductionNotes, reproductionRows, reproductionSetting } from '../report/reproduction';
import { significant } from '../text/format';
import { printable } from '../text/printable';
import { shellCommand } from '../text/shell';
import { formatTable, right, styledLines } from '../text/table';
import { failIfAny, WITH_FAILURES } from './failures';
import { lockFolder } from './lock-folder';
import { backendOption, jsonOption, threadsOption } from './options';
import { withProgress } from './progress';
import { readIfThere } from './read-tensors';
import { wrap } from './wrap';
import { checkWritable, say, writeFileAtomic } from './write-file';

export interface ReproduceOptions extends Pick<RuntimeOptions, 'backend' | 'threads'> {
  readonly json?: string;
  readonly html?: string;
  readonly quick?: true;
  readonly resume?: string;
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

/** `act` is what it does with a paper. */
export function reproduceCommand(act: (name: string, options: ReproduceOptions) => Promise<void> = reproduce): Command {
  return new Command('reproduce')
    .argument('[paper]', 'its name, or that of a method of it')
    .option('--resume <folder>', 'keep what was measured here, and go on from what is there')
    .addOption(jsonOption('every figure'))
    .option('--html <file>', 'write a page with a plot of the figures')
    .option('--quick', 'small sizes, a few seconds: shows that it works, not what is claimed')
    .addOption(backendOption())
    .addOption(threadsOption())
    .addHelpText('after', '\nExample:\n  $ saccade reproduce power-attention --json power.json')
    .addHelpText('after', WITH_FAILURES)
    .action((name: string | undefined, options: ReproduceOptions) =>
      name === undefined ? listExperiments(options) : act(name, options),
    );
}

async function listExperiments({ json, html, resume }: ReproduceOptions): Promise<void> {
  for (const [flag, given] of Object.entries({ json, html, resume })) {
    if (given !== undefined) throw new ParameterError(`--${flag} needs a paper whose claims to reproduce`);
  }
  const rows = measured.map(async (paper) => [paper.id, (await loadExperiment(paper)).title]);
  process.stdout.write(`${formatTable(['paper', 'what is measured'], await Promise.all(rows))}\n`);
}

async function reproduce(name: string, { json, html, resume, quick, ...options }: ReproduceOptions): Promise<void> {
  const paper = findMeasured(name);
  const { id } = paper;
  const files = [json, html].filter((file) => file !== undefined);
  for (const file of files) await checkWritable(file);
  using _ = resume === undefined ? null : lockFolder(resume);

  const experiment = await loadExperiment(paper);
  using runtime = await createRuntime(options);
  const machine = await describeMachine();
  const reportOf = (findings: readonly Finding[]): Reproduction => ({
    format: 'saccade reproduce',
    version: 3,
    command: shellCommand(['saccade', 'reproduce', id, ...(quick ? ['--quick'] : [])]),
    machine,
    runtime: runtime.backend.explain(),
    paper: citationOf(paper),
    title: experiment.title,
    quick: quick === true,
    findings,
  });
  const kept = resume === undefined ? undefined : join(resume, `${id}.json`);
  const earlier = kept === undefined ? [] : await findingsIn(kept, reportOf([]), experiment);
  const write = (file: string, findings: readonly Finding[]) =>
    writeFileAtomic(file, `${JSON.stringify(reportOf(findings), undefined, 2)}\n`);
  const findings = await withProgress(`reproduce ${id}`, (control) =>
    experiment.run({
      runtime,
      ...control,
      ...(quick && { quick }),
      earlier,
      ...(kept !== undefined && { onFindings: (sofar) => write(kept, sofar) }),
    }),
  );
  const report = reportOf(findings);
  if (json !== undefined) await write(json, findings);
  if (html !== undefined)
    await writeFileAtomic(html, htmlPage({ title: `saccade reproduce ${id}`, view: 'reproduce', data: report }));
  await say(reportText(report, files), ...files);
  const failed = findings.flatMap(({ verdict }, at) => (verdict === 'not measured' ? [`claim ${at + 1}`] : []));
  failIfAny(failed, findings.length, 'claims');
}

/** What makes two runs comparable, but for the date. */
function settingOf({ paper, machine: { date: _, ...machine }, runtime, quick }: Reproduction) {
  return { paper: paper.id, ...machine, backend: runtime.join('; '), quick };
}

/**
 * The findings of an earlier run of the same experiment, in the same setting; none if there is no file.
 *
 * @throws {ParseError} something else; {ParameterError} a run of another version, machine or setting
 */
async function findingsIn(path: string, wanted: Reproduction, experiment: Experiment): Promise<readonly Finding[]> {
  const bytes = await readIfThere(path);
  if (!bytes) return [];
  const earlier = parseReproduction(path, bytes);
  const [had, expected] = [settingOf(earlier), settingOf(wanted)] as Readonly<Record<string, unknown>>[];
  const refuse = (why: string) =>
    new ParameterError(`cannot go on with '${path}', ${why}; give another folder, or delete the file`);
  for (const [each, value] of Object.entries(expected ?? {})) {
    if (had?.[each] !== value) throw refuse(`a run with ${each} ${show(had?.[each])}, expected ${show(value)}`);
  }
  const claims = Object.values(experiment.claims);
  const other = earlier.findings.find((finding) => !claims.some((claim) => isOf(claim, finding, wanted.quick)));
  if (other) throw refuse(`a run of another version of the experiment, which judged otherwise: ${other.claim}`);
  return earlier.findings;
}

function parseReproduction(path: string, bytes: Uint8Array): Reproduction {
  try {
    const run = JSON.parse(new TextDecoder().decode(bytes));
    const { format, version, paper, machine, runtime, findings } = run;
    const judgements = findings.flatMap((finding: Finding) => [...finding.judgements]);
    const isWhole = [paper, machine, ...findings, ...judgements].every(isRecord) && Array.isArray(runtime);
    if (format === 'saccade reproduce' && version === 3 && isWhole) return run;
  } catch {
    // Reported below.
  }
  throw new ParseError(`${path} is no file of saccade reproduce`);
}

function reportText(report: Reproduction, files: readonly string[]): string {
  const { paper, title, quick, findings } = report;
  const dim = (text: string) => styleText('dim', wrap(text, TEXT_WIDTH));
  const source = `${paper.title}, arXiv ${paper.arxiv}, ${paper.year}`;
  const notes = reproductionNotes(report);
  return [
    styleText('bold', wrap(`${paper.id} (${source}): ${title}`, TEXT_WIDTH)),
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
