import { crossEntropy, gradientOp, lossesOp, lossSettings, meanLoss } from '../ops/cross-entropy';
import { defineComposite, f32, i32, type OptionsOf, optional, setting, whole } from '../ops/define';
import { add } from '../ops/map';
import { matmul } from '../ops/matmul';
import type { Control } from '../runtime/backend';
import { controlOf } from '../runtime/guard';
import { withDerivative } from '../tape';
import type { Tensor } from '../tensor/tensor';
import { softcapGradient, softcapped } from './softcap';

/** Logits held at once. */
const LOGITS = 2 ** 24;
const FEWEST_ROWS = 64;

export const linearCrossEntropyOp = defineComposite({
  name: 'linearCrossEntropy',
  inputs: { x: f32('n d'), weight: f32('classes d'), targets: i32('n') },
  options: {
    /** Rows whose logits are held at once. Default: 64 MiB of logits, at least 64 rows. */
    chunk: whole({ least: 1 }, ({ classes }) => Math.max(FEWEST_ROWS, Math.floor(LOGITS / (classes as number)))),
    /** Logits become softcap tanh(logit / softcap); default: they stay as they are. */
    softcap: optional(setting('a positive number', (value: number) => Number.isFinite(value) && value > 0)),
    ...lossSettings,
  },
  results: { out: f32('', { fresh: true }) },
  operations: '2 n d classes + 4 n classes',
  run({ x, weight, targets, chunk, softcap, reduction, ...rows }, control) {
    return x.runtime.scope(() => {
      if ((x.shape[0] as number) <= chunk) {
        const plain = matmul(x, weight, { transposeB: true, signal: control.signal });
        const logits = softcap === undefined ? plain : softcapped(plain, softcap, { signal: control.signal });
        return crossEntropy(logits, targets, { reduction, ...rows, ...control });
      }
      const settings = { chunk, softcap, ...rows };
      const forward = (x: Tensor, weight: Tensor, targets: Tensor) =>
        lossesOfAll({ x, weight, targets }, settings, control);
      const losses = withDerivative(forward, ({ inputs: [x, weight, targets], gradients }) =>
        gradientsOfAll({ x, weight, targets }, gradients as Tensor, settings),
      )(x, weight, targets);
      return reduction === 'none' ? losses : meanLoss(losses, targets, rows.ignore, {});
    });
  },
});

export interface LinearCrossEntropyOptions extends OptionsOf<typeof linearCrossEntropyOp>, Control {}

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
  return linearCrossEntropyOp({ x, weight, targets }, options);
}

type Inputs = Readonly<Record<'x' | 'weight' | 'targets', Tensor>>;

interface Settings {
  readonly chunk: number;
  readonly softcap: number | undefined;
  readonly ignore: number | undefined;
  readonly smoothing: number;
}

const rowsOf = ({ ignore, smoothing }: Settings) => ({ ignore, smoothing });

function lossesOfAll(inputs: Inputs, settings: Settings, control: Control): Tensor<'f32'> {
  const losses = inputs.x.runtime.empty([inputs.x.shape[0] as number]);
  for (const { logits, targets, first, past, along } of chunksOf(inputs, settings, control)) {
    const out = losses.slice(0, first, past);
    lossesOp({ logits, targets }, { ...rowsOf(settings), first, ...along, out }).lse.dispose();
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
  for (const { logits, rows, targets, first, past } of chunksOf(inputs, settings, {})) {
    const { out: losses, lse } = lossesOp({ logits, targets }, rowsOf(settings));
    const given = { logits, targets, lse, gradLosses: gradLosses.slice(0, first, past) };
    const { out: gradLogits } = gradientOp(given, { ...rowsOf(settings), out: grads.slice(0, 0, past - first) });
    for (const used of [losses, lse]) used.dispose();
    if (settings.softcap !== undefined) softcapGradient(gradLogits, logits, settings.softcap, { out: gradLogits });
    matmul(gradLogits, weight, { out: gradX.slice(0, first, past) });
    matmul(gradLogits, rows, { transposeA: true, out: first === 0 ? sum : product });
    if (first === 0) continue;
    add(sum, product, { out: next });
    [sum, next] = [next, sum];
  }
  return [gradX, sum, undefined];
}

/** Computes a few rows at a time into one buffer of logits, since waiting calls would otherwise hold them all. */
function* chunksOf({ x, weight, targets }: Inputs, { chunk, softcap }: Settings, control: Control) {
  const n = x.shape[0] as number;
  const place = x.runtime.empty([chunk, weight.shape[0] as number]);
  for (let first = 0; first < n; first += chunk) {
    const past = Math.min(first + chunk, n);
    const along = controlOf(control, first / chunk, Math.ceil(n / chunk));
    const rows = x.slice(0, first, past);
    const out = place.slice(0, 0, past - first);
    const logits = matmul(rows, weight, { transposeB: true, out, signal: along.signal });
    if (softcap !== undefined) softcapped(logits, softcap, { out: logits, signal: along.signal });
    yield { logits, rows, targets: targets.slice(0, first, past), first, past, along };
  }
}
