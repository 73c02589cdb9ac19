/** The README lists the methods, docs/benchmarks.md what was measured: `npx vitest run test/readme.test.ts -u` updates both. */
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { NETWORK_COLUMNS, NETWORK_WORDS, networkCells, summaries } from '../scripts/network-rows';
import type { RanksRun } from '../scripts/ranks-run';
import type { LongContextReport } from '../src/bench/long-context/report';
import { pairsOf } from '../src/bench/longca/cases';
import { type LongCaReport, type LongCaRow, timesDense } from '../src/bench/longca/report';
import type { BenchReport, BenchRow, MeasureName } from '../src/bench/report';
import { TRIAL_COLUMNS, trialCells, trialNotes } from '../src/cli/paint-test';
import { TRANSFORMER_COLUMNS, transformerCells, transformerNotes } from '../src/cli/paint-transformers';
import { groupBy } from '../src/group-by';
import { formatMachine, machineFile } from '../src/machine';
import { describeParams } from '../src/methods/params';
import { methods } from '../src/methods/registry';
import type { LearnerSummary } from '../src/pipelines';
import type { Transformers } from '../src/pipelines/lit/compare';
import { PIPELINES } from '../src/pipelines/names';
import { formatBytes, formatPercent, formatRatio, formatTime, significant } from '../src/text/format';
import { markdownTable, replaceSection } from './markdown';

const root = resolve(import.meta.dirname, '..');
const HEAD_DIMENSION = 64;

async function expectCurrent(page: string, sections: Readonly<Record<string, string>>): Promise<void> {
  const text = await readFile(`${root}/${page}`, 'utf8');
  const current = Object.entries(sections).reduce((all, [name, content]) => replaceSection(all, name, content), text);
  await expect(current).toMatchFileSnapshot(`${root}/${page}`);
}

test('the README has the methods of the registry', () => expectCurrent('README.md', { methods: methodsSection() }));

test('the table of small networks is that of docs/networks', async () => {
  const { rows } = JSON.parse(await readFile(`${root}/docs/networks/networks.json`, 'utf8'));
  const table = markdownTable([NETWORK_COLUMNS, ...networkCells(summaries(rows))], NETWORK_WORDS);
  await expectCurrent('src/models/vision/trained/README.md', { networks: table });
});

test('the tables of benchmarks are those of docs/bench', async () =>
  expectCurrent('docs/benchmarks.md', {
    'bench attention': attentionSection(await runsOf('attention')),
    'bench sparse': sparseSection(await runsOf('sparse')),
    'bench browser': browserSection(await runsOf('browser')),
    'bench conv': convSection(await runsOf('conv')),
    'bench train': trainSection(await runsOf('train'), await runsOf('train-browser')),
  }));

test('the tables of long contexts are those of the newest stored run, if there is one', async () => {
  const folder = `${root}/docs/bench/long-context`;
  const files = existsSync(folder) ? await readdir(folder) : [];
  const runs = await Promise.all(
    files.map(async (file) => JSON.parse(await readFile(`${folder}/${file}`, 'utf8')) as LongContextReport),
  );
  const [newest] = runs.sort((a, b) => b.machine.date.localeCompare(a.machine.date));
  await expectCurrent('docs/benchmarks.md', { 'bench long-context': newest ? longSection(newest) : NO_RUN });
});

test('the table of the masks of LongCA-bench is that of its newest stored run, which is kept by machine', async () => {
  const files = await readdir(`${root}/docs/longca`);
  const runs = await Promise.all(
    files.map(async (file) => JSON.parse(await readFile(`${root}/docs/longca/${file}`, 'utf8')) as LongCaReport),
  );
  expect(runs.map(({ machine }) => machineFile(machine))).toEqual(files);
  expect(runs.map(({ complete }) => complete)).toEqual(files.map(() => true));
  const [newest] = runs.sort((a, b) => b.machine.date.localeCompare(a.machine.date)) as [LongCaReport];
  await expectCurrent('src/methods/sparse/longca/README.md', { 'bench longca': masksSection(newest) });
});

test('the table of attention over ranks is that of its newest stored run, which is kept by machine', async () => {
  const files = await readdir(`${root}/docs/ranks`);
  const runs = await Promise.all(
    files.map(async (file) => JSON.parse(await readFile(`${root}/docs/ranks/${file}`, 'utf8')) as RanksRun),
  );
  expect(runs.map(({ machine }) => machineFile(machine))).toEqual(files);
  const [newest] = runs.sort((a, b) => b.machine.date.localeCompare(a.machine.date)) as [RanksRun];
  await expectCurrent('docs/guide/ranks.md', { ranks: ranksSection(newest) });
});

