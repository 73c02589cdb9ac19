import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { encode } from 'fast-png';
import { createRuntime, type RuntimeOptions } from '../ops/create-runtime';
import { ARMS, type ArmName, aurocOf, type CloudSample } from '../pipelines/anomaly';
import { drawCloud, writePly } from '../pipelines/clouds';
import { formatPercent, significant } from '../text/format';
import { printable } from '../text/printable';
import { formatTable, right } from '../text/table';
import { openDetector, openPointMae } from './anomaly-model';
import { type MadeOptions, madeBy, withMade } from './anomaly-train';
import { lockFolder } from './lock-folder';
import { backendOption, threadsOption } from './options';
import { withProgress } from './progress';
import { MADE, readScored } from './read-clouds';
import { say, writeFileAtomic } from './write-file';

interface TestOptions extends MadeOptions, Pick<RuntimeOptions, 'backend' | 'threads'> {
  readonly model: string;
  readonly out: string;
  readonly arm?: ArmName;
  readonly pointMae?: string;
}

interface Scored {
  readonly cloud: CloudSample;
  readonly object: number;
  readonly points: Float32Array;
}

/** The share of points whose scores lie below the lowest colour, and below the highest. */
const [LOW, HIGH] = [0.05, 0.995];

export function anomalyTestCommand(): Command {
  return withMade(
    new Command('test')
      .description('score clouds and their points, and colour them by it')
      .requiredOption('--model <folder>', 'what anomaly train wrote')
      .requiredOption('--data <path>', `a cloud, a folder of clouds, of classes with tests, or ${MADE}`),
  )
    .option('--out <folder>', 'where scores and coloured clouds go', 'scores')
    .addOption(new Option('--arm <name>', 'whose detector; default: the first that was trained').choices(ARMS))
    .option(
      '--point-mae <file>',
      'the frozen network that the detector was trained with; default: the one that comes along',
    )
    .addOption(backendOption())
    .addOption(threadsOption())
    .addHelpText(
      'after',
      '\nExamples:\n  $ saccade anomaly test --model anomaly --data scan.ply\n  $ saccade anomaly test --model anomaly --data scans --out scores',
    )
    .action(test);
}

async function test({ model, data, meshes, out, arm, pointMae, backend, threads, ...made }: TestOptions) {
  using runtime = await createRuntime({ ...(backend && { backend }), ...(threads && { threads }) });
  const encoder = await openPointMae(runtime, pointMae);
  using detector = await openDetector(runtime, encoder, model, arm);
  const clouds = await readScored(data, meshes, madeBy(made));
  using _ = lockFolder(out);
  const scored = await withProgress('scoring', async ({ signal, onProgress }) => {
    const all: Scored[] = [];
    for (const [at, cloud] of clouds.entries()) {
      signal.throwIfAborted();
      onProgress(at / clouds.length, cloud.name);
      all.push({ cloud, ...(await detector.score(cloud, { signal })) });
    }
    return all;
  });
  await mkdir(out, { recursive: true });
  const range = rangeOf(scored);
  for (const { cloud, points: scores } of scored) {
    const coloured = { points: cloud.points, scores, labels: cloud.labels };
    await writeFileAtomic(join(out, `${cloud.name}.ply`), writePly(coloured, range));
    const { width, height, data: pixels } = drawCloud(coloured, range);
    await writeFileAtomic(
      join(out, `${cloud.name}.png`),
      encode({ width, height, data: pixels, channels: 3, depth: 8 }),
    );
  }
  const figures = figuresOf(scored);
  const listed = scored.map(({ cloud: { name, defect }, object }) => ({ name, defect, score: object }));
  await writeFileAtomic(
    join(out, 'scores.json'),
    `${JSON.stringify({ arm: detector.arm, colours: range, ...figures, clouds: listed }, undefined, 2)}\n`,
  );
  await say(report(scored, figures, out));
}

/** The scores of the lowest colour and of the highest. */
function rangeOf(scored: readonly Scored[]): [number, number] {
  // A part of the points tells enough.
  const some = scored.flatMap(({ points }) => {
    const step = Math.ceil(points.length / 2000);
    return Array.from({ length: Math.ceil(points.length / step) }, (_, at) => points[at * step] as number);
  });
  const sorted = Float32Array.from(some).sort();
  const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))] as number;
  return at(HIGH) > at(LOW) ? [at(LOW), at(HIGH)] : [at(LOW), at(LOW) + 1];
}

function figuresOf(scored: readonly Scored[]) {
  const known = scored.filter(({ cloud }) => cloud.labels !== undefined);
  return {
    object: aurocOf(
      scored.map(({ object }) => object),
      scored.map(({ cloud: { defect } }) => (defect === undefined ? 0 : 1)),
    ),
    point: aurocOf(
      known.flatMap(({ points }) => [...points]),
      known.flatMap(({ cloud: { labels = [] } }) => [...labels]),
    ),
  };
}

function report(scored: readonly Scored[], { object, point }: ReturnType<typeof figuresOf>, out: string): string {
  const rows = [...scored]
    .sort((a, b) => b.object - a.object)
    .map(({ cloud: { name, defect }, object: score, points }) => [
      printable(name),
      defect ?? '-',
      significant(score),
      significant(points.reduce((most, each) => Math.max(most, each), 0)),
    ]);
  const told = (what: string, value: number | undefined) =>
    value === undefined ? [] : [`AUROC by ${what}: ${formatPercent(value)}`];
  return [
    formatTable(['cloud', 'defect', right('score'), right('highest point')], rows),
    '',
    ...told('cloud', object),
    ...told('point', point),
    `Written: ${printable(out)}`,
  ].join('\n');
}
