import { checkWhole } from '../check';
import { ShapeError } from '../errors';
import { checkControl, checkOptions } from '../ops/check';
import {
  type CrossEntropyOptions,
  checkLossOptions,
  checkTargets,
  crossEntropy,
  gradientOf,
  lossesOf,
  meanLoss,
} from '../ops/cross-entropy';
import { checkContiguous, checkFloat32 } from '../ops/float32';
import { add } from '../ops/map';
import { matmul } from '../ops/matmul';
import type { Control } from '../runtime/backend';
import { controlOf } from '../runtime/guard';
import { withDerivative } from '../tape';
import { formatShape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';

export interface LinearCrossEntropyOptions extends Omit<CrossEntropyOptions, 'out'> {
  /** Rows whose logits are there at once. Default: those of 64 MiB, at least 64. */
  readonly chunk?: number | undefined;
}

/** Logits that are there at once. */
const LOGITS = 2 ** 24;
const FEWEST_ROWS = 64;

/**
 * `crossEntropy` of the logits x weight^T, which are there for a few rows at a time only: x [n, d], weight [classes, d],
 * both f32, targets [n] i32 -> [], or [n] without a reduction. The backward pass computes the logits of several chunks again,
 * since to keep gradients from the forward pass would take as much memory as weight, whether they are wanted or not.
 *
 * @throws {ShapeError} shapes that do not fit, strided views; a target that is no class and not ignored
 * @throws {DTypeError} x or weight that are not f32, targets that are not i32
 * @throws {ParameterError} invalid options
 */
export function linearCrossEntropy(
  x: Tensor,
  weight: Tensor,
  targets: Tensor,
  options: LinearCrossEntropyOptions = {},
): Tensor<'f32'> {
  checkFloat32('linearCrossEntropy', { x, weight }, {});
  checkOptions('linearCrossEntropy', options, ['chunk', 'reduction', 'ignore', 'smoothing', 'signal', 'onProgress']);
  checkControl(options);
  checkContiguous({ x, weight });
  if (x.rank !== 2) throw new ShapeError(`x must have shape [n, d], got ${formatShape(x.shape)}`);
  const [n, d] = x.shape as [number, number];
  if (weight.rank !== 2 || weight.shape[1] !== d)
    throw new ShapeError(
      `weight must have shape [classes, d] with d = ${d} as in x ${formatShape(x.shape)}, got ${formatShape(weight.shape)}`,
    );
  checkTargets([n], { x, weight, targets });
  checkLossOptions(options);
  const {
    chunk = Math.max(FEWEST_ROWS, Math.floor(LOGITS / (weight.shape[0] as number))),
    ignore,
    smoothing,
  } = options;
  checkWhole('chunk', chunk, 1);
  if (n <= chunk) {
    const { chunk: _, ...others } = options;
    return x.runtime.scope(() =>
      crossEntropy(matmul(x, weight, { transposeB: true, signal: options.signal }), targets, others),
    );
  }

  const settings: Settings = { chunk, ignore, smoothing };
  return x.runtime.scope(() => {
    const forward = (x: Tensor, weight: Tensor, targets: Tensor) =>
      lossesOfAll({ x, weight, targets }, settings, options);
    const losses = withDerivative(forward, ({ inputs: [x, weight, targets], gradients }) =>
      gradientsOfAll({ x, weight, targets }, gradients as Tensor, settings),
    )(x, weight, targets);
    return options.reduction === 'none' ? losses : meanLoss(losses, targets, ignore, {});
  });
}

type Inputs = Readonly<Record<'x' | 'weight' | 'targets', Tensor>>;

interface Settings {
  readonly chunk: number;
  readonly ignore: number | undefined;
  readonly smoothing: number | undefined;
}

function lossesOfAll(inputs: Inputs, settings: Settings, control: Control): Tensor<'f32'> {
  const losses = inputs.x.runtime.empty([inputs.x.shape[0] as number]);
  for (const { logits, targets, first, past, along } of chunksOf(inputs, settings.chunk, control)) {
    const out = losses.slice(0, first, past);
    lossesOf(logits, targets, { ...settings, first }, { ...along, out }).lse.dispose();
  }
  return losses;
}

function gradientsOfAll(inputs: Inputs, gradLosses: Tensor, settings: Settings): [Tensor, Tensor, undefined] {
  const { x, weight } = inputs;
  const { runtime } = x;
  const gradX = runtime.empty(x.shape);
  const grads = runtime.empty([settings.chunk, weight.shape[0] as number]);
  let [sum, next, product] = [0, 1, 2].map(() => runtime.empty(weight.shape)) as [
    Tensor<'f32'>,
    Tensor<'f32'>,
    Tensor<'f32'>,
  ];
  for (const { logits, rows, targets, first, past } of chunksOf(inputs, settings.chunk, {})) {
    const { losses, lse } = lossesOf(logits, targets, settings, {});
    const given = { logits, targets, lse, gradLosses: gradLosses.slice(0, first, past) };
    const gradLogits = gradientOf(given, settings, { out: grads.slice(0, 0, past - first) });
    for (const used of [losses, lse]) used.dispose();
    matmul(gradLogits, weight, { out: gradX.slice(0, first, past) });
    matmul(gradLogits, rows, { transposeA: true, out: first === 0 ? sum : product });
    if (first === 0) continue;
    add(sum, product, { out: next });
    [sum, next] = [next, sum];
  }
  return [gradX, sum, undefined];
}

/** Some rows after the other, whose logits have one place: calls that wait for their turn would hold as many as there are. */
function* chunksOf({ x, weight, targets }: Inputs, chunk: number, control: Control) {
  const n = x.shape[0] as number;
  const place = x.runtime.empty([chunk, weight.shape[0] as number]);
  for (let first = 0; first < n; first += chunk) {
    const past = Math.min(first + chunk, n);
    const along = controlOf(control, first / chunk, Math.ceil(n / chunk));
    const rows = x.slice(0, first, past);
    const out = place.slice(0, 0, past - first);
    const logits = matmul(rows, weight, { transposeB: true, out, signal: along.signal });
    yield { logits, rows, targets: targets.slice(0, first, past), first, past, along };
  }
}