test('the tables of pipelines are those of docs/pipelines', async () => {
  const runOf = async (file: string) => JSON.parse(await readFile(`${root}/docs/pipelines/${file}`, 'utf8'));
  const series = PIPELINES['generative-kernel-continual-learning']?.shown?.runs ?? [];
  await expectCurrent('src/pipelines/README.md', {
    learners: learnersSection(await Promise.all(series.map(({ file }) => runOf(file)))),
    detectors: detectorsSection(await runOf('c3d-ad.json')),
    transformers: transformersSection(await runOf('dydi-lit.json')),
    painted: paintedSection(await runOf('optiprune.json')),
  });
});

test.each(methods.map((method) => [method.name, method] as const))(
  'the page of %s names its params and inputs',
  async (_, method) => {
    const { family, name, params, optional = {} } = method;
    const page = await readFile(`${root}/src/methods/${family}/${name}/README.md`, 'utf8');
    const names = [...describeParams(params).map((param) => param.name), ...Object.keys(optional)];
    expect(names.filter((each) => !page.includes(`\`${each}\``))).toEqual([]);
  },
);

test.each(await readdir(`${root}/docs/bench`))('the runs of bench %s are whole and kept by machine', async (suite) => {
  const runs = await runsOf(suite);
  expect(runs.map(({ complete }) => complete)).toEqual(runs.map(() => true));
  expect((await readdir(`${root}/docs/bench/${suite}`)).sort()).toEqual(
    runs.map(({ machine }) => machineFile(machine)).sort(),
  );
});

test('times of methods are kept by machine, and of methods that there are', async () => {
  const known = methods.map(({ name }) => name);
  for (const file of await readdir(`${root}/docs/times`)) {
    const { machine, times } = JSON.parse(await readFile(`${root}/docs/times/${file}`, 'utf8'));
    expect(file).toBe(machineFile(machine));
    for (const { method, speedup } of times) expect([known.includes(method), speedup > 0]).toEqual([true, true]);
  }
});

test('ratios are a range over the machines, times those of the newest run', () => {
  const run = (date: string, time: number, ratio: number, status: BenchRow['status'] = 'ok') => {
    const row = { name: 'a', n: 1, status, measures: { time, ratio } };
    return { machine: { cpu: 'X(R) Y', cores: 2, date }, rows: [row] } as unknown as BenchReport;
  };
  const cell = (...runs: BenchReport[]) => timeCell(runs, (row) => row.name === 'a', true);
  expect(cell(run('2', 10, 1.9), run('1', 20, 2.7))).toBe('10.0 ms (1.90 to 2.70×)');
  expect(cell(run('2', 10, 1.9), run('1', 20, 1.9))).toBe('10.0 ms (1.90×)');
  expect(cell(run('2', 10, 1.9), run('1', 20, 2.7, 'failed'))).toBe('10.0 ms (1.90×)');
  expect(cell(run('2', 10, 1.9, 'too slow'), run('1', 20, 2.7))).toBe('too slow');
  expect(machineFile(run('2', 1, 1).machine)).toBe('x-y-2-cores.json');
});

/** The runs of a suite, one for each machine, the newest first: its times are shown. */
async function runsOf(suite: string): Promise<BenchReport[]> {
  const folder = `${root}/docs/bench/${suite}`;
  const files = await readdir(folder);
  const runs = await Promise.all(
    files.map(async (file) => JSON.parse(await readFile(`${folder}/${file}`, 'utf8')) as BenchReport),
  );
  return runs.sort((a, b) => b.machine.date.localeCompare(a.machine.date));
}

function methodsSection(): string {
  const rows = methods.map(({ name, family, summary }) => {
    const page = `src/methods/${family}/${name}/README.md`;
    return [existsSync(`${root}/${page}`) ? `[\`${name}\`](${page})` : `\`${name}\``, family, summary];
  });
  return markdownTable([['method', 'family', 'what it computes'], ...rows], 3);
}

/** The shortest length of the table of masks, if a run has one as long. */
const LONG = 8192;

