/** A network with a linear head for each task: trained on each task in turn, or on all tasks so far. */
import { initial, type ModuleParameter } from '../../nn';
import { project } from '../../nn/projection';
import { crossEntropy } from '../../ops/cross-entropy';
import { relu } from '../../ops/map';
import { map } from '../../ops/map/map';
import type { Tensor } from '../../tensor/tensor';
import {
  bytesOf,
  chosenRows,
  classesOf,
  type Learner,
  type LearnerOptions,
  learnRows,
  takeRows,
  tellBy,
} from './learner';
import type { Rows, Task } from './tasks';

export interface NetworkOptions extends LearnerOptions {
  /** Whether it sees the rows of all tasks so far, which must be kept for it. */
  readonly joint: boolean;
}

type Parameters = Readonly<Record<string, Tensor>>;

/** Added to the logits of other tasks' classes. */
const NEVER = -1e9;

export function networkLearner(options: NetworkOptions): Learner {
  const { runtime, tasks, seed, batch, hidden, joint } = options;
  const width = tasks[0]?.learned.width as number;
  const classes = classesOf(tasks);
  const parameters = initial({ parameters: described(width, hidden, classes) }, runtime, seed);
  const taskOf = Int32Array.from(tasks.flatMap((task, at) => task.classes.map(() => at)));

  return {
    parameters,
    async learn(task, control) {
      const rows = joint ? together(tasks.slice(0, task + 1)) : (tasks[task] as Task).learned;
      const chosen = chosenRows(rows.labels.length, batch, seed + task);
      const batches = (index: number) => {
        const { x, labels } = takeRows(rows, chosen(index));
        const others = Float32Array.from({ length: batch * classes }, (_, at) =>
          taskOf[at % classes] === taskOf[labels[Math.floor(at / classes)] as number] ? 0 : NEVER,
        );
        return {
          x: runtime.tensor(x, [batch, width]),
          labels: runtime.tensor(labels, [batch], 'i32'),
          others: runtime.tensor(others, [batch, classes]),
        };
      };
      const loss = (p: Parameters, { x, labels, others }: ReturnType<typeof batches>) =>
        crossEntropy(map((logit, other) => logit + other, logitsOf(p, x), others) as Tensor<'f32'>, labels);
      await learnRows(options, parameters, { batches, loss }, control);
    },
    async tell(task, rows) {
      const own = (tasks[task] as Task).classes;
      const [first, past] = [own[0] as number, (own.at(-1) as number) + 1];
      return await tellBy(runtime, rows, first, (x) => {
        const logits = logitsOf(parameters, x).slice(1, first, past);
        return map((x) => x, logits);
      });
    },
    bytes: () => ({ network: bytesOf(parameters), ofClass: joint ? (width * rowsOf(tasks)) / classes : 0 }),
    dispose() {
      for (const tensor of Object.values(parameters)) tensor.dispose();
    },
  };
}

function described(width: number, hidden: number, classes: number): Readonly<Record<string, ModuleParameter>> {
  const layers = { '0': [hidden, width], '1': [hidden, hidden], head: [classes, hidden] } as const;
  return Object.fromEntries(
    Object.entries(layers).flatMap(([name, [out, into]]) => [
      [`${name}.weight`, { shape: [out, into], initial: { std: Math.sqrt(2 / into) } }],
      [`${name}.bias`, { shape: [out], initial: { value: 0 } }],
    ]),
  );
}

function logitsOf(p: Parameters, x: Tensor): Tensor<'f32'> {
  const layer = (name: string, x: Tensor) => project(name, x, p, {});
  return layer('head', relu(layer('1', relu(layer('0', x)))));
}

const rowsOf = (tasks: readonly Task[]) => tasks.reduce((sum, { learned }) => sum + learned.labels.length, 0);

/** The rows of several tasks as one. */
function together(tasks: readonly Task[]): Rows {
  const width = tasks[0]?.learned.width as number;
  const x = new Float32Array(rowsOf(tasks) * width);
  const labels = new Int32Array(rowsOf(tasks));
  let at = 0;
  for (const { learned } of tasks) {
    x.set(learned.x, at * width);
    labels.set(learned.labels, at);
    at += learned.labels.length;
  }
  return { width, x, labels };
}
