/** Defects found by the pipeline after three tasks of a shape each: with the advisor, without it, and with softmaxes. */
import { estimateMean } from '../../measure/statistics';
import { type AnomalyProgress, type ArmName, anomaly, loadPointMae, madeClass } from '../../pipelines/anomaly';
import type { ShapeName } from '../../pipelines/clouds/shapes';
import { formatPercent } from '../../text/format';
import { byLabel, chart, listed, type MeasureContext } from '../experiment';
import { mean } from '../vectors';

const ARMS = ['c3d-ad', 'no-advisor', 'softmax'] as const satisfies readonly ArmName[];
const LABELS: Readonly<Record<(typeof ARMS)[number], string>> = {
  'c3d-ad': 'advisor',
  'no-advisor': 'kernel attention',
  softmax: 'softmax',
};
const SHAPES: readonly ShapeName[] = ['ball', 'cone', 'ring'];
/** The seed of shapes and defects that no setting was chosen on. */
const DATA = 500;

export async function detection(context: MeasureContext) {
  const { runtime, signal, quick } = context;
  const shapes = quick ? SHAPES.slice(0, 2) : SHAPES;
  const made = quick ? { learned: 1, unseen: 1 } : { learned: 4, unseen: 2 };
  const classes = shapes.map((name, at) => madeClass(name, name, { ...made, points: 2048, seed: DATA + 10 ** 6 * at }));
  const [seeds, steps] = quick ? [1, 2] : [3, 50];
  const settings = { arms: ARMS, tasks: shapes.length, seeds, steps, batch: 2, views: quick ? 1 : 2, features: 64 };
  const encoder = await loadPointMae(runtime);
  const part = context.part(0.45, 0.7);
  try {
    const { found } = await anomaly(runtime, encoder, classes, settings, undefined, {
      signal,
      onProgress: (share, text) => part.onProgress?.(share, text),
    });
    return told(found, shapes, steps);
  } finally {
    for (const tensor of Object.values(encoder.parameters)) tensor.dispose();
  }
}

/** The mean AUROC of a run's classes after a task. */
const after = ({ figures }: AnomalyProgress, task: number) =>
  mean((figures[task] ?? []).flatMap(({ object }) => object ?? []));

/** How far the AUROC of classes falls from right after their task until the end, the mean over all but the last. */
const fall = ({ figures }: AnomalyProgress) =>
  mean(figures.slice(0, -1).map((row, task) => (row[task]?.object ?? 0) - (figures.at(-1)?.[task]?.object ?? 0)));

function told(found: readonly AnomalyProgress[], shapes: readonly string[], steps: number) {
  const runs = (arm: (typeof ARMS)[number]) => found.filter((each) => each.arm === arm);
  const last = shapes.length - 1;
  const ends = (arm: (typeof ARMS)[number]) => runs(arm).map((run) => after(run, last));
  /** By seeds, each of which both arms have. */
  const ahead = (a: readonly number[], b: readonly number[]) =>
    estimateMean(a.map((value, at) => value - (b[at] ?? 0)));
  const falls = byLabel(ARMS, (arm) => runs(arm).map(fall));
  const details = `Shapes ${shapes.join(', ')}, a task each, ${steps} steps a task, ${runs('c3d-ad').length} seeds of the network, intervals of the difference by seeds; defects that were made, dents, bumps, cuts and holes. The networks stand on one frozen Point-MAE that has seen all shapes.`;
  const measured = ARMS.map((arm) => `${LABELS[arm]} ${listed(ends(arm), formatPercent)}`).join('; ');
  const series = chart(
    'AUROC by cloud of the shapes so far',
    { tasks: shapes.map((_, task) => task + 1) },
    Object.fromEntries(
      ARMS.map((arm) => [LABELS[arm], shapes.map((_, task) => mean(runs(arm).map((run) => after(run, task))))]),
    ),
  );
  return {
    detects: {
      measured: `AUROC by cloud after the last task: ${measured}`,
      values: { ahead: ahead(ends('c3d-ad'), ends('no-advisor')) },
      details,
      series,
    },
    kernel: {
      measured: `AUROC by cloud after the last task: ${measured}`,
      values: { ahead: ahead(ends('no-advisor'), ends('softmax')) },
      details: `${details} Both networks have the softmax in the arm of that name, the frozen one as it was trained.`,
    },
    forgets: {
      measured: `AUROC falls until the end by ${ARMS.map((arm) => `${formatPercent(mean(falls[arm]))} (${LABELS[arm]})`).join(', ')}`,
      values: { less: ahead(falls['no-advisor'], falls['c3d-ad']) },
      details,
    },
  };
}