/** A table for each length from 8K on, or else for the longest: GFLOP/s by mask and contender, and what the area predicts. */
function masksSection({ rows, contenders, machine, runtime, command }: LongCaReport): string {
  const alike = rows.filter(({ h, g }) => h === g);
  const byLength = [...groupBy(alike, ({ n }) => String(n)).values()].sort(([a], [b]) => (a?.n ?? 0) - (b?.n ?? 0));
  const long = byLength.filter(([row]) => (row?.n ?? 0) >= LONG);
  const tables = (long.length > 0 ? long : byLength.slice(-1)).map((own) => masksTable(own, contenders));
  return `GFLOP/s of the pairs seen, and the time over that of \`full\` times the share of the pairs.\n\n${tables.join('\n\n')}\n\n${formatMachine(machine)}; ${runtime.join('; ')}. By \`${command}\`; every case is in [docs/longca](../../../../docs/longca).`;
}

function masksTable(own: readonly LongCaRow[], contenders: LongCaReport['contenders']): string {
  const shown = contenders.filter(({ name }) => own.some(({ contender }) => contender === name));
  const [{ n, h, g }] = own as [LongCaRow];
  const cells = (name: string, mask: string, pass: string) => {
    const row = own.find((row) => row.contender === name && row.mask === mask && row.pass === pass);
    const ratio = row && timesDense(row, own);
    const rate = row?.time ? significant(row.flops / row.time / 1e6) : (row?.status ?? '');
    return hasRatio(name) ? [rate, ratio ? formatRatio(ratio) : ''] : [rate];
  };
  const hasRatio = (name: string) => name.startsWith('saccade');
  const lines = [...new Set(own.map(({ mask }) => mask))].map((mask) => [
    mask,
    formatPercent(pairsOf({ mask, n, h, g }) / (h * n ** 2)),
    ...shown.flatMap(({ name }) => ['forward', 'backward'].flatMap((pass) => cells(name, mask, pass))),
  ]);
  const header = shown.flatMap(({ name, label }) =>
    [label, `${label}, backward`].flatMap((column) => (hasRatio(name) ? [column, 'over area x dense'] : [column])),
  );
  return `${n} tokens:\n\n${markdownTable([['mask', 'pairs seen', ...header], ...lines])}`;
}

/** Seconds by mechanism and number of ranks, and how many times the model's seconds that is. */
function ranksSection({ rows, tokens, heads, d, machine, command }: RanksRun): string {
  const names = rows[0]?.mechanisms.map(({ mechanism }) => mechanism) ?? [];
  const lines = names.map((name) => [
    `\`${name}\``,
    ...rows.flatMap(({ mechanisms, besideSeconds }) => {
      const { seconds, modelSeconds } = mechanisms.find(({ mechanism }) => mechanism === name) ?? {
        seconds: Number.NaN,
        modelSeconds: Number.NaN,
      };
      return [formatTime(1000 * seconds), formatRatio(seconds / besideSeconds), formatRatio(seconds / modelSeconds)];
    }),
  ]);
  const header = rows.flatMap(({ ranks, threads }) => [
    `${ranks} ranks`,
    `over one process of ${threads} threads`,
    'over the model',
  ]);
  return [
    markdownTable([['mechanism', ...header], ...lines]),
    `${tokens} tokens, ${heads} heads of ${d}; more ranks than cores take turns. ${formatMachine(machine)}. By \`${command}\`.`,
  ].join('\n\n');
}

interface LearnersRun {
  readonly command: string;
  readonly name: string;
  readonly settings: { readonly seeds: number };
  readonly learners: readonly LearnerSummary[];
  readonly equal?: Readonly<Record<'stored' | 'classes' | 'whole', number>> & { readonly isAsAccurate: boolean };
}

/** Learners of each series of tasks, and memory at equal accuracy. */
function learnersSection(runs: readonly LearnersRun[]): string {
  const interval = ({ value, high }: LearnerSummary['accuracy']) =>
    `${formatPercent(value)}${Number.isFinite(high ?? Number.NaN) ? ` ± ${formatPercent(high - value)}` : ''}`;
  const rows = runs.flatMap(({ name, learners }) =>
    learners.map(({ learner, stored, accuracy, forgetting, memory }, at) => [
      at === 0 ? name : '',
      `\`${learner}\`${stored === undefined ? '' : `, ${stored} of a class`}`,
      interval(accuracy),
      interval(forgetting),
      formatBytes(memory.classes),
      formatBytes(memory.whole),
    ]),
  );
  const header = ['tasks', 'learner', 'accuracy', 'forgotten', 'kept of classes', 'and the network'];
  const equal = runs.flatMap(({ name, equal }) => {
    if (!equal) return [];
    const more = equal.isAsAccurate ? '' : 'more than ';
    return [
      [name, ...[String(equal.stored), formatRatio(equal.classes), formatRatio(equal.whole)].map((x) => more + x)],
    ];
  });
  const columns = ['tasks', 'fewest stored rows of a class', 'memory of classes over its own', 'with all weights'];
  const commands = runs.map(({ command }) => `\`${command}\``).join('; ');
  return [
    markdownTable([header, ...rows], 2),
    'Stored rows that are as accurate as `generative`:',
    markdownTable([columns, ...equal]),
    `Means over three seeds, with 95% intervals, unless the command says otherwise. By ${commands}; all of them by \`node scripts/continual-runs.ts\`.`,
  ].join('\n\n');
}

