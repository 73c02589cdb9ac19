/** What a student learns of a teacher, layer by layer, as SEA's authors weigh it: attention maps, contexts, layers, logits. */

import type { ModuleControl } from '../../nn/module';
import { contiguous } from '../../ops/copy';
import { crossEntropy } from '../../ops/cross-entropy';
import { gather } from '../../ops/gather';
import { add, multiply } from '../../ops/map';
import { map } from '../../ops/map/map';
import { matmul } from '../../ops/matmul';
import { mean, sum } from '../../ops/reduce';
import { softmax } from '../../ops/softmax';
import type { Runtime } from '../../runtime/runtime';
import type { Tensor } from '../../tensor/tensor';
import type { Decoder } from '.';
import { NO_TARGET } from './landmarks';

type Tensors = Readonly<Record<string, Tensor>>;

/** The KL divergence of maps beside their squared error; then the model's layers, logits and task. */
const WEIGHTS = { mapKl: 0.1, hidden: 5, logitsKl: 0.2, task: 0.1 };

interface Layer {
  /** The attention map [b, h, n, n], and the result of attention [b, n, h, e]. */
  readonly map: Tensor;
  readonly context: Tensor;
}

/**
 * What a student loses on a batch, whose targets may be `NO_TARGET`. Teacher's maps, contexts and layers take O(n^2) memory, in training only.
 */
export function distillation(
  teacher: { readonly decoder: Decoder; readonly parameters: Tensors },
  student: Decoder,
): (
  parameters: Record<string, Tensor>,
  batch: Readonly<Record<'tokens' | 'targets', Tensor>>,
  control?: ModuleControl,
) => Tensor<'f32'> {
  return (parameters, { tokens, targets }, { training } = {}) =>
    tokens.runtime.scope(() => {
      const known = taught(teacher.decoder, teacher.parameters, tokens);
      const kept = new Kept(tokens.runtime);
      const { layers } = student;
      const logits = student.forward(parameters, tokens, {
        training,
        onLayer: (h, at) => kept.add(times(squaredError(h, known.hidden[at] as Tensor), WEIGHTS.hidden / layers)),
        attend(inputs, at, own) {
          const { map: wanted, context } = known.layers[at] as Layer;
          const out = own();
          for (const each of [mapOf(inputs), ...(inputs.estimate ? [expanded(inputs.estimate)] : [])]) {
            const apart = add(squaredError(each, wanted), times(divergence(wanted, each), WEIGHTS.mapKl));
            kept.add(times(apart, 1 / layers));
          }
          kept.add(times(squaredError(out, context), 1 / layers));
          return out;
        },
      });
      const classes = contiguous(targets as Tensor<'i32'>).reshape([tokens.size]);
      const task = crossEntropy(logits.reshape([tokens.size, -1]), classes, { ignore: NO_TARGET });
      const apart = divergence(softmax(known.logits), softmax(logits));
      const ofModel = add(times(apart, WEIGHTS.logitsKl), times(task, WEIGHTS.task));
      const loss = kept.tensors.reduce((total, each) => add(total, each), ofModel);
      kept.dispose();
      known.dispose();
      return loss as Tensor<'f32'>;
    });
}

/** Tensors that outlive the scopes of layers, but not the loss. */
class Kept {
  readonly tensors: Tensor[] = [];

  constructor(private readonly runtime: Runtime) {}

  add(x: Tensor): Tensor {
    this.runtime.keepBeyondScopes(x);
    this.tensors.push(x);
    return x;
  }

  dispose(): void {
    for (const each of this.tensors) each.dispose();
  }
}

/** What a teacher does with tokens. */
function taught(decoder: Decoder, parameters: Tensors, tokens: Tensor) {
  const kept = new Kept(tokens.runtime);
  const [layers, hidden]: [Layer[], Tensor[]] = [[], []];
  const copied = (x: Tensor) => kept.add(contiguous(x as Tensor<'f32'>));
  const logits = decoder.forward(parameters, tokens, {
    onLayer: (h) => void hidden.push(copied(h)),
    attend(inputs, _, own) {
      const out = own();
      layers.push({ map: kept.add(mapOf(inputs)), context: copied(out) });
      return out;
    },
  });
  return { layers, hidden, logits, dispose: () => kept.dispose() };
}

/** The causal attention map [b, h, n, n] of q [b, n, h, d] and k [b, n, g, d]. */
function mapOf({ q, k }: Tensors): Tensor {
  const [b, n, h, d] = (q as Tensor).shape as [number, number, number, number];
  const g = (k as Tensor).shape[2] as number;
  const byHead = (x: Tensor, heads: number) =>
    contiguous(x.permute([0, 2, 1, 3]) as Tensor<'f32'>).reshape([b, g, heads * n, d]);
  const scores = matmul(byHead(q as Tensor, h / g), byHead(k as Tensor, 1), { transposeB: true });
  const { runtime } = scores;
  const row = runtime.tensor(
    Int32Array.from({ length: n }, (_, i) => i),
    [n, 1],
  );
  const key = runtime.tensor(
    Int32Array.from({ length: n }, (_, j) => j),
    [n],
  );
  const unseen = map((i, j) => (j > i ? -1e30 : 0), row, key, { dtype: 'f32' });
  const scaled = map((s, hidden, { scale }) => s * scale + hidden, scores.reshape([b, h, n, n]), unseen, {
    captured: { scale: 1 / Math.sqrt(d) },
  });
  return softmax(scaled);
}

/** An estimate [b, h, n, w] as an attention map [b, h, n, n]: each key has its cell's number, and rows sum to 1. */
function expanded(estimate: Tensor): Tensor {
  const [b, h, n, w] = estimate.shape as [number, number, number, number];
  const { runtime } = estimate;
  const cells = new Int32Array(n * n);
  for (let i = 0; i < n; i++)
    for (let j = 0; j <= i; j++) cells[i * n + j] = i * w + Math.max(0, Math.floor(((j + 0.5) / (i + 1)) * w - 1e-4));
  const starts = runtime.tensor(
    Int32Array.from({ length: b * h }, (_, at) => at * n * w),
    [b, h, 1, 1],
  );
  const places = map((cell, start) => cell + start, runtime.tensor(cells, [n, n]), starts) as Tensor;
  const seen = runtime.tensor(
    Float32Array.from({ length: n * n }, (_, at) => Number(at % n <= Math.floor(at / n))),
    [n, n],
  );
  const found = gather(estimate.reshape([-1, 1]) as Tensor<'f32'>, places.reshape([-1])).reshape([b, h, n, n]);
  const shown = multiply(found, seen);
  return map((x, total) => x / total, shown, sum(shown, { axes: [3], keepDims: true })) as Tensor;
}

const times = (x: Tensor, factor: number): Tensor => map((x, { factor }) => factor * x, x, { captured: { factor } });

const squaredError = (x: Tensor, wanted: Tensor): Tensor =>
  mean(map((x, wanted) => (x - wanted) * (x - wanted), x, wanted));

/** KL of rows of probabilities from those that are wanted, the mean over rows. */
function divergence(wanted: Tensor, given: Tensor): Tensor {
  const terms = map(
    (wanted, given) => wanted * (Math.log(Math.max(wanted, 1e-9)) - Math.log(Math.max(given, 1e-9))),
    wanted,
    given,
  );
  return times(sum(terms as Tensor), (wanted.shape.at(-1) as number) / wanted.size);
}
