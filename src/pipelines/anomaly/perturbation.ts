/**
 * How much the worst small change of a network's parameters changes what it says, to be kept low: equation 12 of Lu et al. 2025,
 * arXiv 2508.01311. The change is searched for by gradient ascent and then held; gradients go through both values of the network.
 */
import { checkFunction, checkRecord, checkWhole, show } from '../../check';
import { ParameterError } from '../../errors';
import type { TrainableParameters } from '../../nn';
import { map } from '../../ops/map/map';
import { rmsNorm } from '../../ops/norm';
import { sum } from '../../ops/reduce';
import { differentiate, stopGradient } from '../../tape';
import { normal } from '../../tensor/random';
import type { Tensor } from '../../tensor/tensor';

export interface PerturbationSettings {
  /** The length of the change, of each row of a matrix and of any other tensor as a whole. */
  readonly epsilon: number;
  /** Steps of the search. */
  readonly steps: number;
  readonly seed: number;
}

/** The length of the change that the search starts from, over epsilon: in float32 shorter ones drown in rounding. */
const START = 0.1;

/**
 * The largest |f(p) - f(p + change)|² that was found, a tensor of one number. f is made of ops, returns a tensor, and is called
 * twice for each step and twice more.
 */
export function perturbationLoss<P extends TrainableParameters>(
  f: (parameters: P) => Tensor,
  parameters: P,
  { epsilon, steps, seed }: PerturbationSettings,
): Tensor<'f32'> {
  checkFunction('f', f);
  checkRecord('parameters', parameters);
  checkWhole('steps', steps, 0);
  if (!(Number.isFinite(epsilon) && epsilon >= 0))
    throw new ParameterError(`epsilon must be a finite number >= 0, got ${show(epsilon)}`);
  const fixed = mapEach(parameters, (tensor) => stopGradient(tensor));
  const said = stopGradient(f(fixed));
  const changed = (p: P, change: P) =>
    mapEach(p, (tensor, name) => map((a, b) => a + b, tensor, change[name] as Tensor));
  let number = 0;
  let change = mapEach(fixed, (tensor) =>
    ofLength(tensor.runtime.tensor(normal(tensor.size, seed + number++), tensor.shape), START * epsilon),
  );
  for (let step = 0; step < steps; step++) {
    const { loss, gradients } = differentiate((own) => distance(said, f(changed(fixed, own as P))), change);
    loss.dispose();
    change = mapEach(change, (tensor, name) => {
      const along = ofLength((gradients as TrainableParameters)[name] as Tensor, epsilon);
      return ofLength(
        map((a, b) => a + b, tensor, along),
        epsilon,
      );
    });
  }
  return distance(f(parameters), f(changed(parameters, change)));
}

/** |a - b|². */
const distance = (a: Tensor, b: Tensor): Tensor<'f32'> => sum(map((a, b) => (a - b) * (a - b), a, b));

/** A matrix whose rows, or another tensor that as a whole has this length; what has none stays. */
function ofLength(x: Tensor, length: number): Tensor {
  const columns = x.rank === 2 ? (x.shape[1] as number) : x.size;
  const rows = rmsNorm(x.reshape([x.size / columns, columns]), { epsilon: 1e-30 });
  return map((x, { factor }) => x * factor, rows, { captured: { factor: length / Math.sqrt(columns) } }).reshape(
    x.shape,
  );
}

const mapEach = <P extends TrainableParameters>(parameters: P, each: (tensor: Tensor, name: string) => Tensor): P =>
  Object.fromEntries(Object.entries(parameters).map(([name, tensor]) => [name, each(tensor, name)])) as P;