const NO_RUN = 'No run is stored yet.';

/** Prompts, steps and losses by method, and how many times as fast as exact attention they are. */
function longSection({ speed, losses, machine, runtime, command }: LongContextReport): string {
  const tableOf = (name: 'prompt' | 'step') => {
    const lengths = [...new Set(speed.map(({ n }) => n))];
    const timeOf = (label: string, n: number) => speed.find((row) => row.label === label && row.n === n)?.[name];
    const cell = (label: string, n: number) => {
      const [time, exact] = [timeOf(label, n), timeOf('exact', n)];
      if (time === undefined) return '';
      return label === 'exact' || exact === undefined
        ? formatTime(time)
        : `${formatTime(time)} (${formatRatio(exact / time)})`;
    };
    const labels = [...new Set(speed.map(({ label }) => label))];
    return markdownTable([
      [name, ...lengths.map(String)],
      ...labels.map((label) => [label, ...lengths.map((n) => cell(label, n))]),
    ]);
  };
  const longest = Math.max(...losses.map(({ n }) => n));
  const known = losses.filter(({ n, loss }) => n === longest && loss !== undefined);
  const ofLosses = known.map(({ label, loss, needles = [] }) => [
    label,
    (loss as number).toFixed(4),
    ...needles.map((needle) => significant(needle.loss)),
  ]);
  const depths = (known[0]?.needles ?? []).map(({ depth }) => `needle at ${formatPercent(depth)}`);
  const ofModel = known.length > 0 ? [markdownTable([[`${longest} tokens`, 'loss', ...depths], ...ofLosses])] : [];
  return [
    ...(speed.length > 0 ? [tableOf('prompt'), tableOf('step')] : []),
    ...ofModel,
    `${formatMachine(machine)}; ${runtime.join('; ')}. By \`${command}\`.`,
  ].join('\n\n');
}

interface DetectorsRun {
  readonly settings: { readonly arms: readonly string[]; readonly seeds: number; readonly steps: number };
  readonly dataSeed: number;
  readonly tasks: readonly (readonly string[])[];
  readonly arms: readonly {
    readonly arm: string;
    /** After each task; JSON has null for the infinite bounds of one seed. */
    readonly object: readonly Record<'value' | 'low' | 'high', number | null>[];
    readonly point: DetectorsRun['arms'][number]['object'];
    /** [seed][task learned last], of the classes so far. */
    readonly figures: readonly (readonly (readonly { readonly object: number }[])[])[];
  }[];
}

/** AUROC by cloud after each task, and by point after the last. */
function detectorsSection({ settings: { arms, seeds, steps }, dataSeed, tasks, arms: found }: DetectorsRun): string {
  const cell = ({ value, high }: DetectorsRun['arms'][number]['object'][number]) =>
    `${(value as number).toFixed(3)}${high === null ? '' : ` ± ${(high - (value as number)).toFixed(3)}`}`;
  const header = ['after task', ...tasks.map((_, task) => String(task + 1)), 'by point, in the end'];
  const rows = found.map(({ arm, object, point }) => [
    `\`${arm}\``,
    ...object.map(cell),
    cell(point.at(-1) as (typeof point)[number]),
  ]);
  const classes = ['classes', ...tasks.map((_, task) => String(tasks.slice(0, task + 1).flat().length)), ''];
  const each = (values: readonly number[]) => values.map((value) => value.toFixed(3)).join(', ');
  const kept = found.map(({ arm, figures }) => {
    const told = figures.map((rows) => learnedAndLost(rows, tasks));
    return [`\`${arm}\``, each(told.map(({ learned }) => learned)), each(told.map(({ lost }) => lost))];
  });
  const keeping = markdownTable([['by seed', 'right after its task', 'lost by the end'], ...kept]);
  const command = `saccade anomaly train --data shapes --data-seed ${dataSeed} --arms ${arms.join(',')} --seeds ${seeds} --steps ${steps}`;
  return `${markdownTable([header, classes, ...rows])}\n\nA class's AUROC right after its task, and how far those of all tasks but the last fell from there:\n\n${keeping}\n\n${seeds === 1 ? 'One seed, so no intervals' : `Means over ${seeds} seeds, with 95% intervals`}. By \`${command}\`; the run is [docs/pipelines/c3d-ad.json](../../docs/pipelines/c3d-ad.json).`;
}

/** The mean AUROC of classes right after their task, and how far those of all tasks but the last fall until the end. */
function learnedAndLost(rows: DetectorsRun['arms'][number]['figures'][number], tasks: DetectorsRun['tasks']) {
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const classes = tasks.flatMap((names, task) => names.map(() => task));
  const learned = classes.map((task, at) => rows[task]?.[at]?.object as number);
  const older = classes.filter((task) => task < tasks.length - 1).length;
  const ends = rows.at(-1)?.map(({ object }) => object) ?? [];
  return { learned: mean(learned), lost: mean(learned.slice(0, older)) - mean(ends.slice(0, older)) };
}

type TransformersRun = Transformers & {
  readonly settings: Parameters<typeof transformerCells>[1] & Parameters<typeof transformerNotes>[1];
  readonly machine: Parameters<typeof formatMachine>[0];
};

function transformersSection(run: TransformersRun): string {
  const { settings, machine } = run;
  const { seeds, steps, pictures } = settings;
  const cells = transformerCells(run, settings).map(([name, ...others]) => [`\`${name}\``, ...others]);
  const command = `saccade paint transformers --seeds ${seeds} --steps ${steps} --pictures ${pictures}`;
  return `${markdownTable([TRANSFORMER_COLUMNS, ...cells])}\n\n${transformerNotes(run, settings)} ${formatMachine(machine)}. By \`${command}\`; the run is [docs/pipelines/dydi-lit.json](../../docs/pipelines/dydi-lit.json).`;
}

function paintedSection({ settings, arms }: PaintedRun): string {
  const { prompts, seed } = settings;
  const ways = arms.map(({ name }) => name).filter((name) => name !== 'plain');
  const command = `saccade paint test --prompts ${prompts} --seed ${seed} --ways ${ways.join(',')}`;
  return `${markdownTable([TRIAL_COLUMNS, ...trialCells(arms)])}\n\n${trialNotes(prompts)} By \`${command}\`; the run is [docs/pipelines/optiprune.json](../../docs/pipelines/optiprune.json).`;
}

interface PaintedRun {
  readonly settings: { readonly prompts: number; readonly seed: number };
  readonly arms: Parameters<typeof trialCells>[0];
}

/** Masks beside our own dense attention of the same extents: lengths at which there are peers are left out. */
function sparseSection(runs: readonly BenchReport[]): string {
  const { rows } = runs[0] as BenchReport;
  const rivals = new Set(rows.filter(({ how }) => how !== undefined).map(({ n }) => n));
  const compared = rows.filter(
    ({ n, status, measures: { visited, ratio } }) =>
      status === 'ok' && visited !== undefined && ratio !== undefined && !rivals.has(n),
  );
  // Dense attention is measured with each group of masks anew.
  const groups = groupBy(compared, ({ name, label, n }) => `${name} ${label} ${n}`);
  const shown = [...groups.values()].map(([row]) => row as BenchRow);
  const cells = [
    ['mask', 'n', 'tiles visited', 'time', 'of dense', 'share of peak'],
    ...shown.map((row) => {
      const { name, label, n, measures } = row;
      const isSame = (other: BenchRow) => other.name === name && other.label === label && other.n === n;
      return [
        label.startsWith('dense') ? label : `${name}: ${label}`,
        String(n),
        formatPercent(measures.visited ?? Number.NaN),
        formatTime(measures.time as number),
        rangeOf(runs, isSame, 'ratio', formatRatio),
        rangeOf(runs, isSame, 'peakShare', formatPercent),
      ];
    }),
  ];
  return `${markdownTable(cells)}\n\n${notesOf(runs)}`;
}

/** Of a measure of the rows that several machines have measured: such as `1.90 to 2.70×`. */
function rangeOf(
  runs: readonly BenchReport[],
  isRow: (row: BenchRow) => boolean,
  measure: MeasureName,
  format: (value: number) => string,
): string {
  const rows = runs.flatMap(({ rows }) => rows.find((row) => isRow(row) && row.status === 'ok') ?? []);
  const values = rows.map(({ measures }) => measures[measure] ?? Number.NaN);
  const [least, most] = [format(Math.min(...values)), format(Math.max(...values))];
  return least === most ? most : `${least.replace(/[^\d.]+$/, '')} to ${most}`;
}

function notesOf(runs: readonly BenchReport[]): string {
  const [{ runtime, command }] = runs as [BenchReport];
  const machines = runs.map(({ machine }, at) => `(${at + 1}) ${formatMachine(machine)}`);
  const where =
    machines.length === 1
      ? formatMachine((runs[0] as BenchReport).machine)
      : `Times on (1), ranges over all of ${machines.join('; ')}`;
  // What it chose for single calls would be a page.
  const facts = runtime.filter((fact) => /^\w+: /.test(fact));
  return `${where}; ${facts.join('; ')}. By \`${command}\`.`;
}

function attentionSection(runs: readonly BenchReport[]): string {
  const [{ rows }] = runs as [BenchReport];
  const shown = rows.filter(({ d }) => d === HEAD_DIMENSION);
  const names = [...new Set(shown.map(({ name }) => name))];
  const labels = names.map((name) => shown.find((row) => row.name === name)?.label as string);
  const problems = groupBy(shown, ({ mask, n }) => `${mask} ${n}`);
  const cells = [
    ['mask', 'n', ...labels],
    ...[...problems].map(([problem, group]) => [
      ...problem.split(' '),
      ...names.map((name, at) => {
        const [{ mask, n, d }] = group as [BenchRow];
        return timeCell(runs, (row) => row.name === name && row.mask === mask && row.n === n && row.d === d, at > 0);
      }),
    ]),
  ];
  return `${markdownTable(cells)}\n\n${notesOf(runs)}`;
}

/** A row for each convolution: its time and those of its gradients, each with its share of the multiply-add peak. */
function convSection(runs: readonly BenchReport[]): string {
  const [{ rows }] = runs as [BenchReport];
  const parts = ['', ', gradient with respect to x', ', gradient with respect to weight'];
  const labels = rows.map(({ label }) => label);
  const shown = labels.filter((label) => labels.includes(`${label}${parts[1]}`));
  const cells = [
    ['kernel, picture, channels', 'forward', ...parts.slice(1).map((part) => part.slice(2))],
    ...shown.map((label) => [
      label,
      ...parts.map((part) => {
        const isRow = (row: BenchRow) => row.label === label + part;
        return `${timeCell(runs, isRow, false)} (${rangeOf(runs, isRow, 'peakShare', formatPercent)})`;
      }),
    ]),
  ];
  return `${markdownTable(cells)}\n\n${notesOf(runs)}`;
}

/** A row for each contender, each compared with Saccade on the same backend. */
function browserSection(runs: readonly BenchReport[]): string {
  const [{ rows }] = runs as [BenchReport];
  const lengths = [...new Set(rows.map(({ n }) => n))];
  const cells = [
    ['', ...lengths.map((n) => `n = ${n}`)],
    ...[...new Set(rows.map(({ label }) => label))].map((label) => [
      label,
      ...lengths.map((n) => timeCell(runs, (row) => row.label === label && row.n === n, !label.startsWith('Saccade'))),
    ]),
  ];
  return `${markdownTable(cells)}\n\n${notesOf(runs)}`;
}

/** A row for each contender, in Node and in a page. */
function trainSection(here: readonly BenchReport[], inPages: readonly BenchReport[]): string {
  const contenders = { step: 'Saccade', 'jax-js': 'jax-js', tfjs: 'TensorFlow.js', pytorch: 'PyTorch' };
  const cells = [
    ['', 'Node', 'Chromium'],
    ...Object.entries(contenders).map(([name, label]) => [
      label,
      timeCell(here, (row) => row.name === name, name !== 'step'),
      timeCell(inPages, (row) => row.name === `${name}-wasm`, name !== 'step'),
    ]),
  ];
  return `${markdownTable(cells)}\n\n${notesOf(here)}\n\n${notesOf(inPages)}`;
}

/** The time in the newest run, if it has the row, and for rivals its ratio to the baseline over all runs. */
function timeCell(runs: readonly BenchReport[], isRow: (row: BenchRow) => boolean, isRival: boolean): string {
  const row = runs[0]?.rows.find(isRow);
  if (row?.status !== 'ok') return row?.status ?? '';
  return formatTime(row.measures.time as number) + (isRival ? ` (${rangeOf(runs, isRow, 'ratio', formatRatio)})` : '');
}
